"""What is known of a video, and what comes out of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import Image

Transfer = Literal["sdr", "pq", "hlg"]


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video's header says.

    Attributes:
        container: ``mov``, ``matroska``, ``avi``, ``mpegts``, ``gif``, ``webp`` or ``apng``.
        codec: the decoder's name for how frames are stored (``h264``, ``vp9``, ``gif``, …).
        width: pixels across as displayed: turned upright, with square pixels.
        height: pixels down as displayed.
        duration: length in seconds; ``None`` where the file does not say and was not scanned.
        fps: frames a second on average; ``None`` where nothing tells.
        frames: how many frames; ``None`` where nothing tells.
        has_audio: whether it has a sound track.
        animated: whether it is an animated picture rather than a film.
        rotation: degrees counter-clockwise by which stored frames are turned to be upright.
        pixel_format: libav's name for the stored pixels (``yuv420p``), ``None`` where unknown.
        bit_depth: bits a colour component.
        transfer: ``sdr``, or the curve of high dynamic range, which is mapped to SDR.
        size: bytes of the file.
    """

    container: str
    codec: str
    width: int
    height: int
    duration: float | None
    fps: float | None
    frames: int | None
    has_audio: bool = False
    animated: bool = False
    rotation: int = 0
    pixel_format: str | None = None
    bit_depth: int = 8
    transfer: Transfer = "sdr"
    size: int = 0

    @property
    def hdr(self) -> bool:
        """Whether its brightness goes past what a common screen shows."""
        return self.transfer != "sdr"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it is shown.

    Attributes:
        time: when it begins to be shown, seconds from the beginning of the video.
        image: 8-bit RGB, upright, with square pixels.
    """

    time: float
    image: "Image.Image"


@dataclass(frozen=True, slots=True)
class Sampled:
    """Frames of a video.

    Attributes:
        info: of the video; its duration is filled in where finding frames needed it.
        frames: in temporal order, every one at another time.
        notes: sentences about what the person should know (cut off, damaged, stopped early).
    """

    info: VideoInfo
    frames: tuple[Frame, ...]
    notes: tuple[str, ...] = ()
