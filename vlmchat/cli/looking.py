"""Options that say what of a picture or a video the model gets."""

from typing import Annotated, Literal, TypeAlias

import typer

Fps: TypeAlias = Annotated[float | None, typer.Option(help="Frames a second of a video.")]
MaxFrames: TypeAlias = Annotated[int | None, typer.Option(help="The most frames of a video.")]
From: TypeAlias = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Where in a video to begin: 65, 0:05, 1:02:03."),
]
To: TypeAlias = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Where in a video to end.")
]
Frames: TypeAlias = Annotated[
    Literal["uniform", "scenes", "keyframes"] | None,
    typer.Option(help="How frames of a video are chosen."),
]
Detail: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="low|auto|high|N",
        help="How finely pictures are looked at: one tile, as much as they hold, as the model's "
        "own processor does, or at most N tiles.",
    ),
]
Crop: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="L,T,R,B", help="The part of the picture that is meant, in pixels."),
]
