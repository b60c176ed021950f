"""Writing the question in an editor of the person's own."""

import asyncio
import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from vlmchat.errors import UsageError
from vlmchat.text import visible_line

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


async def run_editor(command: list[str]) -> int:
    """Run the editor where nothing else draws on the terminal, and return its exit status.

    Raises:
        OSError: it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(*command)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:  # the chat is being closed
            with contextlib.suppress(ProcessLookupError):
                process.terminate()


async def edit_text(text: str, run: Callable[[list[str]], Awaitable[int]] = run_editor) -> str:
    """Let the person edit `text` in their editor.

    Args:
        text: what there is already.
        run: runs the command, and returns its exit status or raises what `run_editor` raises.

    Returns:
        The text as it was saved, without the line break that editors put at the end; `text` when
        the editor ended with an error.

    Raises:
        UsageError: no editor can be started.
    """
    command = editor_command()
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="vlmchat-"))  # of mode 0700
    try:
        file = folder / "question.md"
        await asyncio.to_thread(_write, file, text)
        try:
            code = await run([*command, str(file)])
        except OSError as error:
            raise UsageError(
                f"The editor “{visible_line(command[0])}” cannot be started ({error.strerror}): "
                "set EDITOR to another."
            ) from error
        return text if code else await asyncio.to_thread(_read, file, text)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


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
