"""What a person calls a live source, and how libav is told to open it.

A number is a camera, an address a stream, everything else a file that is played as it would be
looked at. Naming an address is asking for the network: nothing else here ever does.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from vlmchat.errors import UsageError
from vlmchat.text import visible_line

Kind: TypeAlias = Literal["camera", "stream", "file"]
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_CAMERA = re.compile(r"\d{1,2}", re.ASCII)
_DEVICE = re.compile(r"/dev/(?:video(\d+)|v4l/.+)", re.ASCII)
_OVER_RTSP = "rtsp,rtsps,rtp,srtp,udp,tcp,tls,crypto"
_OVER_HTTP = "http,https,httpproxy,tcp,tls,crypto,hls"
_PROTOCOLS = {
    "rtsp": _OVER_RTSP,
    "rtsps": _OVER_RTSP,
    "http": _OVER_HTTP,
    "https": _OVER_HTTP,
}


@dataclass(frozen=True, slots=True)
class Opening:
    """How libav opens a source.

    Attributes:
        kind: what it is.
        url: what is opened.
        title: what a person reads; without passwords.
        format: libav's name of the input device, ``None`` where the content tells.
        options: of libav.
        paced: its frames may come faster than they are to be looked at.
        lasting: where it ends, it has only broken off.
    """

    kind: Kind
    url: str
    title: str
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    paced: bool = False
    lasting: bool = False


def opening(
    source: str,
    platform: str = sys.platform,
    cameras: Callable[[], Sequence[str]] = lambda: (),
) -> Opening:
    """Return how the source that a person named is opened.

    Args:
        source: a camera's number, ``/dev/video0``, an address, or a file.
        platform: as ``sys.platform``.
        cameras: returns the names of the cameras, where they are opened by their names.

    Raises:
        UsageError: nothing can be called this.
    """
    text = source.strip()
    if not text:
        raise UsageError("Name what to watch: a camera's number, rtsp://…, http://… or a file.")
    if _CAMERA.fullmatch(text):
        return _camera(int(text), platform, cameras)
    if scheme := _SCHEME.match(text):
        return _stream(text, scheme.group(1).lower())
    if platform.startswith("linux") and (match := _DEVICE.fullmatch(text)):
        title = f"camera {match.group(1)}" if match.group(1) else Path(text).name
        return Opening("camera", text, visible_line(title), "v4l2")
    path = Path(text).expanduser()
    return Opening("file", str(path), visible_line(path.name), paced=True)


def _camera(number: int, platform: str, cameras: Callable[[], Sequence[str]]) -> Opening:
    title = f"camera {number}"
    if platform.startswith("linux"):
        return Opening("camera", f"/dev/video{number}", title, "v4l2")
    if platform == "darwin":
        # The default rate, 29.97, is one that Apple's cameras do not have.
        return Opening("camera", f"{number}:none", title, "avfoundation", {"framerate": "30"})
    if platform == "win32":
        names = cameras()
        if number >= len(names):
            found = ", ".join(f"{i} ({visible_line(name)})" for i, name in enumerate(names))
            there = f"there are {found}" if names else "none is connected"
            raise UsageError(f"There is no camera {number}: {there}.")
        return Opening("camera", f"video={names[number]}", title, "dshow")
    raise UsageError(f"Cameras are not known on {platform}: name a file or an address.")


def _stream(url: str, scheme: str) -> Opening:
    if scheme not in _PROTOCOLS:
        raise UsageError(
            f"“{visible_line(scheme)}://” is not watched: "
            f"name a camera's number, a file, or one of {', '.join(f'{p}://' for p in _PROTOCOLS)}."
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not url.isprintable() or " " in url:
        raise UsageError(f"“{visible_line(url[:80])}” is no address: check it.")
    place = parts.netloc.rpartition("@")[2] + parts.path.rstrip("/")
    options = {"protocol_whitelist": _PROTOCOLS[scheme]}
    if scheme.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
        return Opening("stream", url, visible_line(place), None, options, lasting=True)
    return Opening("stream", url, visible_line(place), None, options, paced=True)
