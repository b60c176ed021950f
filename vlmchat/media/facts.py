"""What a picture file is, from its header: for a person who wants to know why it looks as it does.

For videos see `vlmchat.media.video.probing`.
"""

import io
from dataclasses import dataclass
from pathlib import Path

from vlmchat.media.colour import is_deep
from vlmchat.media.images import header, read_bytes
from vlmchat.text import visible_line

_MOST_PROFILE = 4_000_000  # bytes; as in `colour`
ORIENTATIONS = {
    1: "upright",
    2: "mirrored",
    3: "upside down",
    4: "upside down and mirrored",
    5: "on its side and mirrored",
    6: "on its left side",
    7: "on its side and mirrored",
    8: "on its right side",
}


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What a picture's header says.

    Attributes:
        format: Pillow's name for it (``JPEG``).
        width: pixels as displayed.
        height: pixels as displayed.
        stored: width and height as stored.
        mode: Pillow's name for its colours (``RGB``, ``CMYK``, ``I;16``).
        deep: it has more than 8 bits a colour, which are brought to 8.
        orientation: the EXIF orientation, 1 to 8; 1 is upright.
        transparent: parts of it may be.
        profile: what its colour profile calls itself; empty for none.
        size: bytes.
    """

    format: str
    width: int
    height: int
    stored: tuple[int, int]
    mode: str
    deep: bool
    orientation: int
    transparent: bool
    profile: str
    size: int


def picture_facts(path: Path) -> PictureFacts:
    """Return what the picture at `path` is; nothing is decoded.

    Raises:
        MediaError: missing, damaged as far as the header tells, too large, or no picture.
    """
    data = read_bytes(path)
    image, orientation = header(data, path.name)
    width, height = image.size if orientation < 5 else image.size[::-1]
    return PictureFacts(
        image.format or "",
        width,
        height,
        image.size,
        image.mode,
        is_deep(image),
        orientation if orientation in ORIENTATIONS else 1,
        image.has_transparency_data,
        _profile(image.info.get("icc_profile")),
        len(data),
    )


def _profile(data: object) -> str:
    if not isinstance(data, bytes) or not 0 < len(data) <= _MOST_PROFILE:
        return ""
    from PIL import ImageCms

    try:
        text = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(data)))
    except Exception:  # a profile that cannot be read is not followed either
        return ""
    return visible_line(text.strip())[:80] or "unnamed"
