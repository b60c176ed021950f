"""The settings of a training run: ``settings.toml`` beside this file, and a file that changes some.

Each table of the file is a class here, with the same names.
"""

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from vlmchat.demo.drawing.examples import KINDS, PAGE, TASKS
from vlmchat.demo.training.tower import Shape
from vlmchat.errors import UsageError

_DEFAULTS = Path(__file__).with_name("settings.toml")
SINGLES = ("scene", "chart", "lettering", "thing", "photo", PAGE)
"""The kinds of which a lesson is one picture."""
_DRAWN = (*KINDS, PAGE)

Table = TypeVar("Table")


@dataclass(frozen=True, slots=True)
class Run:
    """Where and how often; see the file for what each means."""

    seed: int
    device: str
    workers: int
    numbers: str
    compile: bool
    checkpoint_minutes: float
    evaluate_minutes: float
    held_out: int
    log_steps: int


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Rates; see the file."""

    matrices: float
    others: float
    matrices_decay: float
    others_decay: float
    momentum: float
    betas: tuple[float, float]
    clip: float
    warmup_steps: int
    steady_steps: int
    floor: float
    second_phase: float
    third_phase: float


@dataclass(frozen=True, slots=True)
class Slots:
    """Phase 1; see the file."""

    batch: int
    scale: float
    distance: float


@dataclass(frozen=True, slots=True)
class Marks:
    """What patches are asked; see the file."""

    weight: float
    blank: float
    layers: int


@dataclass(frozen=True, slots=True)
class Augment:
    """How pictures are varied; see the file."""

    gain: float
    lift: float
    shift: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Phase 2; see the file."""

    rank: int
    lessons: int
    told: float
    level: float
    turns: float


@dataclass(frozen=True, slots=True)
class Language:
    """Phase 3, and what is asked in both; see the file."""

    tasks: tuple[str, ...]
    images: int
    lessons: int
    questions: int
    premises: float
    slots_only: int
    slots_weight: float


@dataclass(frozen=True, slots=True)
class Curriculum:
    """When it becomes harder; see the file."""

    kinds: tuple[str, ...]
    bar: float
    answers_bar: float
    rise: float
    seen: int
    answers_seen: int
    memory: float
    least: float
    favour: dict[str, float]
    ahead: float

    @property
    def asked(self) -> tuple[str, ...]:
        """The kinds about which there are questions."""
        return tuple(kind for kind in self.kinds if kind != PAGE)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them, a table each."""

    tower: Shape
    run: Run
    optimizer: Optimizer
    slots: Slots
    marks: Marks
    augment: Augment
    reading: Reading
    language: Language
    curriculum: Curriculum

    def plain(self) -> dict[str, Any]:
        """Return them as what a JSON file can hold."""
        return asdict(self)


def load(changed: Path | None = None) -> Settings:
    """Return the settings, those of the file `changed` in the place of the shipped ones.

    Raises:
        UsageError: the file cannot be read, or names what there is not; one sentence.
    """
    tables = tomllib.loads(_DEFAULTS.read_text("utf-8"))
    if changed is not None:
        for name, table in _read(changed).items():
            if name not in tables or not isinstance(table, dict):
                raise UsageError(f"{changed.name} has a table “{name}”: leave it out.")
            tables[name] |= table
    kinds = get_type_hints(Settings)
    made = Settings(**{name: _table(kinds[name], name, tables[name]) for name in tables})
    drawn = set(made.curriculum.kinds)
    if not drawn <= set(_DRAWN) or not drawn & (set(SINGLES) - {PAGE}):
        raise UsageError(
            f"The kinds in [curriculum] are some of {', '.join(_DRAWN)}, one of the first "
            f"{len(SINGLES) - 1} among them."
        )
    favour: object = made.curriculum.favour
    if not isinstance(favour, dict) or not set(favour) <= set(_DRAWN):
        raise UsageError(f"“favour” in [curriculum] is a table of {', '.join(_DRAWN)}.")
    if not all(type(share) in (int, float) and share > 0 for share in favour.values()):
        raise UsageError("The shares of “favour” in [curriculum] are numbers above 0.")
    if not made.language.tasks or not set(made.language.tasks) <= set(TASKS):
        raise UsageError(f"The tasks in [language] are some of {', '.join(TASKS)}.")
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path.name} cannot be read as settings: {error}.") from error


def _table(kind: type[Table], name: str, given: dict[str, Any]) -> Table:
    known = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in given.items():
        if key not in known:
            raise UsageError(f"There is no setting “{key}” in [{name}]: leave it out.")
        wanted = known[key]
        plain = tuple(value) if isinstance(value, list) else value
        if wanted is float and isinstance(plain, int) and not isinstance(plain, bool):
            plain = float(plain)
        if isinstance(wanted, type) and type(plain) is not wanted:
            raise UsageError(f"The setting “{key}” in [{name}] must be {wanted.__name__}.")
        values[key] = plain
    return kind(**values)
