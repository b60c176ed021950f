"""``vlmchat prompts``: the system prompts that have a name."""

import json
import shutil
import sys
from typing import Annotated

import typer

from vlmchat.cli.endings import quiet_endings
from vlmchat.text import visible

app = typer.Typer(help="List the named system prompts, or show one.", no_args_is_help=True)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the prompts: name, whose it is, and how it begins."""
    from vlmchat.prompts import presets

    found = presets()
    with quiet_endings():
        if as_json:
            rows = [
                {"name": name, "own": preset.own, "path": str(preset.path)}
                for name, preset in found.items()
            ]
            print(json.dumps(rows, indent=1))
        else:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            widest = max(map(len, found), default=0)
            for name, preset in found.items():
                whose = "yours  " if preset.own else "shipped"
                line = f"{name:<{widest}}  {whose}  {preset.summary()}"
                print(line if width is None or len(line) <= width else f"{line[: width - 1]}…")
        sys.stdout.flush()


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="With or without the @.")],
) -> None:
    """Print a prompt."""
    from vlmchat.prompts import SIGN, find

    text = find(name.removeprefix(SIGN)).read()
    with quiet_endings():
        # A terminal obeys control sequences, a pipe passes them on as they are.
        print(visible(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    parent.add_typer(app, name="prompts")
