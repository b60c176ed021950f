"""The options of ``vlmchat synth``; what is not given is as `vlmchat.synth` has it."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

_MADE, _DRAWN = "Made by the model", "Drawn"


def _made(text: str, **more: Any) -> Any:  # noqa: ANN401 - what the parsing library takes
    return typer.Option(help=text, rich_help_panel=_MADE, show_default=False, **more)


def _drawn(text: str, **more: Any) -> Any:  # noqa: ANN401
    return typer.Option(help=text, rich_help_panel=_DRAWN, show_default=False, **more)


What: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="FOLDER|N", help="Pictures to ask about, or how many to draw."),
]
Out: TypeAlias = Annotated[Path | None, typer.Option(help="The rows, as JSONL.")]
PerImage: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, max=100, help="Rows of each kind for a picture; 4 by default."),
]
Seed: TypeAlias = Annotated[
    int | None, typer.Option(min=0, help="Of all that is chosen by chance; 0 by default.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
Kinds: TypeAlias = Annotated[
    str | None,
    _made(
        "What is made of each picture; caption,qa by default.",
        metavar="caption,qa,reasoning,preference",
    ),
]
Temperature: TypeAlias = Annotated[
    float | None, _made("Of questions and samples; 0.8 by default.", min=0, max=2)
]
Samples: TypeAlias = Annotated[
    int | None,
    _made("Answers that the kept one is compared with; 3 by default.", min=0, max=50),
]
Evolve: TypeAlias = Annotated[
    int | None, _made("How often a question is made harder; 1 by default.", min=0, max=5)
]
MostTokens: TypeAlias = Annotated[int | None, _made("Of an answer; 256 by default.", min=1)]
MinLikelihood: TypeAlias = Annotated[
    float | None,
    _made("Least mean log-probability of an answer's tokens; -2.5 by default."),
]
MinGain: TypeAlias = Annotated[
    float | None,
    _made("Least gain of that by the picture; what needs no look is left out. Any by default."),
]
MinAgreement: TypeAlias = Annotated[
    float | None, _made("Least agreement of the samples; 0.4 by default.", min=0, max=1)
]
Repeats: TypeAlias = Annotated[
    int | None,
    _made("How often nearly the same may be asked and said in the set; 3 by default.", min=1),
]
PairTemperatures: TypeAlias = Annotated[
    tuple[float, float] | None,
    _made("Of the two answers of a preference; 0 1.2 by default.", metavar="T T"),
]
PairAdapters: TypeAlias = Annotated[
    tuple[str, str] | None,
    _made("Adapters that give the two answers instead; none: no adapter.", metavar="A B"),
]
Judge: TypeAlias = Annotated[
    Literal["strict", "balanced"] | None,
    _made("Both orders must choose the same answer (strict), or their sum decides."),
]
Prompts: TypeAlias = Annotated[Path | None, _made("Folder of your own texts to ask with.")]
WritePrompts: TypeAlias = Annotated[
    Path | None, _made("Write the program's texts into this folder, and exit.")
]
InFlight: TypeAlias = Annotated[
    int | None, _made("Pictures worked on at a time; 4 by default.", min=1, max=256)
]
Drawn: TypeAlias = Annotated[
    Literal["shapes", "charts", "text", "things"] | None,
    _drawn("Draw N pictures of this kind, with questions whose answers are known."),
]
Pictures: TypeAlias = Annotated[
    Path | None, _drawn("Folder of what is drawn; by default beside the rows.")
]
Split: TypeAlias = Annotated[
    Literal["train", "eval"] | None,
    _drawn("To learn from (train, the default), or to be judged by: they share no picture."),
]
Level: TypeAlias = Annotated[float | None, _drawn("How hard, 0 to 1; 1 by default.", min=0, max=1)]
