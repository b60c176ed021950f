"""The settings of a run as a form needs them: names, groups, what is typed, what is refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, get_origin

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from vlmchat.finetune.settings import RunSettings

RunValue: TypeAlias = str | int | float | bool | None

# Asked for where the data is shown: what is read and how it is parted depends on them.
OF_THE_DATA = ("validation_share", "seed", "context")
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Method", ("method", "beta", "sft_weight")),
    (
        "Adapter",
        (
            *("adapter", "rank", "alpha", "dropout", "virtual_tokens"),
            *("layers", "text", "vision", "connector"),
        ),
    ),
    (
        "Learning",
        (
            *("learning_rate", "schedule", "warmup", "weight_decay", "max_grad_norm"),
            *("epochs", "max_steps", "batch", "accumulation", "quantization"),
        ),
    ),
    ("Measuring", ("eval_steps", "patience", "samples", "checkpoint_steps")),
)
_TITLES = {
    "text": "Text model",
    "vision": "Vision tower",
    "sft_weight": "SFT weight",
    "max_grad_norm": "Gradient norm at most",
    "max_steps": "Steps at most",
    "batch": "Batch",
    "eval_steps": "Steps between measurements",
    "checkpoint_steps": "Steps between checkpoints",
    "context": "Longest row",
}


@dataclass(frozen=True)
class RunField:
    """One setting of a run.

    Attributes:
        name: as in `RunSettings`.
        title: its name for a person.
        description: one or two sentences.
        choices: the words there are; empty when it is typed.
        optional: whether nothing is a value.
        default: what holds when nothing is set.
        present: the settings that hold now: whether a value is right may depend on the others.
    """

    name: str
    title: str
    description: str
    choices: tuple[str, ...]
    optional: bool
    default: RunValue
    present: Callable[[], "RunSettings"]
    group = "finetune"
    secret = False
    when = ""

    @property
    def key(self) -> str:
        """Its name, for whoever tells fields apart."""
        return self.name

    def parse(self, text: str) -> RunValue:
        """Return the value a person typed; ``None`` for nothing where that is a value.

        Raises:
            UsageError: it is none; one sentence.
        """
        from vlmchat.finetune.settings import make

        value: object = text.strip()
        if not value and self.optional:
            value = None
        changed = make({**self.present().model_dump(), self.name: value})
        found: RunValue = getattr(changed, self.name)
        return found

    def written(self, value: object) -> str:
        """Return `value` as a person would type it, so that `parse` gives it back."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)

    def shown(self, value: object) -> str:
        """Return `value` as it is told."""
        return self.written(value) or "none"


def run_fields(present: "Callable[[], RunSettings]") -> Mapping[str, RunField]:
    """Return every setting of a run by its name.

    Args:
        present: gives the settings that hold now.
    """
    from vlmchat.finetune.settings import RunSettings

    return {name: _field(name, info, present) for name, info in RunSettings.model_fields.items()}


def _field(name: str, info: "FieldInfo", present: "Callable[[], RunSettings]") -> RunField:
    annotation: Any = info.annotation
    optional = type(None) in get_args(annotation)
    choices: tuple[str, ...] = ()
    if annotation is bool:
        choices = ("true", "false")
    elif get_origin(annotation) is Literal:
        choices = get_args(annotation)
    title = _TITLES.get(name, name.replace("_", " ").capitalize())
    return RunField(name, title, info.description or "", choices, optional, info.default, present)


def used(name: str, settings: "RunSettings") -> bool:
    """Return whether a setting does anything beside the others."""
    prompt = settings.adapter == "prompt"
    rules: dict[str, bool] = {
        "virtual_tokens": prompt,
        "beta": settings.method != "sft",
        "sft_weight": settings.method == "mpo",
    }
    if name in ("rank", "alpha", "dropout", "layers", "text", "vision", "connector"):
        return not prompt
    return rules.get(name, True)
