"""The desktop's clipboard: pictures, files and text in, text out.

Terminals carry text only, so pictures are fetched by the programs that the desktop has for it:
``wl-paste`` on Wayland, ``xclip`` on X11, Pillow on macOS and Windows, PowerShell from within WSL.
"""

import asyncio
import io
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vlmchat.errors import MediaError, VlmchatError
from vlmchat.talk.desktop.pasted import expand
from vlmchat.text import human_bytes

SECONDS = 3.0
MOST_BYTES = 64_000_000
# In the order in which they are wanted: PNG is what screenshots are.
_PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff")
_FILES = "text/uri-list"
_TEXTS = ("text/plain;charset=utf-8", "UTF8_STRING", "text/plain", "STRING", "TEXT")


@dataclass(frozen=True, slots=True)
class Clip:
    """What is on the clipboard: one of these, or nothing.

    Attributes:
        picture: the bytes of a picture file.
        files: files copied in a file manager.
        text: plain text.
    """

    picture: bytes = b""
    files: list[Path] = field(default_factory=list)
    text: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return not (self.picture or self.files or self.text)


class Reader(Protocol):
    """One way to read a clipboard."""

    async def kinds(self) -> list[str]:
        """Return the names of the forms in which the content is there."""

    async def data(self, kind: str) -> bytes:
        """Return the content in one of these forms."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that lists the kinds and prints the content.

    Attributes:
        lists: the command that prints one kind a line.
        prints: the command that prints the content; the kind follows it.
        behind: what follows the kind.
    """

    lists: tuple[str, ...]
    prints: tuple[str, ...]
    behind: tuple[str, ...] = ()

    async def kinds(self) -> list[str]:
        """Return one kind a line; nothing when the clipboard is empty (the tools fail then)."""
        listed = await _output(self.lists, 1_000_000)
        return listed.decode("utf-8", "replace").split("\n")

    async def data(self, kind: str) -> bytes:
        """Return what the program prints."""
        return await _output((*self.prints, kind, *self.behind), MOST_BYTES)


WAYLAND = Tool(("wl-paste", "--list-types"), ("wl-paste", "--no-newline", "--type"))
_XCLIP = ("xclip", "-selection", "clipboard", "-t")
X11 = Tool((*_XCLIP, "TARGETS", "-o"), _XCLIP, ("-o",))


class Grabber:
    """Pillow, on macOS and Windows."""

    def __init__(self) -> None:
        self._files: list[str] = []
        self._picture = b""

    async def kinds(self) -> list[str]:
        """Read it all."""
        async with asyncio.timeout(SECONDS):
            await asyncio.to_thread(self._grab)
        if self._files or self._picture:
            return [_FILES if self._files else "image/png"]
        return ["text/plain"] if sys.platform == "darwin" else []

    async def data(self, kind: str) -> bytes:
        """Return what was read."""
        if kind == _FILES:
            return "\n".join(Path(name).as_uri() for name in self._files).encode()
        if kind == "text/plain":
            return await _output(("pbpaste",), MOST_BYTES)
        return self._picture

    def _grab(self) -> None:
        from PIL import ImageGrab

        try:
            held = ImageGrab.grabclipboard()
        except (OSError, NotImplementedError) as error:
            raise MediaError(f"The clipboard cannot be read ({error}).") from error
        if isinstance(held, list):
            self._files = held
        elif held is not None:
            buffer = io.BytesIO()
            held.save(buffer, "PNG")
            self._picture = buffer.getvalue()


_POWERSHELL = (
    "Add-Type -AssemblyName System.Windows.Forms,System.Drawing;"
    "$i=[Windows.Forms.Clipboard]::GetImage();"
    "if($i){$m=New-Object IO.MemoryStream;$i.Save($m,[Drawing.Imaging.ImageFormat]::Png);"
    "$o=[Console]::OpenStandardOutput();$b=$m.ToArray();$o.Write($b,0,$b.Length)}"
)


class Wsl:
    """The clipboard of Windows, from within WSL."""

    async def kinds(self) -> list[str]:
        """Say that there may be a picture: asking takes as long as fetching it."""
        return ["image/png"]

    async def data(self, kind: str) -> bytes:
        """Return the picture as PNG; nothing when there is none."""
        command = ("powershell.exe", "-NoProfile", "-STA", "-Command", _POWERSHELL)
        return await _output(command, MOST_BYTES, 3 * SECONDS)


def find_reader() -> Reader:
    """Return the way to read the clipboard here.

    Raises:
        MediaError: there is none; the sentence names what to install.
    """
    if sys.platform in ("darwin", "win32"):
        return Grabber()
    wayland, x11 = os.environ.get("WAYLAND_DISPLAY"), os.environ.get("DISPLAY")
    if wayland and shutil.which("wl-paste"):
        return WAYLAND
    if x11 and shutil.which("xclip"):  # Wayland desktops have an X server too
        return X11
    if "WSL_DISTRO_NAME" in os.environ and shutil.which("powershell.exe"):
        return Wsl()
    if wayland or x11:
        missing = "wl-clipboard" if wayland else "xclip"
        raise MediaError(f"The clipboard needs a program to read it: install {missing}.")
    raise MediaError(
        "There is no desktop whose clipboard could be read here: "
        "attach a picture by its path with /attach."
    )


async def read_clipboard(with_text: bool = True) -> Clip:
    """Return what is on the clipboard: files before a picture before text.

    Args:
        with_text: whether text is wanted too.

    Raises:
        MediaError: no program reads it, it takes too long, or it is too large.
    """
    reader = find_reader()
    try:
        kinds = {kind.strip() for kind in await reader.kinds()}
        if _FILES in kinds and (files := _files(await reader.data(_FILES))):
            return Clip(files=files)
        for kind in _PICTURES:
            if kind in kinds and (picture := await reader.data(kind)):
                return Clip(picture=picture)
        if with_text and (kind := next((kind for kind in _TEXTS if kind in kinds), "")):
            text = (await reader.data(kind)).decode("utf-8", "replace")
            return Clip(text=text.replace("\r\n", "\n"))
    except TimeoutError:
        raise MediaError(
            f"The clipboard did not answer within {SECONDS:.0f} seconds: copy it once more."
        ) from None
    except OSError as error:
        raise MediaError(f"The clipboard cannot be read ({error.strerror}).") from error
    return Clip()


def _files(listed: bytes) -> list[Path]:
    """Return the local files of a ``text/uri-list`` (RFC 2483: comments begin with #)."""
    lines = listed.decode("utf-8", "replace").splitlines()
    return [expand(line.strip()) for line in lines if line.strip().lower().startswith("file:")]


async def _output(command: Sequence[str], most: int, seconds: float = SECONDS) -> bytes:
    """Return what `command` prints; nothing when it fails, which is how tools say “empty”.

    Raises:
        TimeoutError: it takes too long.
        OSError: it cannot be started.
        MediaError: it prints more than `most` bytes.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    taken = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while chunk := await process.stdout.read(1 << 16):
                taken += chunk
                if len(taken) > most:
                    raise MediaError(
                        f"What is on the clipboard is larger than {human_bytes(most)}: "
                        "save it and attach the file."
                    )
            failed = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return b"" if failed else bytes(taken)


# Copying ----------------------------------------------------------------------------------------


def copying_tool() -> tuple[str, ...]:
    """Return the command that takes text for the clipboard on its standard input; empty if none."""
    candidates: list[tuple[str, ...]] = []
    if sys.platform == "darwin":
        candidates.append(("pbcopy",))
    if os.environ.get("WAYLAND_DISPLAY"):
        candidates.append(("wl-copy",))
    if os.environ.get("DISPLAY"):
        candidates += [("xclip", "-selection", "clipboard"), ("xsel", "--clipboard", "--input")]
    if sys.platform == "win32" or "WSL_DISTRO_NAME" in os.environ:
        candidates.append(("clip.exe",))
    return next((command for command in candidates if shutil.which(command[0])), ())


async def give(command: Sequence[str], text: str) -> None:
    """Hand `text` to a command from `copying_tool`."""
    data = text.encode("utf-16-le" if command[0] == "clip.exe" else "utf-8", "replace")
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            # These tools stay behind to serve the selection: a pipe would never end.
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return
    try:
        async with asyncio.timeout(SECONDS):
            await process.communicate(data)
    except TimeoutError:
        process.kill()
        await process.wait()


# Into the chat ----------------------------------------------------------------------------------


class Pasting(Protocol):
    """What takes in what was on the clipboard."""

    def attach(self, paths: Sequence[Path]) -> None:
        """Attach files."""

    def attach_bytes(self, data: bytes, name: str) -> None:
        """Attach the picture in a file's bytes."""

    def paste_text(self, text: str) -> None:
        """Insert text at the cursor."""


async def paste_into(chat: Pasting, own: str = "", media_only: bool = False) -> None:
    """Put what is on the clipboard where it belongs.

    Args:
        chat: takes it.
        own: what was copied inside the program, for when there is nothing else.
        media_only: whether text is not wanted.

    Raises:
        VlmchatError: there is nothing, or it cannot be read; not while `own` is there.
    """
    try:
        clip = await read_clipboard(with_text=not media_only)
    except VlmchatError:
        if not own:
            raise
        clip = Clip(text=own)
    if clip.files:
        chat.attach(clip.files)
    elif clip.picture:
        from datetime import datetime

        chat.attach_bytes(clip.picture, f"clipboard-{datetime.now():%H%M%S}.png")
    elif clip.text or own:
        chat.paste_text(clip.text or own)
    else:
        raise MediaError("There is no picture on the clipboard.")
