"""``vlmchat adapters``: the shelf of what was learned, from the shell."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmchat.cli.endings import quiet_endings
from vlmchat.errors import UsageError
from vlmchat.text import human_bytes, visible_line

if TYPE_CHECKING:
    from vlmchat.models.progress import ProgressSink

app = typer.Typer(
    help="List, rename, delete, export and merge the adapters that fine-tuning made.",
    invoke_without_command=True,
)
_Name = Annotated[str, typer.Argument(metavar="NAME", help="Of an adapter on the shelf.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_COLUMNS = ("name", "base", "learned", "rows", "loss", "size", "made")
_NUMBERS = ("rows", "loss", "size")
# Where no terminal gives a width, so that rows are not cut.
_PIPE_WIDTH = 200


@app.callback()
def adapters(context: typer.Context, as_json: _Json = False) -> None:
    """List the adapters that fine-tuning made, the newest first."""
    if context.invoked_subcommand is None:
        with quiet_endings():
            _print_list(as_json)


@app.command("list")
def list_all(as_json: _Json = False) -> None:
    """List the adapters, the newest first."""
    with quiet_endings():
        _print_list(as_json)


def _print_list(as_json: bool) -> None:
    from vlmchat.finetune import describing
    from vlmchat.finetune.shelf import list_adapters

    found = list_adapters()
    if as_json:
        rows = [describing.as_json(adapter) for adapter in found]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    if not found:
        print("There is no adapter yet: `vlmchat finetune logs.jsonl` makes one.")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    for adapter in found:
        cells = (
            visible_line(adapter.name),
            describing.base(adapter),
            describing.kind(adapter),
            str(adapter.card.rows or ""),
            describing.loss(adapter),
            human_bytes(adapter.size),
            describing.day(adapter),
        )
        table.add_row(*map(Text, cells))
    console = Console(highlight=False)
    console.print(table, width=None if console.is_terminal else _PIPE_WIDTH)
    console.print("\n--adapter NAME answers with one; a loss in brackets is of training.")


@app.command()
def show(name: _Name, as_json: _Json = False) -> None:
    """Show everything that is known about an adapter."""
    from vlmchat.finetune import describing
    from vlmchat.finetune.shelf import open_adapter

    adapter = open_adapter(name)
    with quiet_endings():
        if as_json:
            print(json.dumps(describing.as_json(adapter), indent=1, ensure_ascii=False))
            return
        for title, value in describing.facts(adapter):
            print(f"{title}: {value}")


@app.command()
def rename(name: _Name, new: Annotated[str, typer.Argument(help="Another name.")]) -> None:
    """Give an adapter another name."""
    from vlmchat.talk.adapters import rename as rename_it

    print(f"It is called {visible_line(rename_it(name, new).name)} now.")


@app.command()
def delete(
    name: _Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete an adapter for good."""
    from vlmchat.finetune.describing import line
    from vlmchat.finetune.shelf import open_adapter
    from vlmchat.talk.adapters import delete as delete_it

    adapter = open_adapter(name)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("Deleting is for good: add --yes.")
        shown = f"{visible_line(adapter.name)} ({line(adapter)})"
        if not typer.confirm(f"Delete {shown} for good?"):
            print("It stays.")
            return
    delete_it(name)
    print(f"{visible_line(name)} is deleted.")


@app.command()
def export(name: _Name, target: Annotated[Path, typer.Argument(help="Folder to be made.")]) -> None:
    """Copy an adapter to a folder that PEFT, transformers and vLLM load."""
    from vlmchat.finetune.shelf import export as export_it

    folder = export_it(name, target.expanduser().absolute())
    print(f"The adapter is in {visible_line(str(folder))}")


@app.command()
def merge(
    name: _Name,
    target: Annotated[Path, typer.Argument(help="Folder to be made.")],
    base: Annotated[
        str | None,
        typer.Option(help="Model to merge into, where it is not the one the adapter names."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Merge an adapter into its base: a full model, laid out as on the Hub."""
    from vlmchat.finetune import merging
    from vlmchat.finetune.shelf import open_adapter

    adapter = open_adapter(name)
    with quiet_endings(), _bar() as progress:
        found = merging.merge(adapter, target, base=base, progress=progress)
    if as_json:
        row = {"largest_difference": found.largest, "largest_logit": found.scale}
        print(json.dumps({"folder": str(found.folder), **row, "dtype": found.dtype}))
    else:
        print(found.sentence())


@contextlib.contextmanager
def _bar() -> Iterator["ProgressSink"]:
    """Yield what shows progress on standard error: a bar on a terminal, a line a step elsewhere."""
    from vlmchat.models.progress import Progress

    if sys.stderr.isatty():
        from vlmchat.cli.loading import Bar

        with Bar() as bar:
            yield lambda step: bar.update(step.text, 0, 0)
        return
    said: set[str] = set()

    def line(step: Progress) -> None:
        if step.text not in said:
            said.add(step.text)
            print(visible_line(step.text), file=sys.stderr, flush=True)

    yield line


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    parent.add_typer(app, name="adapters")
