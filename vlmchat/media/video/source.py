"""The file that libav and Pillow read from: nothing else can be opened through it.

Reading goes through Python so that a deadline and a cancellation reach into the library's own
loops (searching a damaged file for its next frame can take long), and so that no name inside a
file, be it a playlist's or a reference, is ever opened.
"""

import io
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vlmchat.errors import MediaError
from vlmchat.media.video.limits import VideoLimits
from vlmchat.text import human_bytes, visible_line

Check = Callable[[], None]


class TimeUpError(Exception):
    """The time, or the number of packets, that one call may take has been used up."""


class Watch:
    """Says when to stop; called between packets and at every read.

    Args:
        limits: how long and how many packets.
        check: raises to cancel.

    Attributes:
        cancelled: what the check raised.
    """

    def __init__(self, limits: VideoLimits, check: Check | None = None) -> None:
        self._check = check
        self.cancelled: BaseException | None = None
        self._end = time.monotonic() + limits.decode_seconds
        self._packets = limits.max_packets

    def __call__(self) -> None:
        """Raise what stops the work, if anything does.

        Raises:
            TimeUpError: the time is over; and whatever the person's check raises.
        """
        if self._check is not None:
            try:
                self._check()
            except BaseException as error:
                self.cancelled = error
                raise
        if time.monotonic() > self._end:
            raise TimeUpError

    @contextmanager
    def part(self, share: float) -> Iterator[None]:
        """Allow only a share of the time that is left; what remains of it is kept."""
        end, now = self._end, time.monotonic()
        self._end = now + (end - now) * share
        try:
            yield
        finally:
            self._end = end

    def packet(self) -> None:
        """Count one packet, and look as by a call."""
        self._packets -= 1
        if self._packets < 0:
            raise TimeUpError
        self()


class Source(io.RawIOBase):
    """A regular file, read only, that stops when its watch says so.

    Attributes:
        label: what errors call the file.
        size: bytes.
        failed: what stopped reading; `raise_failed` passes it on.

    Raises:
        MediaError: missing, no regular file, not readable, empty or larger than the limit.
    """

    name = "video"  # libav guesses by names; it shall not

    def __init__(self, path: Path, limits: VideoLimits, watch: Watch) -> None:
        super().__init__()
        self.label = visible_line(path.name)
        self.watch = watch
        self.failed: BaseException | None = None
        self._file = _opened(path, visible_line(str(path)))
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            if self.size == 0:
                raise MediaError(f"“{self.label}” is empty (0 bytes): choose another file.")
            if limits.max_bytes is not None and self.size > limits.max_bytes:
                raise MediaError(
                    f"“{self.label}” has {human_bytes(self.size)}; the most that is read is "
                    f"{human_bytes(limits.max_bytes)}."
                )
        except BaseException:
            self.close()
            raise
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes from where the file stands.

        When the watch says stop, the file ends here and now: libav may go on reading for ever
        after an error, but not past an end. `raise_failed` then says why.
        """
        if self.failed is not None:
            return b""
        try:
            self.watch()
            data = self.peek(self._at, self.size if size < 0 else size)
        except BaseException as error:  # it must not pass through the library
            self.failed = error
            return b""
        self._at += len(data)
        return data

    def peek(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`; where the file stands does not change."""
        if offset < 0:
            return b""
        self._file.seek(offset)
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move as files do."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return where the file stands."""
        return self._at

    def close(self) -> None:
        """Close the file; closing again does nothing."""
        if not self.closed:
            self._file.close()
        super().close()

    def raise_failed(self) -> None:
        """Raise what stopped reading, if anything has."""
        if self.failed is not None:
            raise self.failed


def _opened(path: Path, name: str) -> io.FileIO:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise MediaError(f"“{name}” is a folder: name a video inside it.")
        if not stat.S_ISREG(mode):
            raise MediaError(f"“{name}” is not a regular file: attach a video file.")
        return io.FileIO(path, "rb")
    except FileNotFoundError:
        raise MediaError(f"“{name}” does not exist: check the path.") from None
    except PermissionError:
        raise MediaError(f"“{name}” may not be read: its permissions forbid it.") from None
    except (OSError, ValueError) as error:
        why = visible_line(str(error)).strip().rstrip(".")
        raise MediaError(f"“{name}” cannot be read ({why}).") from error
