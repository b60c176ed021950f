"""``vlmchat demo-pictures``: a few drawn pictures to try the demo model on."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from vlmchat.text import visible_line


def demo_pictures(
    folder: Annotated[Path, typer.Argument(help="Where to; made if missing.")],
) -> None:
    """Write a few drawn pictures and say what to ask about them."""
    from vlmchat.demo.pictures import write_samples

    for sample, path in write_samples(folder):
        question = shlex.quote(sample.question)
        print(f"vlmchat ask --model demo -a {visible_line(shlex.quote(str(path)))} {question}")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(demo_pictures)
