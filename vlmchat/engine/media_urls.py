"""Pictures and videos named by URL: ``data:``, and ``file:`` under folders that were allowed."""

import base64
import binascii
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from vlmchat.chat.messages import Media, Message, Part
from vlmchat.errors import MediaError, UsageError
from vlmchat.media.images import media_size, read_bytes
from vlmchat.media.rules import Limits
from vlmchat.media.video.plan import Sampling
from vlmchat.text import visible_line

_MOST_URLS = 1000


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found out about the picture in a ``data:`` URL."""

    sha256: str
    width: int
    height: int
    size: int


class KnownUrls:
    """Which pictures the last ``data:`` URLs held, by the URLs' SHA-256; safe between threads.

    A client sends the pictures of a conversation again with each question. Decoding base64 takes
    ten times as long as hashing it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: OrderedDict[tuple[bytes, Limits], _Known] = OrderedDict()

    def media(self, url: str, name: str, limits: Limits) -> Media:
        """Return the picture at `url`; its bytes are decoded when somebody asks for them.

        Raises:
            UsageError: the URL is malformed.
            MediaError: what is there is no readable picture.
        """
        key = hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest(), limits
        with self._lock:
            row = self._rows.get(key)
            if row is not None:
                self._rows.move_to_end(key)
        if row is None:
            held = _picture(_from_data_url(url), name, limits)
            row = _Known(held.sha256, held.width, held.height, held.size)
            with self._lock:
                self._rows[key] = row
                while len(self._rows) > _MOST_URLS:
                    self._rows.popitem(last=False)
            return held
        size = (row.width, row.height, row.size)
        return Media(row.sha256, name, "", *size, lambda: _from_data_url(url))


def _picture(data: bytes, name: str, limits: Limits) -> Media:
    if len(data) > limits.max_bytes:
        raise MediaError(f"“{name}” is larger than {limits.max_bytes} bytes.")
    width, height = media_size(data, name, limits)
    return Media.held(data, name, "", width, height)


class MediaResolver:
    """Turns the URLs of one request into pictures.

    Args:
        roots: folders below which ``file:`` URLs may be read; none allows none.
        limits: which pictures are refused.
        known: what earlier requests found out; nothing by default.
        most: pictures and videos that the request may have; 0 for any number.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        limits: Limits,
        known: KnownUrls | None = None,
        most: int = 0,
    ) -> None:
        self._most = most
        self._known = known or KnownUrls()
        self._roots = [root.resolve() for root in roots]
        self._limits = limits
        self._count = 0

    def image(self, url: str) -> Media:
        """Return the picture at `url`, probed but not decoded.

        Raises:
            UsageError: the address is refused.
            MediaError: what is there is no readable picture.
        """
        self._counted()
        if _scheme(url) == "data":
            return self._known.media(url, f"picture {self._count}", self._limits)
        path = self._allowed(url)
        return _picture(read_bytes(path, self._limits), path.name, self._limits)

    def video(self, url: str, sampling: Sampling, *, videos: bool) -> Sequence[Part]:
        """Return the frames of the video at `url` as parts of a message.

        Args:
            url: as for `image`.
            sampling: which frames.
            videos: the model has learned videos; see `vlmchat.media.sending.as_sent`.

        Raises:
            UsageError: the address or the sampling is refused.
            MediaError: what is there is no readable video.
        """
        from vlmchat.media.attaching import attach
        from vlmchat.media.sending import as_sent

        self._counted()
        with ExitStack() as stack:
            if _scheme(url) == "data":
                data = _from_data_url(url)
                if len(data) > self._limits.max_bytes:
                    raise MediaError(f"A video is larger than {self._limits.max_bytes} bytes.")
                # What decodes it seeks, and takes the name for what errors call it.
                folder = Path(stack.enter_context(TemporaryDirectory(prefix="vlmchat-")))
                path = folder / f"video {self._count}"
                path.write_bytes(data)
            else:
                path = self._allowed(url)
            part = attach(path, sampling=sampling).part
            return as_sent([Message("user", (part,))], False, videos=videos)[0].parts

    def _counted(self) -> None:
        self._count += 1
        if self._most and self._count > self._most:
            raise UsageError(
                f"A request may have {self._most} pictures and videos here: send fewer."
            )

    def _allowed(self, url: str) -> Path:
        parts = urlsplit(url)
        text = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or "\0" in text:
            raise UsageError(f"“{visible_line(url[:200])}” names no file of this machine.")
        path = Path(text).resolve()  # symbolic links and .. are followed before the check
        if not any(path.is_relative_to(root) for root in self._roots):
            raise UsageError(
                f"“{visible_line(str(path))}” lies outside the folders this engine may read: "
                "start it with --media-root, or send a data: URL."
            )
        return path


def _scheme(url: str) -> str:
    """Return ``data`` or ``file``.

    Raises:
        UsageError: the URL has another scheme.
    """
    scheme = url.split(":", 1)[0].lower()
    if scheme in ("http", "https"):
        raise UsageError(
            "This engine fetches nothing from the network: "
            "send the picture or video itself as a data: URL."
        )
    if scheme not in ("data", "file"):
        raise UsageError(
            f"The address “{visible_line(url[:60])}” of a picture or video is neither a data: "
            "nor a file: URL."
        )
    return scheme


def _from_data_url(url: str) -> bytes:
    """Return the bytes of an RFC 2397 URL.

    Raises:
        UsageError: it is malformed.
    """
    header, comma, body = url.partition(",")
    if not comma:
        raise UsageError("A data: URL has no comma: it is cut off or not one.")
    if not header.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("A data: URL is not valid base64.") from None
