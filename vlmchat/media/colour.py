"""From the many ways a file can hold colours to 8-bit RGB, as a viewer shows it.

Embedded ICC profiles are followed, deep pictures brought to 8 bits, transparency laid over a plain
colour. Metadata that cannot be followed is ignored: the picture itself still counts.
"""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vlmchat.media.rules import Background

if TYPE_CHECKING:
    from PIL import ImageCms

_GROUND = {"white": (255, 255, 255), "black": (0, 0, 0)}
_STRIP = 4_000_000  # pixels that are worked on at a time, so that large pictures are held once
_MOST_PROFILE = 4_000_000  # bytes; real ones are far smaller
# The colour spaces of ICC profiles by the modes that they describe.
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}


def to_rgb(image: Image.Image, background: Background = "white") -> Image.Image:
    """Return a decoded picture as 8-bit RGB.

    Args:
        image: of any of Pillow's modes, its pixels loaded.
        background: what transparent parts are laid over.
    """
    image = to_shown(image)
    return flattened(image, _GROUND[background]) if image.mode == "RGBA" else image


def to_shown(image: Image.Image) -> Image.Image:
    """Return a decoded picture as 8-bit RGB, or RGBA where it has transparency."""
    profile = image.info.get("icc_profile")
    if is_deep(image):
        return _from_deep(image)
    if image.mode == "LAB":
        return _from_lab(image)
    if image.has_transparency_data:
        if image.mode in ("P", "PA", "L", "RGB", "1", "I"):
            image = image.convert("RGBA")
        alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
        if alpha is None:
            image = image.convert("RGBA")
            alpha = image.getchannel("A")
        plain = _to_srgb(image.convert("L" if image.mode == "LA" else "RGB"), profile)
        plain.putalpha(alpha)
        return plain
    if image.mode in ("1", "P", "YCbCr", "HSV", "RGBX"):
        image = image.convert("RGB")
    return _to_srgb(image, profile)


def is_deep(image: Image.Image) -> bool:
    """Return whether a picture has one channel of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def flattened(image: Image.Image, ground: tuple[int, int, int]) -> Image.Image:
    """Return an RGBA picture laid over the colour `ground`, as RGB."""
    result = Image.new("RGB", image.size, ground)
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        result.paste(strip, (0, top), strip.getchannel("A"))
    return result


# Deep pictures ----------------------------------------------------------------------------------


def _from_deep(image: Image.Image) -> Image.Image:
    """Return a picture with 16 or 32 bits a pixel as RGB.

    16 bits are the full range. Wider whole numbers are taken as 8 or 16 bits where they fit.
    Floating point is light from 0 to 1; what is brighter is scaled so that all but the brightest
    half percent keeps its differences, as exposure does.
    """
    top = 65535.0 if image.mode.startswith("I;16") else _top(np.asarray(image))
    result = Image.new("L", image.size)
    rows = max(1, _STRIP // image.width)
    for start in range(0, image.height, rows):
        strip = image.crop((0, start, image.width, min(start + rows, image.height)))
        with np.errstate(all="ignore"):
            values = np.nan_to_num(np.asarray(strip).astype(np.float64) * (255.0 / top), nan=0.0)
        result.paste(Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8)), (0, start))
    return result.convert("RGB")


def _top(values: np.ndarray[Any, Any]) -> float:
    """Return the value that is shown as white."""
    if values.dtype.kind != "f":
        most = int(values.max())
        return float(next((top for top in (255, 65535) if most <= top), most))
    # At most some hundred thousand of them: enough for a percentile.
    step = max(1, int((values.size / 400_000) ** 0.5))
    some = values[::step, ::step]
    some = some[np.isfinite(some)]
    high = float(some.max()) if some.size else 0.0
    return 1.0 if high <= 1.0 else max(1.0, float(np.percentile(some, 99.5)))


# Colour profiles --------------------------------------------------------------------------------


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Return a grey, RGB or CMYK picture as RGB in sRGB, by its profile where that works."""
    if isinstance(profile, bytes) and 0 < len(profile) <= _MOST_PROFILE:
        try:
            found = _transformed(image, profile)
        except Exception:  # lcms says what it likes of broken profiles
            found = None
        if found is not None:
            return found
    return image if image.mode == "RGB" else image.convert("RGB")


def _transformed(image: Image.Image, data: bytes) -> Image.Image | None:
    """Return the picture in sRGB; ``None`` where it is that already, or of another space."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    space = profile.profile.xcolor_space.strip()
    if _SPACES.get(image.mode) != space or _is_srgb(profile):
        return None
    return ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _is_srgb(profile: "ImageCms.ImageCmsProfile") -> bool:
    """Return whether a profile is sRGB: by its name, as most say, since transforming costs."""
    return (profile.profile.profile_description or "").strip().lower().startswith("srgb")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    found = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert found is not None  # only with inPlace it is
    return found
