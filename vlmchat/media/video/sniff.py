"""Which kind of video a file is, by its first bytes, never by its name.

Only containers that hold their own frames are let in. Playlists (HLS, DASH, concat) name other
files and hosts; they are refused by name.
"""

import re

from vlmchat.errors import MediaError
from vlmchat.media.video.source import Source

# ISO base media files begin with one of these boxes (ISO/IEC 14496-12; QuickTime for the last).
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")
_PLAYLISTS = (
    (re.compile(rb"\A\s*#EXTM3U"), "an HLS playlist"),
    (re.compile(rb"\A\s*ffconcat"), "a concat list"),
    (re.compile(rb"\A\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<MPD\b", re.S), "a DASH manifest"),
    (re.compile(rb"\A\s*\[playlist\]", re.I), "a playlist"),
    (re.compile(rb"\A\s*(<\?xml[^>]*>\s*)?<(asx|smil)\b", re.I), "a playlist"),
)
_BY_NAME = {
    b"FLV": "Flash video (FLV)",
    b"OggS": "Ogg",
    b"\x30\x26\xb2\x75": "Windows Media (ASF)",
    b"\x00\x00\x01\xba": "an MPEG programme stream",
    b".RMF": "RealMedia",
}
PICTURES = ("gif", "webp", "apng")


def sniff(source: Source) -> str:
    """Return ``mov``, ``matroska``, ``avi``, ``mpegts``, ``gif``, ``webp`` or ``apng``.

    Raises:
        MediaError: anything else, playlists by name.
    """
    head = source.peek(0, 4096)
    for pattern, what in _PLAYLISTS:
        if pattern.search(head.removeprefix(b"\xef\xbb\xbf")):
            raise MediaError(
                f"“{source.label}” is {what}, which only names other files: "
                "attach the video file itself."
            )
    kind = kind_of(head)
    if kind is not None:
        return kind
    for magic, what in _BY_NAME.items():
        if head.startswith(magic):
            raise MediaError(
                f"“{source.label}” is {what}, which is not read here: convert it to MP4 or WebM."
            )
    raise MediaError(
        f"“{source.label}” is not a video vlmchat can read: "
        "use MP4, MOV, MKV, WebM, AVI, GIF, or an animated WebP or PNG."
    )


def kind_of(head: bytes) -> str | None:
    """Return what a file is by its first bytes; ``None`` for nothing that is read here."""
    if head[4:8] in _BOXES:
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF"):
        return {b"AVI ": "avi", b"WEBP": "webp"}.get(head[8:12])
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "apng"
    # Transport streams: a sync byte every 188 bytes, or every 192 with camcorders' time codes.
    for size, first in ((188, 0), (192, 4)):
        if len(head) > 3 * size and all(head[first + n * size] == 0x47 for n in range(4)):
            return "mpegts"
    return None


def looks_like_video(head: bytes) -> bool:
    """Return whether a file that begins with `head` is a film or may be an animated picture."""
    return kind_of(head) is not None
