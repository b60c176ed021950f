"""The options of ``vlmchat finetune`` for the settings of a run, made from their model.

What a setting means, its choices and its default stand in `vlmchat.finetune.settings.RunSettings`
alone; whether a value is right is asked there too.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args, get_origin

import typer

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from vlmchat.finetune.settings import RunSettings

_DATA, _JOBS = "Data", "Jobs that are there"


def _flag(*names: str, text: str, panel: str | None = None) -> Any:  # noqa: ANN401
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False)


def _of_jobs(name: str, text: str) -> Any:  # noqa: ANN401 - what the parsing library takes
    return typer.Option(name, metavar="JOB", help=text, rich_help_panel=_JOBS)


Logs: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(metavar="LOGS", help="Files of any known format, recognised by content."),
]
FromChats: TypeAlias = Annotated[
    bool, _flag("--from-chats", text="Learn from the rated replies of all chats.", panel=_DATA)
]
Chat: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID",
        help="Only from those of this chat (`vlmchat chats list`); repeatable.",
        rich_help_panel=_DATA,
    ),
]
EveryReply: TypeAlias = Annotated[
    bool, _flag("--every-reply", text="Replies of chats teach without being rated.", panel=_DATA)
]
Outside: TypeAlias = Annotated[
    bool | None,
    _flag(
        "--allow-outside/--skip-outside",
        text="Read pictures outside a log's folder, or leave their rows out. By default a person "
        "is asked, and a pipe is refused.",
        panel=_DATA,
    ),
]
Preview: TypeAlias = Annotated[
    bool, _flag("--preview", text="Show the first example as the model gets it.", panel=_DATA)
]
DryRun: TypeAlias = Annotated[
    bool, _flag("--dry-run", text="Only tell what the data are and what the run would cost.")
]
Out: TypeAlias = Annotated[
    str | None,
    typer.Option(
        *("--out", "--name", "-o"),
        metavar="NAME",
        help="What the job and its adapter are called; by default as the first file.",
    ),
]
Threads: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1, help="Threads of the processor; by default one a core.", show_default=False
    ),
]
Yes: TypeAlias = Annotated[
    bool,
    _flag("--yes", "-y", text="Read files outside a log's folder and start, without asking."),
]
Detach: TypeAlias = Annotated[
    bool, _flag("--detach", text="Start the job, or ask it, and do not wait for it.")
]
AsJson: TypeAlias = Annotated[
    bool, _flag("--json", text="Print report, estimate and events as JSON lines.")
]
Preset: TypeAlias = Annotated[
    Literal["quick", "careful", "preference"] | None,
    typer.Option(
        help="Settings to begin with; what else is given goes before them. quick: one pass, "
        "small; careful: up to ten, stopped early; preference: from better and worse answers.",
        rich_help_panel="Method",
    ),
]
List: TypeAlias = Annotated[bool, _flag("--list", text="List them.", panel=_JOBS)]
Resume: TypeAlias = Annotated[
    str | None, _of_jobs("--resume", "Start it, or go on from its last checkpoint.")
]
Watch: TypeAlias = Annotated[str | None, _of_jobs("--watch", "Look on; Ctrl+C leaves it running.")]
Stop: TypeAlias = Annotated[
    str | None, _of_jobs("--stop", "End it; the best adapter so far is kept.")
]
Pause: TypeAlias = Annotated[str | None, _of_jobs("--pause", "Have it wait; --resume goes on.")]
Cancel: TypeAlias = Annotated[str | None, _of_jobs("--cancel", "End it; nothing is kept.")]

_COMPLETE = "_VLMCHAT_COMPLETE"
_NONE = "none"
_PANELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Method", ("method", "beta", "sft_weight")),
    ("Adapter", ("adapter", "rank", "alpha", "dropout", "virtual_tokens")),
    ("Adapter", ("text", "vision", "connector", "quantization")),
    ("Learning", ("learning_rate", "schedule", "warmup", "weight_decay", "max_grad_norm")),
    ("Learning", ("epochs", "max_steps", "batch", "accumulation", "seed", "context")),
    ("Measuring", ("validation_share", "eval_steps", "patience", "checkpoint_steps", "samples")),
)
_SWITCHES = {
    "text": "--text/--no-text",
    "vision": "--vision/--no-vision",
    "connector": "--connector/--no-connector",
}


def asked_for() -> bool:
    """Return whether this call needs the options: others are spared the import of the model."""
    return "finetune" in sys.argv or _COMPLETE in os.environ


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` with an option for each setting of a run.

    Args:
        command: takes the settings that were given as a mapping, by the name ``given``.
    """
    own = inspect.signature(command)
    options = list(_options())
    names = [option.name for option in options]

    @functools.wraps(command)
    def called(**values: Any) -> None:  # noqa: ANN401 - whatever options hold
        given = {name: values.pop(name) for name in names}
        command(given={k: v for k, v in given.items() if v is not None}, **values)

    kept = [one for one in own.parameters.values() if one.name != "given"]
    first, rest = kept[:1], kept[1:]
    signature = own.replace(parameters=[*first, *rest, *options])
    called.__signature__ = signature  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    return called


def _options() -> list[inspect.Parameter]:
    from vlmchat.finetune.settings import RunSettings

    panels = {name: panel for panel, names in _PANELS for name in names}
    fields = RunSettings.model_fields
    order = [name for name in panels if name in fields]
    order += [name for name in fields if name not in panels]
    return [_option(name, fields[name], panels.get(name, "Learning")) for name in order]


def _option(name: str, field: "FieldInfo", panel: str) -> inspect.Parameter:
    default = field.default
    kinds = tuple(kind for kind in get_args(field.annotation) if kind is not type(None))
    kind: Any = field.annotation
    if get_origin(kind) is not Literal and kinds:
        kind = kinds[0]
    metavar = None
    if default is not None and kinds and get_origin(field.annotation) is not Literal:
        # What has a value and may have none is told so by a word.
        metavar, kind = f"{getattr(kind, '__name__', 'value').upper()}|{_NONE}", str
    said = "on" if default is True else "off" if default is False else str(default)
    info = typer.Option(
        _SWITCHES.get(name, f"--{name.replace('_', '-')}"),
        help=field.description,
        show_default=False if default is None else said,
        metavar=metavar,
        rich_help_panel=panel,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, info],
    )


def chosen(preset: str | None, given: Mapping[str, Any]) -> "RunSettings":
    """Return the settings of a preset with what was given in place of its own.

    Raises:
        UsageError: a value is refused; one sentence.
    """
    from vlmchat.finetune.settings import make
    from vlmchat.finetune.settings import preset as of_preset

    values = {
        name: None if value == _NONE and name == "patience" else value
        for name, value in given.items()
    }
    return of_preset(preset, **values) if preset else make(values)


def as_options(wanted: "RunSettings", present: "RunSettings") -> str:
    """Return the options that lead from the present settings to the wanted ones."""
    words = []
    for name, value in wanted.model_dump().items():
        if value == getattr(present, name):
            continue
        if isinstance(value, bool):
            on, _, off = _SWITCHES[name].partition("/")
            words.append(on if value else off)
        else:
            words.append(f"--{name.replace('_', '-')} {_NONE if value is None else value}")
    return " ".join(words)
