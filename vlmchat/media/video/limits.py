"""What a video may cost before it is refused or reading it is stopped."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """What a video may cost.

    Attributes:
        max_bytes: size of the file, bytes; ``None`` for any, as a video is never read whole.
        max_picture_bytes: size of an animated picture (GIF, WebP, PNG), bytes; some of these are
            held in memory whole.
        max_pixels: width times height of one frame; 8K fits.
        max_seconds: length of the video.
        max_frames: the most frames one call returns.
        decode_seconds: wall-clock seconds for one call; what was read by then is kept.
        max_packets: the most compressed frames one call looks at.
        threads: threads of the decoder; 0 for two where the machine has them, and one for
            films over an hour. Each holds frames of its own (about 8 MB at 1080p).
    """

    max_bytes: int | None = None
    max_picture_bytes: int = 200_000_000
    max_pixels: int = 36_000_000
    max_seconds: float = 24 * 3600.0
    max_frames: int = 256
    decode_seconds: float = 10.0
    max_packets: int = 5_000_000
    threads: int = 0


DEFAULT_LIMITS = VideoLimits()
