"""Pictures named by URL: ``data:``, and ``file:`` under folders that were allowed."""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from vlmchat.chat.messages import Media
from vlmchat.errors import MediaError, UsageError
from vlmchat.media.images import media_size, read_bytes
from vlmchat.media.rules import Limits
from vlmchat.text import visible_line


class MediaResolver:
    """Turns the URLs of one request into pictures.

    Args:
        roots: folders below which ``file:`` URLs may be read; none allows none.
        limits: which pictures are refused.
    """

    def __init__(self, roots: Sequence[Path], limits: Limits) -> None:
        self._roots = [root.resolve() for root in roots]
        self._limits = limits
        self._count = 0

    def image(self, url: str) -> Media:
        """Return the picture at `url`, probed but not decoded.

        Raises:
            UsageError: the address is refused.
            MediaError: what is there is no readable picture.
        """
        self._count += 1
        scheme = url.split(":", 1)[0].lower()
        if scheme == "data":
            name, data = f"picture {self._count}", _from_data_url(url)
        elif scheme == "file":
            path = self._allowed(url)
            name, data = path.name, read_bytes(path, self._limits)
        elif scheme in ("http", "https"):
            raise UsageError(
                "This engine fetches nothing from the network: "
                "send the picture itself as a data: URL."
            )
        else:
            raise UsageError(
                f"The picture's address “{visible_line(url[:60])}” is neither a data: nor "
                "a file: URL."
            )
        if len(data) > self._limits.max_bytes:
            raise MediaError(f"“{name}” is larger than {self._limits.max_bytes} bytes.")
        width, height = media_size(data, name, self._limits)
        return Media.held(data, name, "", width, height)

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


def _from_data_url(url: str) -> bytes:
    """Return the bytes of an RFC 2397 URL.

    Raises:
        UsageError: it is malformed.
    """
    header, comma, body = url.partition(",")
    if not comma:
        raise UsageError("A data: URL of a picture has no comma: it is cut off or not one.")
    if not header.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("A data: URL of a picture is not valid base64.") from None
