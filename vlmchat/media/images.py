"""Reading pictures that nobody vouches for.

Sizes are checked from the header before anything is decoded, and every failure is one
`MediaError` sentence that names the file.
"""

import io
import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from vlmchat.chat.messages import Media
from vlmchat.errors import MediaError
from vlmchat.text import human_bytes, visible_line

# Formats that hold photographs and drawings; the rest of Pillow's readers only widen the attack
# surface (EPS starts Ghostscript, for one).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pnm", ".avif", ".jp2", ".ico"}
)
_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 turn the picture by a quarter
# What brings each EXIF orientation upright (Exif 2.32, 4.6.4 A).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_OR_WEB = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may cost before it is refused.

    Attributes:
        max_bytes: size of the file, bytes.
        max_pixels: width times height.
    """

    max_bytes: int = 200_000_000
    max_pixels: int = 120_000_000


DEFAULT_LIMITS = Limits()


def _open(data: bytes, name: str, limits: Limits) -> Image.Image:
    """Return the picture with its header read and its size accepted; nothing is decoded yet."""
    if not data:
        raise MediaError(f"“{name}” is empty (0 bytes): choose another file.")
    try:
        with warnings.catch_warnings():
            # Pillow warns about big pictures where we refuse them by our own limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise MediaError(
            f"“{name}” is not a picture vlmchat can read: use JPEG, PNG, WebP, GIF, BMP or TIFF."
        ) from None
    except Image.DecompressionBombError as error:
        pixels = max(map(int, re.findall(r"\d+", str(error))), default=0)
        raise _too_large(name, f"{pixels / 1e6:.0f} million pixels", limits) from None
    except Exception as error:
        raise MediaError(f"“{name}” is damaged and cannot be opened ({_why(error)}).") from error
    if image.width * image.height > limits.max_pixels:
        raise _too_large(name, f"{image.width} × {image.height} pixels", limits)
    return image


def _too_large(name: str, size: str, limits: Limits) -> MediaError:
    return MediaError(
        f"“{name}” has {size}; the most that is opened is "
        f"{limits.max_pixels / 1e6:.0f} million: make it smaller first."
    )


def _why(error: Exception) -> str:
    return visible_line(str(error)).strip().rstrip(".") or type(error).__name__


def decode(data: bytes, name: str = "picture", limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Decode a picture as a viewer shows it.

    Args:
        data: the file's bytes.
        name: how errors call it.
        limits: what is refused before decoding.

    Returns:
        An 8-bit RGB picture: EXIF orientation applied, transparency laid over white, the first
        frame of an animation.

    Raises:
        MediaError: empty, unknown, damaged or too large.
    """
    name = visible_line(name)
    image = _open(data, name, limits)
    try:
        turned = _orientation(image) != 1
        image.load()
        return _as_rgb(ImageOps.exif_transpose(image) if turned else image)
    except Exception as error:
        raise MediaError(
            f"“{name}” is damaged or cut off and cannot be decoded ({_why(error)})."
        ) from error


def shrunk(
    data: bytes, name: str, size: tuple[int, int], limits: Limits = DEFAULT_LIMITS
) -> Image.Image:
    """Decode a picture no larger than `size`, for looking at; the cheaper the smaller.

    Args:
        data: the file's bytes.
        name: how errors call it.
        size: the largest width and height, pixels.
        limits: what is refused before decoding.

    Returns:
        An RGB or (where it has transparency) RGBA picture with its proportions kept, never larger
        than the original: EXIF orientation applied, the first frame of an animation.

    Raises:
        MediaError: as `decode`.
    """
    name = visible_line(name)
    image = _open(data, name, limits)
    try:
        turn = _orientation(image)
        width, height = size if turn <= 4 else size[::-1]
        # JPEG decodes at a fraction of its size at a fraction of the cost; twice the size needed
        # leaves the filter something to work with.
        image.draft("RGB", (width * 2, height * 2))
        image.load()
        wide = image.mode.startswith("I") or image.mode == "F"
        clear = image.has_transparency_data and not wide
        image = image.convert("RGBA") if clear else _as_rgb(image)
        # Premultiplied alpha, or the invisible colours would bleed into the edges.
        image = image.convert("RGBa") if clear else image
        factor = min(1.0, width / image.width, height / image.height)
        target = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        if target != image.size:
            image = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)
        image = image.convert("RGBA") if clear else image
        method = _TURNS.get(turn)
        return image if method is None else image.transpose(method)
    except Exception as error:
        raise MediaError(
            f"“{name}” is damaged or cut off and cannot be decoded ({_why(error)})."
        ) from error


def media_size(data: bytes, name: str, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Return (width, height) in pixels as displayed, from the header alone.

    Raises:
        MediaError: as `decode`, as far as the header tells.
    """
    image = _open(data, visible_line(name), limits)
    quarter = _orientation(image) in (5, 6, 7, 8)
    return (image.height, image.width) if quarter else (image.width, image.height)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation (1 is upright) as far as the header holds it.

    In a PNG it may also follow the pixels; looking there would decode the picture.
    """
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata is no reason to refuse a picture
        return 1


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        _, high = image.getextrema()
        top = 65535.0 if isinstance(high, int | float) and high > 255 else 255.0
        return image.convert("F").point(lambda value: value * (255.0 / top)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def read_bytes(path: Path, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return the bytes of the regular file at `path`.

    Raises:
        MediaError: missing, a folder, a device or pipe, not readable, or larger than the limit.
    """
    name = visible_line(str(path))
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise MediaError(f"“{name}” is a folder: name a picture inside it.")
        if not stat.S_ISREG(info.st_mode):
            raise MediaError(f"“{name}” is not a regular file: attach a picture file.")
        if info.st_size > limits.max_bytes:
            raise MediaError(
                f"“{name}” has {human_bytes(info.st_size)}; the most that is read is "
                f"{human_bytes(limits.max_bytes)}."
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise MediaError(f"“{name}” does not exist: check the path.") from None
    except PermissionError:
        raise MediaError(f"“{name}” may not be read: its permissions forbid it.") from None
    except (OSError, ValueError) as error:
        raise MediaError(f"“{name}” cannot be read ({_why(error)}).") from error


def load_media(path: Path, limits: Limits = DEFAULT_LIMITS) -> Media:
    """Read and check the picture at `path` whole, so that a broken one is refused at once.

    Formats that other engines may not know are carried as PNG.

    Raises:
        MediaError: as `read_bytes` and `decode`.
    """
    data = read_bytes(path, limits)
    return media_from_bytes(data, path.name, limits)


def media_from_bytes(data: bytes, name: str, limits: Limits = DEFAULT_LIMITS) -> Media:
    """Return `data` as a `Media`; see `load_media`."""
    image = decode(data, name, limits)
    kind = _open(data, visible_line(name), limits).format or ""
    mime = _PNG_OR_WEB.get(kind)
    if mime is None:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        data, mime = buffer.getvalue(), "image/png"
    return Media.held(data, name, mime, image.width, image.height)


def dimensions(path: Path, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Return width and height in pixels as the file's header has them; nothing is decoded.

    Raises:
        MediaError: as `read_bytes`, or no picture.
    """
    return _open(read_bytes(path, limits), visible_line(path.name), limits).size
