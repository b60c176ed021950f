"""``vlmchat models``: which models there are, and fetching one."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from vlmchat.text import human_bytes, visible_line

app = typer.Typer(
    help="List the models that vlmchat knows, or fetch one.", invoke_without_command=True
)


def _rows() -> list[dict[str, Any]]:
    from vlmchat.models import demo_model, local
    from vlmchat.models.catalogue import CATALOGUE, QUANTIZATIONS

    present = local.catalogue_on_this_machine()
    return [
        {
            "id": entry.id,
            "hub_id": entry.hub_id,
            "title": entry.title,
            "parameters": entry.parameters,
            "memory_bytes": {name: entry.memory_bytes(name) for name in QUANTIZATIONS},
            "context": entry.context,
            "video": entry.video,
            "licence": entry.licence,
            "download_bytes": entry.download_bytes,
            "on_this_machine": demo_model.is_built() if entry.is_demo else entry.id in present,
        }
        for entry in CATALOGUE
    ]


@app.callback()
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the models that vlmchat knows, or fetch one."""
    if context.invoked_subcommand is not None:
        return
    rows = _rows()
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    from vlmchat.models.catalogue import DEMO

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    numbers = ["size", "memory", "8-bit", "4-bit", "context"]
    for name in ["id", *numbers, "video", "licence", "to fetch"]:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    for row in rows:
        memory = [human_bytes(size) for size in row["memory_bytes"].values()]
        here = "is here" if row["on_this_machine"] else human_bytes(row["download_bytes"])
        video = "yes" if row["video"] else "no"
        size = f"{row['parameters'] / 1e6:.0f} M"
        table.add_row(row["id"], size, *memory, str(row["context"]), video, row["licence"], here)
    console = Console(highlight=False)
    # A pipe has no width, and rows are not to be cut there.
    console.print(table, width=None if console.is_terminal else 200)
    remark = "`vlmchat models pull ID` fetches one; --model takes any Hub id or folder, too."
    console.print(f"\n{remark}\n{DEMO.note}", markup=False, soft_wrap=True)


@app.command()
def pull(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="Short name or Hub id, with @revision if wanted.")
    ],
) -> None:
    """Fetch a model."""
    from vlmchat.models import resolve
    from vlmchat.models.progress import Progress

    try:
        with _bar() as show:

            def report(step: Progress) -> None:
                show(step.text, step.done, step.total if step.stage == "downloading" else 0)

            folder = resolve.pull(name, report)
    except KeyboardInterrupt:
        print("Stopped; what arrived whole is kept.", file=sys.stderr)
        # The Hub's threads would go on until their files are whole, and hold the process.
        os._exit(130)
    print(f"{folder.title} is in {visible_line(str(folder.path))}")


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield what shows progress on standard error: a bar on a terminal, a line a step elsewhere."""
    if not sys.stderr.isatty():
        said: set[str] = set()

        def line(text: str, _done: int, total: int) -> None:
            if text not in said:
                said.add(text)
                size = f" ({human_bytes(total)})" if total else ""
                print(f"{text}{size}", file=sys.stderr, flush=True)

        yield line
        return
    from vlmchat.cli.loading import Bar

    with Bar() as bar:
        yield bar.update


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    parent.add_typer(app, name="models")
