"""The drawn pictures."""

from pathlib import Path

import pytest
from PIL import Image

from vlmchat.demo.pictures import ALL, COLOURS, SIDE, Shape, draw_scene, write_samples
from vlmchat.errors import MediaError


def test_a_shape_has_its_colour_where_it_was_put() -> None:
    for kind in ("circle", "square", "triangle", "star", "heart", "diamond", "cross"):
        image = draw_scene((Shape(kind, "blue", 70, 150, 30),))
        assert image.size == (SIDE, SIDE)
        assert image.getpixel((70, 150)) == COLOURS["blue"]
        assert image.getpixel((200, 40)) != COLOURS["blue"]


def test_drawing_is_deterministic() -> None:
    shapes = (Shape("ring", "purple", 80, 80, 36), Shape("star", "yellow", 170, 165, 36))
    assert draw_scene(shapes).tobytes() == draw_scene(shapes).tobytes()


def test_samples_are_written_and_nothing_is_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "pictures" / "red-circle.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    written = write_samples(mine.parent)
    assert mine.read_bytes() == b"mine"
    assert len({path for _, path in written}) == len(ALL) >= 6
    for _, path in written:
        with Image.open(path) as image:
            assert image.format == "PNG"
    assert write_samples(mine.parent) == written  # a second call finds its own
    assert not list(mine.parent.glob("*.tmp"))


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot be written"):
        write_samples(tmp_path / "file" / "below")
