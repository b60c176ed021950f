"""Writing the question in an editor of the person's own."""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmchat.errors import UsageError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from textual.app import App

_USUAL = ("nano", "vi", "notepad")


def editor_command() -> list[str]:
    """Return the editor with its arguments: ``$VISUAL``, ``$EDITOR``, else one that is there.

    Raises:
        UsageError: none is there, or the variable cannot be read or names no program.
    """
    for name in ("VISUAL", "EDITOR"):
        value = os.environ.get(name, "").strip()
        if not value:
            continue
        try:
            words = shlex.split(value, posix=os.name != "nt")
        except ValueError as error:
            raise UsageError(f"${name} cannot be read ({error}): mend its quotes.") from None
        # A path with spaces that nobody quoted is one program, not a program with arguments.
        if shutil.which(value):
            words = [value]
        words = [word.strip('"') if os.name == "nt" else word for word in words]
        if not words or shutil.which(str(Path(words[0]).expanduser())) is None:
            raise UsageError(f"${name} is “{visible_line(value)}”, and there is no such program.")
        return [str(Path(words[0]).expanduser()), *words[1:]]
    for program in _USUAL:
        if shutil.which(program):
            return [program]
    raise UsageError("No editor was found: set EDITOR to the one you use.")


async def edit_text(app: "App[Any]", text: str) -> str:
    """Let the person edit `text` in their editor, which has the terminal meanwhile.

    The event loop goes on, so that an answer that is arriving is kept; nothing is drawn.

    Returns:
        The text as it was saved, without the line break that editors put at the end; `text` when
        the editor ended with an error.

    Raises:
        UsageError: no editor can be started, or this terminal cannot be given away.
    """
    return await _edited(text, partial(_run_apart, app))


async def edit_text_here(text: str) -> str:
    """Let the person edit `text` in their editor where nothing else draws on the terminal.

    Returns:
        As `edit_text`.

    Raises:
        UsageError: no editor can be started.
    """

    async def run(command: list[str]) -> int:
        try:
            return await _run(command)
        except OSError as error:
            raise _not_started(command, error) from error

    return await _edited(text, run)


async def _edited(text: str, run: Callable[[list[str]], Awaitable[int]]) -> str:
    command = editor_command()
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="vlmchat-"))  # of mode 0700
    try:
        file = folder / "question.md"
        await asyncio.to_thread(_write, file, text)
        code = await run([*command, str(file)])
        return text if code else await asyncio.to_thread(_read, file, text)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _run_apart(app: "App[Any]", command: list[str]) -> int:
    from textual.app import SuspendNotSupported

    failure: BaseException | None = None
    code = 1
    try:
        with app.batch_update(), app.suspend(), _interrupts_left_to_the_editor():
            # App.suspend takes the terminal back only when nothing is raised inside it.
            try:
                code = await _run(command)
            except BaseException as error:
                failure = error
    except SuspendNotSupported:
        raise UsageError(
            "This terminal cannot be given to an editor: write here instead."
        ) from None
    if isinstance(failure, OSError):
        raise _not_started(command, failure) from failure
    if failure is not None:
        raise failure
    return code


def _not_started(command: list[str], error: OSError) -> UsageError:
    return UsageError(
        f"The editor “{visible_line(command[0])}” cannot be started ({error.strerror}): "
        "set EDITOR to another."
    )


async def _run(command: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(*command)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:  # the chat is being closed
            with contextlib.suppress(ProcessLookupError):
                process.terminate()


def _write(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(text.encode("utf-8", "surrogatepass"))


def _read(file: Path, before: str) -> str:
    try:
        text = file.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return before
    text = text.replace("\r\n", "\n")
    return text if text == before else text.removesuffix("\n")


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
