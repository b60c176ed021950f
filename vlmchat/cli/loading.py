"""The local engine brought up from the command line, its progress shown on standard error."""

import contextlib
import sys
from collections.abc import AsyncIterator

from vlmchat.client.protocol import EngineStatus, ModelInfo
from vlmchat.client.supervisor import EngineOptions, LocalEngine
from vlmchat.errors import EngineError


class Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("Starting", total=None, figures="")

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, text: str, done: int, total: int) -> None:
        """Show that `done` of `total` bytes are done; a total of 0 is unknown."""
        figures = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else ""
        self._bar.update(
            self._task, description=text, completed=done, total=total or None, figures=figures
        )


@contextlib.asynccontextmanager
async def ready_engine(
    options: EngineOptions,
) -> AsyncIterator[tuple[LocalEngine, ModelInfo]]:
    """Yield a local engine with its model loaded; it ends with the block.

    Raises:
        EngineError: it did not start or could not load the model.
    """
    engine = LocalEngine(options)
    try:
        await engine.start()
        status = EngineStatus("starting", "Starting")
        with Bar() as bar:
            async for status in engine.watch():
                bar.update(status.text, status.done, status.total)
        if status.stage == "failed" or status.model is None:
            raise EngineError(status.text)
        if status.model.notice and sys.stderr.isatty():
            print(status.model.notice, file=sys.stderr)
        yield engine, status.model
    finally:
        await engine.stop()
