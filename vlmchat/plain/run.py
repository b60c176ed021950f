"""Plain mode from its beginning to its end."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmchat import __version__
from vlmchat.errors import VlmchatError
from vlmchat.plain.front import PlainFront
from vlmchat.plain.out import Out
from vlmchat.plain.reading import PipeReader, Reader, TerminalReader
from vlmchat.talk.starting import keeper_for, open_store

if TYPE_CHECKING:
    from vlmchat.settings import Settings
    from vlmchat.talk.engine_keeper import EngineKeeper

READER_GONE = 141
FAILED = 3
_REMEMBERED = 500


def why_plain(environment: Mapping[str, str] = os.environ) -> str:
    """Return why the screen cannot be drawn here; empty when it can."""
    if not sys.stdin.isatty():
        return "standard input is no terminal"
    if not sys.stdout.isatty():
        return "standard output is no terminal"
    if os.name != "nt" and environment.get("TERM", "") in ("", "dumb"):
        return "the terminal can only show lines"
    return ""


def run_plain(
    overrides: Mapping[str, Mapping[str, Any]],
    attach: Sequence[Path] = (),
    resume: bool = False,
    verbose: bool = False,
    why: str = "",
    keeper: "Callable[[Settings], EngineKeeper]" = keeper_for,
) -> int:
    """Run the chat in plain lines and return the program's exit code.

    Args:
        overrides: settings the command line gave.
        attach: pictures to attach at the start.
        resume: whether to go on with the last conversation.
        verbose: whether to write figures below each answer.
        why: why this is plain mode, when nobody asked for it.
        keeper: makes the engine's keeper from the settings.

    Raises:
        UsageError: the configuration is wrong.
    """
    from vlmchat.prompts import resolved
    from vlmchat.settings import load_settings

    settings = load_settings(overrides)
    system = resolved(settings.chat.system)

    async def main() -> int:
        front = _front(overrides, verbose)
        reason = f" ({why})" if why else ""
        front.out.line(
            f"vlmchat {__version__} in plain mode{reason}: "
            "a chat with a vision-language model on this machine."
        )
        with _signals(front):
            try:
                return await _talk(front, settings, system, keeper, attach, resume)
            finally:
                await front.close()

    with _terminal_restored():
        code = asyncio.run(main())
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    return code


def _front(overrides: Mapping[str, Mapping[str, Any]], verbose: bool) -> PlainFront:
    with contextlib.suppress(AttributeError):
        # What the terminal's encoding lacks is written as an escape, rather than ending the chat.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    out = Out(sys.stdout)
    reader: Reader = (
        TerminalReader(out) if sys.stdin.isatty() else PipeReader(sys.stdin.fileno(), out)
    )
    front = PlainFront(out, reader, overrides)
    out.gone = front.quit
    front.always_figures = verbose
    if isinstance(reader, TerminalReader) and reader.edits:
        from vlmchat.plain.tab import Tab

        Tab(front, reader, out).install()
    return front


async def _talk(
    front: PlainFront,
    settings: "Settings",
    system: str,
    keeper: "Callable[[Settings], EngineKeeper]",
    attach: Sequence[Path],
    resume: bool,
) -> int:
    if settings.chat.save:
        await _keep(front, resume)
    elif resume:
        front.notice("Conversations are not kept (chat.save is off).", "error")
    front.engine_changer.make = keeper
    front.connect(keeper(settings), settings, system)
    if attach:
        await front.attachments.read(attach)
        front.tell_attachments()
    answering = asyncio.create_task(front.session.run())
    conversing = asyncio.create_task(front.converse())
    quitting = asyncio.create_task(front.quitting.wait())
    tasks: tuple[asyncio.Task[Any], ...] = (answering, conversing, quitting)
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if error := task.exception():
            raise error
    if front.out.broken:
        return READER_GONE
    return FAILED if front.failed and not front.reader.interactive else 0


async def _keep(front: PlainFront, resume: bool) -> None:
    """Have the conversation saved from here on, and bring the last one back if asked to."""
    from vlmchat.talk.keeping.conversations import Conversations
    from vlmchat.talk.keeping.library import Library
    from vlmchat.talk.keeping.store_recorder import StoreRecorder

    def trouble(sentence: str) -> None:
        front.notice(sentence, "error")
        front.notice("This conversation is not saved any more: it goes on in memory.", "error")

    try:
        library = Library(await asyncio.to_thread(open_store), trouble)
    except VlmchatError as error:
        trouble(str(error))
        return
    recorder = StoreRecorder(library)
    front.session.recorder = recorder
    front.library = Conversations(front.session, library, recorder)
    front.library.clean()
    try:
        found = await front.library.open_last() if resume else True
        for text in reversed(await front.library.asked(_REMEMBERED, everywhere=True)):
            front.reader.remember(text)
        if draft := await front.library.draft():
            front.reader.remember(draft)
            front.notice(f"You had begun to write: {draft}")
    except VlmchatError as error:
        trouble(str(error))
        return
    if not found:
        front.notice("There is no conversation to go on with: this is a new one.")


@contextlib.contextmanager
def _signals(front: PlainFront) -> Iterator[None]:
    """Take Ctrl+C as a wish, and the signals that end programs as a wish to end well."""
    loop = asyncio.get_running_loop()
    taken = [(signal.SIGINT, front.interrupt), (signal.SIGTERM, front.quit)]
    if hasattr(signal, "SIGHUP"):
        taken.append((signal.SIGHUP, front.quit))
    with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows
        for number, do in taken:
            loop.add_signal_handler(number, do)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError, RuntimeError):
            for number, _ in taken:
                loop.remove_signal_handler(number)


@contextlib.contextmanager
def _terminal_restored() -> Iterator[None]:
    """Leave the terminal as it was: a line that was being edited may not have."""
    if not sys.stdin.isatty() or os.name == "nt":
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin.fileno())
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
