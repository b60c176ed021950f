"""The options of ``vlmchat eval``, and what they say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

_SET, _REPORT, _ANSWERS = "The set", "The report", "How it is asked"

Questions: TypeAlias = Annotated[
    Path | None,
    typer.Argument(
        metavar="SET",
        help="Rows with question, answer and image; a log; ChartQA, DocVQA, TextVQA, VQAv2 or "
        "COCO captions as downloaded; or a file that --out wrote, for its report again.",
        show_default=False,
    ),
]
MetricName: TypeAlias = Annotated[
    Literal["exact", "relaxed", "anls", "vqa", "choice", "contains", "cider"] | None,
    typer.Option(help="How answers are scored; by default as the set is.", show_default=False),
]
Compare: TypeAlias = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="A B",
        help="Two adapters, models, or files of --out; `base` is --model without an adapter.",
        show_default=False,
    ),
]
FromChats: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--from-chats", help="Ask what your rated conversations asked.", rich_help_panel=_SET
    ),
]
Limit: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="Ask so many questions, drawn by --seed.", rich_help_panel=_SET),
]
Seed: TypeAlias = Annotated[
    int,
    typer.Option(min=0, help="Of drawn questions and of intervals.", rich_help_panel=_SET),
]
Pictures: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where a benchmark's pictures are.", rich_help_panel=_SET),
]
Outside: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-outside", help="Read pictures outside the set's folder.", rich_help_panel=_SET
    ),
]
Suffix: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Stands behind each question; '' for none. By default the benchmark's.",
        show_default=False,
        rich_help_panel=_ANSWERS,
    ),
]
InFlight: TypeAlias = Annotated[
    int,
    typer.Option(
        min=1, max=256, help="Questions that are under way at once.", rich_help_panel=_ANSWERS
    ),
]
Temperature: TypeAlias = Annotated[
    float,
    typer.Option(min=0, max=2, help="0 takes the likeliest token.", rich_help_panel=_ANSWERS),
]
MaxTokens: TypeAlias = Annotated[
    int, typer.Option(min=1, help="The longest answer.", rich_help_panel=_ANSWERS)
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Write each answer there, and go on there when run again.", rich_help_panel=_REPORT
    ),
]
Html: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Write the report as one page, with wrong answers.", rich_help_panel=_REPORT),
]
Wrong: TypeAlias = Annotated[
    int, typer.Option(min=0, help="Wrong answers that are printed.", rich_help_panel=_REPORT)
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=_REPORT)
]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the options say of the set and the report.

    Attributes:
        set: the file; ``None`` where saved answers are compared, or chats are asked about.
        from_chats: the rated replies of saved conversations are the set.
        metric: by name; empty for the one that suits the set.
        compare: the two of ``--compare``.
        limit: questions that are drawn.
        seed: they and the intervals are drawn with.
        suffix: of the questions; ``None`` for the set's own.
        pictures: folder of a benchmark's pictures.
        outside: whether pictures outside the set's folder are read.
        out: file of answers.
        html: file of the report.
        wrong: answers that are shown.
        as_json: whether the report is printed as JSON.
    """

    set: Path | None
    from_chats: bool
    metric: str
    compare: tuple[str, str] | None
    limit: int | None
    seed: int
    suffix: str | None
    pictures: Path | None
    outside: bool
    out: Path | None
    html: Path | None
    wrong: int
    as_json: bool


@dataclass(frozen=True, slots=True)
class Manner:
    """What the options say of how questions are put.

    Attributes:
        detail: as it was typed; ``None`` leaves it to the set.
        system: the system prompt, or ``@NAME``.
        in_flight: questions that are under way at once.
        temperature: of the sampling.
        max_tokens: of an answer.
    """

    detail: str | None
    system: str | None
    in_flight: int
    temperature: float
    max_tokens: int
