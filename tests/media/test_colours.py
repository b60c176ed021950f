"""Pictures come out as a person sees them in a viewer, however the file holds its colours."""

import io
import struct
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.pictures import draw
from vlmchat.errors import MediaError
from vlmchat.media import images
from vlmchat.media.images import decode, is_animated, is_plain, media_from_bytes, shrunk


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(depth: int, colour: int, rows: bytes, width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )  # fmt: skip


def near(data: bytes, colour: tuple[int, int, int], within: int = 3, **options: Any) -> None:
    image = decode(data, **options)
    assert image.mode == "RGB"
    found = image.getpixel((0, 0))
    assert isinstance(found, tuple)
    assert all(abs(a - b) <= within for a, b in zip(found, colour, strict=True)), found
    small = shrunk(data, "x", (4, 4))
    assert small.mode in ("RGB", "RGBA")


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_printing_colours(kind: str) -> None:
    # Pillow writes CMYK JPEG as Adobe's programs do: inverted, with their marker.
    cyan = file_of(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), kind)
    near(cyan, (0, 255, 255))
    near(file_of(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), kind), (0, 0, 0))
    assert not is_plain(cyan)


def test_transparency_lies_over_the_chosen_colour() -> None:
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    near(file_of(half, "PNG"), (255, 127, 127), background="white")
    near(file_of(half, "WEBP", lossless=True), (128, 0, 0), background="black")
    near(file_of(Image.new("LA", (8, 8), (0, 0)), "PNG"), (255, 255, 255))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    near(file_of(palette, "PNG", transparency=1), (0, 0, 0), background="black")
    near(file_of(palette, "GIF", transparency=2), (255, 0, 0))
    near(file_of(palette, "PNG", transparency=b"\xff\x80"), (255, 127, 127))
    near(file_of(Image.new("RGB", (8, 8), (9, 8, 7)), "PNG", transparency=(9, 8, 7)), (255,) * 3)


def test_attaching_what_others_cannot_read_keeps_its_transparency() -> None:
    media = media_from_bytes(file_of(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "TIFF"), "a.tif")
    assert media.mime == "image/png"
    near(media.data, (0, 0, 0), background="black")
    near(media.data, (255, 255, 255), background="white")


def test_sixteen_bits() -> None:
    grey = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    near(file_of(grey, "PNG"), (128, 128, 128))
    near(file_of(grey, "TIFF"), (128, 128, 128))
    dark = Image.fromarray(np.full((8, 8), 200, np.uint16))  # not to be taken for 8 bits
    near(file_of(dark, "PNG"), (1, 1, 1))
    line = b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, 0) * 2
    near(png(16, 2, line * 2, 2, 2), (255, 128, 0))
    line = b"\0" + struct.pack(">4H", 0xFFFF, 0, 0, 0x8000) * 2
    near(png(16, 6, line * 2, 2, 2), (255, 127, 127))


def test_one_bit_and_whole_numbers() -> None:
    near(file_of(Image.new("1", (8, 8), 1), "PNG"), (255, 255, 255))
    near(file_of(Image.new("1", (8, 8), 0), "TIFF"), (0, 0, 0))
    near(file_of(Image.fromarray(np.full((8, 8), 255, np.int32)), "TIFF"), (255, 255, 255))


def test_floating_point() -> None:
    light = np.full((40, 40), 0.5, np.float32)
    near(file_of(Image.fromarray(light), "TIFF"), (128, 128, 128))
    light[20, 20] = 900.0  # one lamp does not make the rest black
    light[21, 21] = np.nan
    light[22, 22] = np.inf
    near(file_of(Image.fromarray(light), "TIFF"), (128, 128, 128))


def test_colour_profiles_are_followed() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    picture = draw(16, 16)
    plain = decode(file_of(picture, "PNG"))
    assert decode(file_of(picture, "PNG", icc_profile=srgb.tobytes())).tobytes() == plain.tobytes()
    for broken in (lab.tobytes(), b"no profile", srgb.tobytes()[:200]):
        data = file_of(picture, "PNG", icc_profile=broken)
        assert decode(data).tobytes() == plain.tobytes()
    wide = swapped_profile(srgb.tobytes())
    red = Image.new("RGB", (8, 8), (250, 5, 5))
    near(file_of(red, "PNG", icc_profile=wide), (5, 250, 5), within=12)
    red.putalpha(255)
    near(file_of(red, "PNG", icc_profile=wide), (5, 250, 5), within=12)


def swapped_profile(data: bytes) -> bytes:
    """Return an sRGB profile with red and green exchanged, under another name."""
    at = {data[i : i + 4]: i for i in range(132, 132 + 12 * 40, 12)}
    entries = bytearray(data)
    red, green = at[b"rXYZ"], at[b"gXYZ"]
    entries[red : red + 4], entries[green : green + 4] = b"gXYZ", b"rXYZ"
    return (
        bytes(entries)
        .replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
        .replace(b"sRGB built-in", b"swap built-in")
    )


def test_lab() -> None:
    near(file_of(Image.new("LAB", (8, 8), (255, 128, 128)), "TIFF"), (255, 255, 255), within=8)


def test_animations_are_known_by_their_header() -> None:
    frames = [draw(20, 20, colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "AVIF"):
        assert is_animated(file_of(frames[0], kind, save_all=True, append_images=frames[1:])), kind
        assert not is_animated(file_of(frames[0], kind)), kind
    pages = file_of(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert not is_animated(pages) and decode(pages).size == (20, 20)
    assert decode(file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])).size == (
        20,
        20,
    )


def test_a_camera_with_two_pictures_in_a_jpeg_stays_jpeg() -> None:
    data = file_of(draw(40, 30), "MPO", save_all=True, append_images=[draw(20, 15)])
    media = media_from_bytes(data, "a.jpg")
    assert (media.mime, media.width, media.data) == ("image/jpeg", 40, data)


def test_heic_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    data = file_of(Image.new("RGB", (64, 48), (200, 30, 30)), "HEIF", quality=95)
    media = media_from_bytes(data, "IMG_1.heic")
    assert (media.mime, media.width, media.height) == ("image/png", 64, 48)
    near(data, (200, 30, 30), within=6)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MediaError, match=r"“IMG_1.heic” is a HEIC picture.*vlmchat\[heif\]"):
        media_from_bytes(data, "IMG_1.heic")
    assert "HEIF" not in images.FORMATS
