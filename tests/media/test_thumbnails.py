"""Small pictures: as displayed, bounded in size, kept on the disk and no more of them than fit."""

import hashlib
import io
import os
import threading
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import draw, encoded, promised_png, saved
from vlmchat import paths
from vlmchat.errors import MediaError
from vlmchat.media.images import decode, shrunk
from vlmchat.media.thumbnails import (
    ThumbnailCache,
    cached,
    default_cache,
    file_thumbnail,
    over,
    thumbnail,
)


def _bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _near(one: object, two: tuple[int, ...], by: int = 12) -> bool:
    assert isinstance(one, tuple)
    return all(abs(a - b) <= by for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_as_displayed(orientation: int) -> None:
    # A different colour in each quarter tells all eight apart.
    image = Image.new("RGB", (400, 200), "white")
    for place, colour in (((0, 0), "red"), ((200, 0), "green"), ((0, 100), "blue")):
        image.paste(Image.new("RGB", (200, 100), colour), place)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _bytes(image, "JPEG", exif=exif, quality=95)
    small, whole = shrunk(data, "a.jpg", (100, 100)), decode(data)
    turned = orientation >= 5
    assert small.size == ((50, 100) if turned else (100, 50))
    for x in (0.25, 0.75):
        for y in (0.25, 0.75):
            seen = small.getpixel((int(x * small.width), int(y * small.height)))
            meant = whole.getpixel((int(x * whole.width), int(y * whole.height)))
            assert isinstance(meant, tuple) and _near(seen, meant)


def test_transparency_shows_the_given_colour_and_bleeds_nothing() -> None:
    # The invisible half is bright green: filtered carelessly, it would tint the edge.
    image = Image.new("RGBA", (200, 200), (0, 255, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 100, 200))
    small = thumbnail(_bytes(image), "t" * 64, (100, 100))
    assert small.mode == "RGBA"
    for ground in ((18, 23, 29), (250, 248, 243)):
        shown = over(small, ground)
        assert shown.getpixel((10, 50)) == (255, 0, 0)
        assert shown.getpixel((120, 50)) == ground
        edge = shown.getpixel((64, 50))
        assert isinstance(edge, tuple) and edge[1] <= ground[1] + 1


def test_palettes_greys_and_sixteen_bits() -> None:
    palette = draw(300, 300).convert("P")
    assert _near(shrunk(_bytes(palette), "p", (64, 64)).getpixel((32, 32)), (255, 0, 0))
    clear = Image.new("P", (50, 50), 0)
    clear.putpalette([10, 20, 30, 200, 100, 0])
    clear.paste(1, (0, 0, 25, 50))
    small = shrunk(_bytes(clear, transparency=0), "p", (50, 50))
    assert over(small, (1, 2, 3)).getpixel((40, 20)) == (1, 2, 3)
    assert over(small, (1, 2, 3)).getpixel((5, 20)) == (200, 100, 0)
    grey = Image.new("I;16", (40, 40), 65535)
    assert shrunk(_bytes(grey), "g", (20, 20)).getpixel((5, 5)) == (255, 255, 255)
    assert shrunk(_bytes(Image.new("CMYK", (40, 40)), "JPEG"), "c", (20, 20)).mode == "RGB"


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (1, 1)), ((1, 5000), (1, 128)), ((5000, 1), (128, 1)), ((60, 40), (60, 40))],
)
def test_extreme_shapes_and_nothing_is_blown_up(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    data = _bytes(Image.new("RGB", size, "navy"))
    small = thumbnail(data, _sha(data), (80, 80))
    assert small.size == expected and small.getpixel((0, 0)) == (0, 0, 128)


def test_broken_empty_and_huge_files_are_one_sentence(tmp_path: Path) -> None:
    cut = encoded("JPEG", 400, 300)[:1500]
    for data in (b"", b"no picture", cut, promised_png(60_000, 60_000)):
        with pytest.raises(MediaError) as caught:
            thumbnail(data, _sha(data), (100, 100), "bad \x1b[31m.png")
        assert str(caught.value).endswith(".") and "\x1b" not in str(caught.value)
        assert cached(_sha(data), (100, 100)) is None
    with pytest.raises(MediaError, match="does not exist"):
        file_thumbnail(tmp_path / "none.png", (100, 100))
    with pytest.raises(MediaError, match="kind"):
        thumbnail(b"x", "0" * 64, (100, 100), mime="audio/ogg")


def test_the_second_time_it_comes_from_the_disk() -> None:
    data = encoded("PNG", 900, 600)
    first = thumbnail(data, _sha(data), (200, 200))
    assert first.size == (256, 171)
    again = thumbnail(b"not needed any more", _sha(data), (250, 100))
    assert again.tobytes() == first.tobytes()
    assert cached(_sha(data), (300, 300)) is None  # another size is another file
    folder = paths.cache_dir() / "thumbnails"
    (file,) = folder.glob("??/*.png")
    file.write_bytes(file.read_bytes()[:100])  # as a power cut would leave it
    assert cached(_sha(data), (200, 200)) is None
    assert thumbnail(data, _sha(data), (200, 200)).tobytes() == first.tobytes()


def test_a_changed_file_is_seen_anew(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", 60, 60, "red")
    assert file_thumbnail(path, (60, 60)).getpixel((30, 30)) == (255, 0, 0)
    saved(path, 60, 60, "blue")
    os.utime(path, (1, 1))
    assert file_thumbnail(path, (60, 60)).getpixel((30, 30)) == (0, 0, 255)


def test_the_budget_is_kept_and_the_last_used_stay(tmp_path: Path) -> None:
    image = Image.effect_noise((64, 64), 90).convert("RGB")
    one = len(_bytes(image, compress_level=3))
    cache = ThumbnailCache(tmp_path / "cache", one * 10)
    for number in range(10):
        cache.put(f"{number:02}", image)
        os.utime(tmp_path / "cache" / f"{number:02}" / f"{number:02}.png", (number, number))
    assert cache.get("00") is not None  # used just now
    cache.put("10", image)
    left = {path.stem for path in (tmp_path / "cache").glob("??/*.png")}
    assert "00" in left and "10" in left and "01" not in left
    assert sum(path.stat().st_size for path in (tmp_path / "cache").glob("??/*")) <= one * 10


def test_many_threads_and_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path / "cache", 20_000)
    image = draw(64, 64)
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 40):
                cache.put(f"{number % 30:02}", image)
                cache.get(f"{(number * 7) % 30:02}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and not list((tmp_path / "cache").glob("??/.new-*"))
    (tmp_path / "file").write_text("in the way")
    nowhere = ThumbnailCache(tmp_path / "file" / "cache")
    nowhere.put("00", image)
    assert nowhere.get("00") is None
    assert default_cache() is not None
