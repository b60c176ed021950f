"""Reading pictures that nobody vouches for.

Sizes are checked from the header before anything is decoded, and every failure is one
`MediaError` sentence that names the file.
"""

import io
import re
import stat
import warnings
from collections.abc import Callable
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from vlmchat.chat.messages import Media
from vlmchat.errors import MediaError
from vlmchat.media.colour import to_rgb, to_shown
from vlmchat.media.kinds import kind_of, largest_icon
from vlmchat.media.rules import Background, Limits, limits_or_rules, rules
from vlmchat.text import human_bytes, visible_line

# Formats that hold photographs and drawings; the rest of Pillow's readers only widen the attack
# surface (EPS starts Ghostscript, for one).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pnm", ".avif", ".jp2", ".ico", ".heic", ".heif"}
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
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # a TIFF's pages are no animation
_MODES = frozenset({"RGB", "L", "P", "1"})  # what every engine reads alike
_PNG_OR_WEB = {
    **{"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png"},
    **{"WEBP": "image/webp", "GIF": "image/gif"},
}


def _open(data: bytes, name: str, given: Limits | None) -> Image.Image:
    """Return the picture with its header read and its size accepted; nothing is decoded yet."""
    limits = limits_or_rules(given)
    if not data:
        raise MediaError(f"“{name}” is empty (0 bytes): choose another file.")
    formats = _formats_for(data, name)
    # Pillow decodes these when it opens them.
    if data.startswith(b"\0\0\1\0") and (pixels := largest_icon(data)) > limits.max_pixels:
        raise _too_large(name, f"{pixels / 1e6:.0f} million pixels", limits)
    try:
        with warnings.catch_warnings():
            # Pillow warns about big pictures where we refuse them by our own limit, and about
            # broken metadata, which is ignored.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        raise MediaError(
            f"“{name}” is not a picture or video vlmchat can read: use JPEG, PNG, WebP, GIF, BMP, "
            "TIFF, MP4, MOV, MKV, WebM or AVI."
        ) from None
    except Image.DecompressionBombError as error:
        pixels = max(map(int, re.findall(r"\d+", str(error))), default=0)
        raise _too_large(name, f"{pixels / 1e6:.0f} million pixels", limits) from None
    except Exception as error:
        raise MediaError(f"“{name}” is damaged and cannot be opened ({_why(error)}).") from error
    if image.width < 1 or image.height < 1:
        raise MediaError(f"“{name}” is damaged: it has {image.width} × {image.height} pixels.")
    if image.width * image.height > limits.max_pixels:
        raise _too_large(name, f"{image.width} × {image.height} pixels", limits)
    return image


def _formats_for(data: bytes, name: str) -> tuple[str, ...]:
    """Return the formats to try.

    Raises:
        MediaError: it is of a kind that is refused by name.
    """
    kind = kind_of(data, name)
    if kind == "svg":
        raise MediaError(
            f"“{name}” is an SVG drawing, which has no pixels of its own: save it as PNG first."
        )
    if kind == "pdf":
        raise MediaError(
            f"“{name}” is a PDF document: save the page you mean as PNG or JPEG first."
        )
    if kind != "heic":
        return FORMATS
    try:
        import pillow_heif
    except ImportError:
        raise MediaError(
            f"“{name}” is a HEIC picture: install the extra that reads them "
            "(pip install 'vlmchat[heif]'), or save it as JPEG."
        ) from None
    pillow_heif.register_heif_opener(thumbnails=False)
    return ("HEIF",)


def _too_large(name: str, size: str, limits: Limits) -> MediaError:
    return MediaError(
        f"“{name}” has {size}; the most that is opened is "
        f"{limits.max_pixels / 1e6:.0f} million: make it smaller first."
    )


def _why(error: Exception) -> str:
    return visible_line(str(error)).strip().rstrip(".") or type(error).__name__


def decode(
    data: bytes,
    name: str = "picture",
    limits: Limits | None = None,
    background: Background | None = None,
) -> Image.Image:
    """Decode a picture as a viewer shows it.

    Args:
        data: the file's bytes.
        name: how errors call it.
        limits: what is refused before decoding; those in force by default.
        background: what transparency is laid over; the one in force by default.

    Returns:
        An 8-bit RGB picture in sRGB: EXIF orientation applied, the first frame of an animation.

    Raises:
        MediaError: empty, unknown, damaged or too large.
    """
    ground = background or rules().background
    return _decoded(data, name, limits, lambda image: to_rgb(image, ground))


def _decoded(
    data: bytes,
    name: str,
    limits: Limits | None,
    made: Callable[[Image.Image], Image.Image],
) -> Image.Image:
    name = visible_line(name)
    image = _open(data, name, limits)
    try:
        turn = _TURNS.get(_orientation(image))
        image.load()
        _check_loaded(image, limits)
        image = made(image)
        return image if turn is None else image.transpose(turn)
    except Exception as error:
        raise _undecodable(name, error) from error


def _check_loaded(image: Image.Image, limits: Limits | None) -> None:
    """Check again what a header within the file may have made larger."""
    if image.width * image.height > limits_or_rules(limits).max_pixels:
        raise ValueError(f"it grew to {image.width} × {image.height} pixels")


def _undecodable(name: str, error: Exception) -> MediaError:
    return MediaError(f"“{name}” is damaged or cut off and cannot be decoded ({_why(error)}).")


def shrunk(
    data: bytes, name: str, size: tuple[int, int], limits: Limits | None = None
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
        _check_loaded(image, limits)
        # A profile is followed when the picture is small, where that is cheap.
        profile = image.info.pop("icc_profile", None) if image.mode in ("RGB", "RGBA") else None
        image = to_shown(image)
        clear = image.mode == "RGBA"
        # Premultiplied alpha, or the invisible colours would bleed into the edges.
        image = image.convert("RGBa") if clear else image
        factor = min(1.0, width / image.width, height / image.height)
        target = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        if target != image.size:
            image = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)
        image = image.convert("RGBA") if clear else image
        if profile is not None:
            image.info["icc_profile"] = profile
            image = to_shown(image)
        method = _TURNS.get(turn)
        return image if method is None else image.transpose(method)
    except Exception as error:
        raise _undecodable(name, error) from error


def media_size(data: bytes, name: str, limits: Limits | None = None) -> tuple[int, int]:
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


def header(data: bytes, name: str, limits: Limits | None = None) -> tuple[Image.Image, int]:
    """Return a picture of which nothing but the header is read, and its EXIF orientation.

    Raises:
        MediaError: as `decode`, as far as the header tells.
    """
    image = _open(data, visible_line(name), limits)
    return image, _orientation(image)


def is_animated(data: bytes, name: str = "picture", limits: Limits | None = None) -> bool:
    """Return whether a GIF, WebP, PNG or AVIF has more than one frame; nothing is decoded.

    Raises:
        MediaError: as `decode`, as far as the header tells.
    """
    image = _open(data, visible_line(name), limits)
    try:
        return image.format in _ANIMATED and bool(getattr(image, "is_animated", False))
    except Exception:  # the second frame is broken: the first is a picture
        return False


def is_plain(data: bytes, name: str = "picture", limits: Limits | None = None) -> bool:
    """Return whether every engine reads a picture as `decode` does, by its header.

    Transparency, printing colours and more than 8 bits are read by each in its own way.

    Raises:
        MediaError: as `decode`, as far as the header tells.
    """
    image = _open(data, visible_line(name), limits)
    return image.mode in _MODES and not image.has_transparency_data


def read_bytes(path: Path, limits: Limits | None = None) -> bytes:
    """Return the bytes of the regular file at `path`.

    Raises:
        MediaError: missing, a folder, a device or pipe, not readable, or larger than the limit.
    """
    name = visible_line(str(path))
    most = limits_or_rules(limits).max_bytes
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise MediaError(f"“{name}” is a folder: name a picture inside it.")
        if not stat.S_ISREG(info.st_mode):
            raise MediaError(f"“{name}” is not a regular file: attach a picture file.")
        if info.st_size > most:
            raise MediaError(
                f"“{name}” has {human_bytes(info.st_size)}; the most that is read is "
                f"{human_bytes(most)}."
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise MediaError(f"“{name}” does not exist: check the path.") from None
    except PermissionError:
        raise MediaError(f"“{name}” may not be read: its permissions forbid it.") from None
    except (OSError, ValueError) as error:
        raise MediaError(f"“{name}” cannot be read ({_why(error)}).") from error


def load_media(path: Path, limits: Limits | None = None) -> Media:
    """Read and check the picture at `path` whole, so that a broken one is refused at once.

    Formats that other engines may not know are carried as PNG.

    Raises:
        MediaError: as `read_bytes` and `decode`.
    """
    data = read_bytes(path, limits)
    return media_from_bytes(data, path.name, limits)


def media_from_bytes(data: bytes, name: str, limits: Limits | None = None) -> Media:
    """Return `data` as a `Media`; see `load_media`."""
    image = _decoded(data, name, limits, to_shown)
    kind = _open(data, visible_line(name), limits).format or ""
    mime = _PNG_OR_WEB.get(kind)
    if mime is None:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        data, mime = buffer.getvalue(), "image/png"
    return Media.held(data, name, mime, image.width, image.height)


def dimensions(path: Path, limits: Limits | None = None) -> tuple[int, int]:
    """Return width and height in pixels as the file's header has them; nothing is decoded.

    Raises:
        MediaError: as `read_bytes`, or no picture.
    """
    return _open(read_bytes(path, limits), visible_line(path.name), limits).size
