"""``vlmchat models``: which models there are, and fetching one."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from vlmchat.errors import ModelError
from vlmchat.text import human_bytes, visible_line

app = typer.Typer(
    help="List the models that vlmchat knows, or fetch one.", invoke_without_command=True
)
QUANTIZATIONS = ("none", "8bit", "4bit")


def _rows() -> list[dict[str, Any]]:
    from vlmchat.demo.build import demo_path
    from vlmchat.models.catalogue import CATALOGUE
    from vlmchat.models.local import cached_snapshot

    rows = []
    for entry in CATALOGUE:
        here = cached_snapshot(entry.hub_id) if entry.hub_id else demo_path()
        rows.append(
            {
                "id": entry.id,
                "hub_id": entry.hub_id,
                "title": entry.title,
                "parameters": entry.footprint.parameters,
                "memory_bytes": {name: entry.memory(name) for name in QUANTIZATIONS},
                "context": entry.context,
                "video": entry.video,
                "licence": entry.licence,
                "download_bytes": entry.download,
                "on_this_machine": here is not None and here.is_dir(),
            }
        )
    return rows


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

    table = Table(box=None, pad_edge=False, header_style="bold")
    names = ["id", "parameters", "memory", "8-bit", "4-bit", "context", "video", "licence", "here"]
    for name in names:
        right = name in ("parameters", "memory", "8-bit", "4-bit", "context")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        memory = [human_bytes(row["memory_bytes"][name]) for name in QUANTIZATIONS]
        here = "yes" if row["on_this_machine"] else f"no ({human_bytes(row['download_bytes'])})"
        video = "yes" if row["video"] else "no"
        size = f"{row['parameters'] / 1e6:,.0f} M"
        table.add_row(row["id"], size, *memory, str(row["context"]), video, row["licence"], here)
    console = Console(highlight=False)
    # A pipe has no width: rows are not to be cut there.
    console.print(table, width=None if console.is_terminal else 200)
    console.print("\nvlmchat models pull ID fetches one; --model takes any Hub id or folder, too.")
    console.print(f"{_demo_remark()}", markup=False)


def _demo_remark() -> str:
    from vlmchat.models.resolve import DEMO_NOTICE

    return f"demo: {DEMO_NOTICE[0].lower()}{DEMO_NOTICE[1:]}"


@app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="ID", help="Short name or Hub id.")],
) -> None:
    """Fetch a model."""
    from vlmchat.models import catalogue
    from vlmchat.models.progress import Progress
    from vlmchat.models.resolve import resolve

    with _bar() as show:
        if name == catalogue.DEMO_ID:
            path = _build_demo(show)
        else:

            def report(step: Progress) -> None:
                show(step.text, step.done, step.total)

            path = str(resolve(name, report, memory_bytes=0, device="cpu").path)
    print(f"{visible_line(name)} is in {visible_line(path)}")


def _build_demo(show: Callable[[str, int, int], None]) -> str:
    """Have the demo model put together in a process of its own: that takes torch."""
    command = [sys.executable, "-m", "vlmchat.demo.build"]
    last: dict[str, Any] = {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            last = json.loads(line)
            if "text" in last:
                show(last["text"], last["done"], last["total"])
    if "path" not in last:
        raise ModelError(last.get("error", "The demo model could not be put together."))
    return str(last["path"])


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield what shows progress: a bar on a terminal, a line per step elsewhere."""
    if not sys.stderr.isatty():
        said: set[str] = set()

        def line(text: str, _done: int, total: int) -> None:
            if text not in said:
                said.add(text)
                size = f" ({human_bytes(total)})" if total else ""
                print(f"{text}{size}", file=sys.stderr)

        yield line
        return
    from vlmchat.cli.loading import Bar

    with Bar() as bar:
        yield bar.update


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    parent.add_typer(app, name="models")
