"""Reading pictures that nobody vouches for."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import draw, encoded, promised_png, saved
from vlmchat.errors import MediaError
from vlmchat.media.images import decode, load_media, media_size
from vlmchat.media.rules import Limits


def said(path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        load_media(path)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and "Traceback" not in text
    return text


def test_a_picture_is_read_whole(tmp_path: Path) -> None:
    path = saved(tmp_path / "photo.jpg", 64, 48)
    media = load_media(path)
    assert (media.width, media.height, media.mime, media.name) == (
        64,
        48,
        "image/jpeg",
        "photo.jpg",
    )
    assert media.data == path.read_bytes() and len(media.sha256) == 64


def test_other_formats_travel_as_png(tmp_path: Path) -> None:
    media = load_media(saved(tmp_path / "a.bmp"))
    assert media.mime == "image/png" and media.data.startswith(b"\x89PNG")


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(encoded("JPEG", 400, 300)[:2000])
    (tmp_path / "huge.png").write_bytes(promised_png(30_000, 30_000))
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a picture" in said(tmp_path / "text.jpg")
    assert "empty (0 bytes)" in said(tmp_path / "empty.png")
    assert "cut off" in said(tmp_path / "cut.jpg")
    limit = "900 million pixels; the most that is opened is 100 million"
    assert limit in said(tmp_path / "huge.png")
    assert "is a folder" in said(tmp_path)
    assert "does not exist" in said(tmp_path / "none.png")
    assert "not a regular file" in said(tmp_path / "pipe.png")
    assert "too long" in said(tmp_path / ("n" * 300)) or os.name == "nt"
    assert "cannot be read" in said(Path("a\0b"))


def test_no_permission(tmp_path: Path) -> None:
    path = saved(tmp_path / "secret.png")
    path.chmod(0)
    child = os.fork()
    if child == 0:  # permissions do not bind root: ask as nobody
        try:
            tmp_path.chmod(0o755)
            for parent in path.parents:
                if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
                    parent.chmod(parent.stat().st_mode | 0o055)
            if os.geteuid() == 0:
                os.setuid(65534)
            os._exit(0 if "permissions" in said(path) else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_size_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.truncate(10_000)
    with pytest.raises(MediaError, match="the most that is read is"):
        load_media(path, Limits(max_bytes=1000))


def test_file_names_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31mred\u202e.png"
    path.write_text("x")
    text = said(path)
    assert "\x1b" not in text and "\u202e" not in text and "␛[31mred" in text


def test_orientation_transparency_and_depth() -> None:
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(64, 48).save(turned, "JPEG", exif=exif)
    assert media_size(turned.getvalue(), "t") == (48, 64)
    assert decode(turned.getvalue()).size == (48, 64)
    clear = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(clear, "PNG")
    assert decode(clear.getvalue()).getpixel((0, 0)) == (255, 255, 255)
    deep = io.BytesIO()
    Image.new("I;16", (4, 4), 65535).save(deep, "PNG")
    assert decode(deep.getvalue()).getpixel((0, 0)) == (255, 255, 255)
    palette = io.BytesIO()
    draw().convert("P").save(palette, "GIF")
    assert decode(palette.getvalue()).mode == "RGB"
    printed = io.BytesIO()
    draw().convert("CMYK").save(printed, "JPEG")
    assert decode(printed.getvalue()).mode == "RGB"
