"""System prompts that have a name.

Each is a text file, ``NAME.md``: those of the person in ``prompts`` in the configuration folder,
and a few that come with the program. Wherever a system prompt is set, ``@NAME`` stands for one.
"""

import contextlib
import os
import re
import tempfile
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from vlmchat import paths
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.text import visible_line

SIGN = "@"
# A model's whole context is a fraction of it: whatever is larger is no prompt.
_MOST_BYTES = 256_000
_LONGEST_NAME = 64
_REFERENCE = re.compile(rf"{SIGN}(\S+)")


@dataclass(frozen=True, slots=True)
class Preset:
    """A system prompt in a file.

    Attributes:
        name: the file's, without ``.md``.
        path: the file.
        own: it is the person's and not the program's.
    """

    name: str
    path: Path
    own: bool

    def read(self) -> str:
        """Return the prompt; blocking.

        Raises:
            UsageError: the file is empty, too large, not text, or cannot be read.
        """
        where = visible_line(str(self.path))
        try:
            with self.path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise UsageError(f"The prompt {where} cannot be read ({error.strerror}).") from None
        if len(data) > _MOST_BYTES:
            raise UsageError(f"The prompt {where} is too large for any model: shorten it.")
        try:
            text = data.decode("utf-8-sig").replace("\r\n", "\n").strip()
        except UnicodeDecodeError:
            raise UsageError(f"The prompt {where} is not in UTF-8: save it anew.") from None
        if not text:
            raise UsageError(f"The prompt {where} is empty: write it, or remove the file.")
        return text

    def summary(self) -> str:
        """Return the prompt's first line, or what is wrong with it; blocking."""
        try:
            return visible_line(self.read().split("\n", 1)[0])
        except UsageError as error:
            return str(error)


def own_dir() -> Path:
    """Return the folder of the person's own prompts (which may not exist)."""
    return paths.config_dir() / "prompts"


def presets() -> dict[str, Preset]:
    """Return every preset by its name, in order; the person's own win. Blocking."""
    found: dict[str, Preset] = {}
    for folder, own in ((Path(__file__).parent / "shipped_prompts", False), (own_dir(), True)):
        # A folder that may not be listed has nothing to offer.
        with contextlib.suppress(OSError):
            for path in folder.glob("*.md"):
                if not name_fault(path.stem):
                    found[path.stem] = Preset(path.stem, path, own)
    return dict(sorted(found.items()))


def name_fault(name: str) -> str:
    """Return why `name` cannot be a preset's, as one sentence; nothing when it can."""
    if len(name) <= _LONGEST_NAME and re.fullmatch(r"\w[\w.-]*", name):
        return ""
    return (
        f"“{visible_line(name)}” cannot be a prompt's name: use letters, digits, dots and dashes, "
        f"{_LONGEST_NAME} at most."
    )


def find(name: str) -> Preset:
    """Return the preset called `name`; blocking.

    Raises:
        UsageError: there is none; the sentence has the nearest name.
    """
    known = presets()
    if preset := known.get(name):
        return preset
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {SIGN}{near[0]}?" if near else f"there are {', '.join(known)}."
    raise UsageError(f"There is no prompt {SIGN}{visible_line(name)}: {hint}")


def resolved(system: str) -> str:
    """Return the system prompt that `system` stands for: the preset's if it is ``@NAME``.

    Blocking where it is one.

    Raises:
        UsageError: there is no such preset, or it cannot be read.
    """
    match = _REFERENCE.fullmatch(system)
    return find(match.group(1)).read() if match else system


def save_preset(name: str, text: str, *, replace: bool = False) -> Preset:
    """Save a preset of the person's own; blocking.

    Args:
        name: its name, without ``@`` and ``.md``.
        text: the prompt.
        replace: whether one of the person's own of that name may be overwritten. Those that come
            with the program are never touched: the person's own wins over them.

    Raises:
        UsageError: the name cannot be one or is taken, or there is no text.
        VlmchatError: it cannot be written; nothing is changed then.
    """
    if fault := name_fault(name):
        raise UsageError(fault)
    if not text.strip():
        raise UsageError("There is no system prompt to save.")
    path = own_dir() / f"{name}.md"
    # A link is followed: people keep their configuration in a folder of dotfiles.
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, written = tempfile.mkstemp(dir=target.parent, prefix=".prompt-", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(f"{text.strip()}\n".encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
            _put(Path(written), target, replace)
        finally:
            Path(written).unlink(missing_ok=True)
    except _TakenError:
        raise UsageError(
            f"There is a prompt “{name}” of yours already: “/system save {name} replace” "
            "overwrites it."
        ) from None
    except OSError as error:
        where = visible_line(str(path))
        raise VlmchatError(f"{where} cannot be written ({error.strerror}).") from None
    return Preset(name, path, own=True)


class _TakenError(Exception):
    """There is a file of that name."""


def _put(written: Path, path: Path, replace: bool) -> None:
    if replace:
        written.replace(path)
        return
    try:
        path.hardlink_to(written)  # unlike a look before, it cannot be too late
    except FileExistsError:
        raise _TakenError from None
    except OSError:
        # A file system without links.
        if path.exists():
            raise _TakenError from None
        written.replace(path)
