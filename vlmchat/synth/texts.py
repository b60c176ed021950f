"""The texts that a model is asked with: files of the package, each of which a person can replace.

``captions.md``, ``examples.md``, ``reasoning_examples.md`` and ``ways.md`` are lists, one text a
line, in which lines that begin with ``#`` are comments; the others are asked as they stand, with
places such as ``{{question}}`` filled.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from vlmchat import paths
from vlmchat.errors import UsageError
from vlmchat.finetune.files import write_whole
from vlmchat.text import visible_line

# The places that each template must have; a list has none.
PLACES: dict[str, frozenset[str]] = {
    "captions": frozenset(),
    "examples": frozenset(),
    "reasoning_examples": frozenset(),
    "ways": frozenset(),
    "questions": frozenset({"count", "examples"}),
    "reasoning_questions": frozenset({"count", "examples"}),
    "describe": frozenset(),
    "words": frozenset({"description", "request"}),
    "evolve": frozenset({"question", "how"}),
    "answer": frozenset({"question"}),
    "reasoning": frozenset({"question"}),
    "judge": frozenset({"question", "first", "second"}),
}
_MOST_BYTES = 64_000
_PLACE = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True)
class Texts:
    """What a model is asked with.

    Attributes:
        found: each text by its name, one of `PLACES`.
    """

    found: dict[str, str]

    def lines(self, name: str) -> tuple[str, ...]:
        """Return the items of a list, at least one."""
        rows = (row.strip() for row in self.found[name].splitlines())
        return tuple(row for row in rows if row and not row.startswith("#"))

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """The ways to make a question harder: name and text."""
        parted = (row.partition(":") for row in self.lines("ways"))
        return tuple((name.strip(), text.strip()) for name, _, text in parted)

    def render(self, name: str, **values: str) -> str:
        """Return a template with its places filled; what is filled in is not looked at again."""
        return _PLACE.sub(lambda match: values[match[1]], self.found[name])

    @property
    def digest(self) -> str:
        """SHA-256 of all of them, its first 16 digits: which texts rows were made with."""
        rows = (f"{name}\0{self.found[name]}\0" for name in sorted(self.found))
        return hashlib.sha256("".join(rows).encode()).hexdigest()[:16]


def own_dir() -> Path:
    """Return the folder of the person's own texts (which may not exist)."""
    return paths.config_dir() / "prompts" / "synth"


def load(folder: Path | None = None) -> Texts:
    """Return the texts: of `folder`, else the person's own, else the program's; blocking.

    Raises:
        UsageError: the folder does not exist, a file in it is no text of ours, or one cannot be
            used.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(
            f"“{visible_line(str(folder))}” is no folder: --write-prompts makes one to begin with."
        )
    own = folder or own_dir()
    strange = sorted(path.name for path in own.glob("*.md") if path.stem not in PLACES)
    if strange:
        raise UsageError(
            f"“{visible_line(str(own / strange[0]))}” is none of the texts that are asked with: "
            f"they are {', '.join(f'{name}.md' for name in PLACES)}."
        )
    return Texts({name: _read(own / f"{name}.md", name) for name in PLACES})


def write_all(folder: Path) -> list[Path]:
    """Write the program's texts into a folder, over nothing that is there; blocking.

    Raises:
        UsageError: one of them is there already, or the folder cannot be written.
    """
    targets = [folder / f"{name}.md" for name in PLACES]
    for path in targets:
        if path.exists():
            raise UsageError(
                f"“{visible_line(str(path))}” is there already: name another folder, or remove it."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in targets:
            write_whole(path, _shipped(path.stem).encode())
    except OSError as error:
        raise UsageError(
            f"“{visible_line(str(folder))}” cannot be written ({error.strerror})."
        ) from None
    return targets


def _shipped(name: str) -> str:
    return resources.files(__package__).joinpath("prompts", f"{name}.md").read_text("utf-8")


def _read(path: Path, name: str) -> str:
    """Return a text, the program's where the person has none of their own."""
    where = f"“{visible_line(str(path))}”"
    try:
        if not path.exists():
            return _shipped(name).strip()
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        text = data.decode("utf-8-sig").replace("\r\n", "\n").strip()
    except UnicodeDecodeError:
        raise UsageError(f"{where} is not in UTF-8: save it anew.") from None
    except OSError as error:
        raise UsageError(f"{where} cannot be read ({error.strerror}).") from None
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{where} is too large: shorten it.")
    _check(where, name, text)
    return text


def _check(where: str, name: str, text: str) -> None:
    found = frozenset(_PLACE.findall(text))
    wanted = PLACES[name]
    if missing := sorted(wanted - found):
        raise UsageError(f"{where} has no place {{{{{missing[0]}}}}}: write it where it belongs.")
    if more := sorted(found - wanted):
        raise UsageError(f"{where} has a place {{{{{more[0]}}}}} that nothing goes into.")
    rows = Texts({name: text}).lines(name)
    if not rows:
        raise UsageError(f"{where} is empty: write it, or remove the file.")
    if name == "ways" and not all(":" in row for row in rows):
        raise UsageError(f"{where} has a line without a name and a colon before the text.")
