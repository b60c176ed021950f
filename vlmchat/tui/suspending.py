"""Giving the terminal to an editor for a while."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from textual.app import App, SuspendNotSupported

from vlmchat.errors import UsageError
from vlmchat.talk.desktop.external_editor import run_editor


async def run_apart(app: App[Any], command: list[str]) -> int:
    """Run the editor, which has the terminal meanwhile, and return its exit status.

    The event loop goes on, so that an answer that is arriving is kept; nothing is drawn.

    Raises:
        OSError: it cannot be started.
        UsageError: this terminal cannot be given away.
    """
    failure: BaseException | None = None
    code = 1
    try:
        with app.batch_update(), app.suspend(), _interrupts_left_to_the_editor():
            # App.suspend takes the terminal back only when nothing is raised inside it.
            try:
                code = await run_editor(command)
            except BaseException as error:
                failure = error
    except SuspendNotSupported:
        raise UsageError(
            "This terminal cannot be given to an editor: write here instead."
        ) from None
    if failure is not None:
        raise failure
    return code


@contextlib.contextmanager
def _interrupts_left_to_the_editor() -> Iterator[None]:
    """Keep Ctrl+C in the editor from ending the chat, which is in the same process group."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Not SIG_IGN: that the editor would inherit.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
