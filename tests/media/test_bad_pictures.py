"""Pictures that mean harm, are broken or extreme: one sentence each, in time and in memory."""

import gzip
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from tests.pictures import draw, encoded, promised_png
from vlmchat.errors import MediaError
from vlmchat.media.images import decode, load_media, media_from_bytes, shrunk
from vlmchat.media.rules import Limits, MediaRules, rules, use_rules

SVG = b'<?xml version="1.0"?>\n<!-- a drawing -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'


def said(data: bytes, name: str = "x", limits: Limits | None = None) -> str:
    with pytest.raises(MediaError) as caught:
        media_from_bytes(data, name, limits)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and text.startswith(f"“{name}” ")
    return text


def huge_gif(width: int, height: int, frame: tuple[int, int]) -> bytes:
    """Return a GIF whose screen is `width` × `height` and whose only frame is `frame`."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    image = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0)
    return screen + image + b"\x02\x02\x4c\x01\x00;"


def icon(inner: bytes) -> bytes:
    """Return an ICO file with one PNG in it."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + inner


def test_bombs() -> None:
    assert "900 million pixels" in said(promised_png(30_000, 30_000))
    assert "pixels; the most that is opened" in said(huge_gif(65_535, 65_535, (1, 1)))
    assert "pixels; the most that is opened" in said(huge_gif(1, 1, (65_535, 65_535)))
    assert "100 million pixels; the most" in said(
        icon(promised_png(10_000, 10_000)), limits=Limits(max_pixels=1_000_000)
    )
    note = PngImagePlugin.PngInfo()
    note.add_text("a", "b" * 50_000_000, zip=True)
    buffer = io.BytesIO()
    draw().save(buffer, "PNG", pnginfo=note)
    assert len(buffer.getvalue()) < 200_000 and "damaged" in said(buffer.getvalue())
    profile = zlib.compress(bytes(50_000_000))
    data = encoded("PNG")
    body = b"iCCP" + b"x\0\0" + profile
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    try:  # refused, or shown without its profile
        assert decode(data[:33] + chunk + data[33:]).size == (64, 48)
    except MediaError as error:
        assert "damaged" in str(error)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_cut_off(kind: str) -> None:
    data = encoded(kind, 200, 150)
    for part in (0.3, 0.6, 0.9):
        text = said(data[: int(len(data) * part)])
        assert "damaged" in text or "not a picture" in text


def test_drawings_and_documents_are_refused_by_name() -> None:
    for data, name in ((SVG, "a.svg"), (SVG, "a.png"), (b"\xef\xbb\xbf <svg/>", "b.svg"),
                       (gzip.compress(SVG), "c.svgz")):  # fmt: skip
        assert "is an SVG drawing" in said(data, name)
    assert "is a PDF document" in said(b"%PDF-1.7\n%\xe2\xe3", "a.jpg")
    assert "not a picture" in said(b"<html><body>", "a.svg.png")


def test_the_name_does_not_decide(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("JPEG"))
    assert load_media(tmp_path / "a.png").mime == "image/jpeg"


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (65_535, 1), (65_535, 2), (3, 1), (1, 3)])
def test_extreme_sizes(size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "PNG")
    data = buffer.getvalue()
    media = media_from_bytes(data, "x")
    assert (media.width, media.height) == size and decode(data).size == size
    assert min(shrunk(data, "x", (128, 128)).size) == 1


def test_limits_are_those_in_force() -> None:
    before = rules()
    try:
        use_rules(MediaRules(Limits(max_bytes=10_000_000, max_pixels=100)))
        assert "the most that is opened is" in said(encoded())
    finally:
        use_rules(before)
    assert media_from_bytes(encoded(), "x").width == 64


def changed_pictures(first: int, count: int) -> None:
    command = [sys.executable, "-m", "tests.media.mutate_pictures", str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout[-300:], done.stderr[-2000:])


def test_a_few_hundred_changed_pictures() -> None:
    changed_pictures(0, 300)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousands_of_changed_pictures() -> None:
    changed_pictures(300, 5_000)
