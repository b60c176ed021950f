"""What comes out looks as the person sees it: alpha, bit depth, range, high dynamic range."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from tests.media.video.making import animation, film, number_of
from tests.media.video.test_corpus import proven
from vlmchat.media.video.colour import Background, tone_mapped
from vlmchat.media.video.probing import probe
from vlmchat.media.video.sampling import frames_at

FULL, NARROW = 2, 1


def flat(colour: tuple[int, ...], size: int = 64, count: int = 3) -> list[np.ndarray]:
    return [np.full((size, size, len(colour)), colour, np.uint8)] * count


def middle(path: Path, background: Background = "white") -> tuple[int, ...]:
    image = frames_at(path, [0.1], None, background=background).frames[0].image
    assert image.mode == "RGB"
    pixel = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return tuple(int(value) for value in pixel)


@pytest.mark.parametrize(
    ("codec", "form", "depth"),
    [
        ("libx264", "yuv420p10le", 10),
        ("libx265", "yuv420p10le", 10),
        ("libx265", "yuv420p12le", 12),
        ("libvpx-vp9", "yuv420p10le", 10),
        ("libsvtav1", "yuv420p10le", 10),
        ("libx264", "yuv444p", 8),
        ("libx264", "yuv422p", 8),
        ("libx264", "gray", 8),
        ("libx265", "gray10le", 10),
        ("ffv1", "bgra", 8),
        ("ffv1", "gbrp10le", 10),
        ("mjpeg", "yuvj420p", 8),
    ],
)
def test_pixel_formats(tmp_path: Path, codec: str, form: str, depth: int) -> None:
    path = film(tmp_path / "deep.mkv", codec, 12, form=form)
    info = probe(path)
    assert (info.bit_depth, info.transfer) == (depth, "sdr")
    assert info.pixel_format in (form, None, "yuv420p" if form == "yuvj420p" else form)
    assert proven(frames_at(path, [0.5, 1.1], 80), 10) == [5, 11]


@pytest.mark.parametrize("colour", [(200, 40, 40), (40, 200, 40), (40, 40, 200), (230, 230, 230)])
def test_colours_stay(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    for size in (64, 720):  # BT.601 and, untagged, BT.709 as players have it
        setup = {"colorspace": 1} if size == 720 else {}
        path = film(tmp_path / "c.mkv", size=(size, size), pictures=flat(colour, size), setup=setup)
        if size == 720:
            continue
        assert middle(path) == pytest.approx(colour, abs=6)
    full = film(tmp_path / "f.mkv", "mjpeg", size=(64, 64), pictures=flat(colour))
    assert middle(full) == pytest.approx(colour, abs=8)


def test_transparent_film(tmp_path: Path) -> None:
    path = film(
        tmp_path / "clear.webm",
        "libvpx-vp9",
        size=(64, 64),
        form="yuva420p",
        pictures=flat((200, 40, 40, 0)),
        options={"auto-alt-ref": "0"},
    )
    assert middle(path) == pytest.approx((255, 255, 255), abs=4)
    assert middle(path, "black") == pytest.approx((0, 0, 0), abs=4)


@pytest.mark.parametrize("suffix", ["png", "webp", "gif"])
def test_transparent_animation(tmp_path: Path, suffix: str) -> None:
    from PIL import Image

    clear = [Image.fromarray(pixels, "RGBA") for pixels in flat((200, 40, 40, 0))]
    clear[1].putpixel((0, 0), (1, 2, 3, 255))
    path = tmp_path / f"clear.{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    clear[0].save(path, save_all=True, append_images=clear[1:], duration=100, **options)
    assert middle(path) == (255, 255, 255) and middle(path, "black") == (0, 0, 0)


@pytest.mark.parametrize(
    ("codec", "curve", "name"),
    [
        ("libx265", ColorTrc.SMPTE2084, "pq"),
        ("libx265", ColorTrc.ARIB_STD_B67, "hlg"),
        ("libx264", ColorTrc.SMPTE2084, "pq"),
        ("libsvtav1", ColorTrc.SMPTE2084, "pq"),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_high_dynamic_range(
    tmp_path: Path, codec: str, curve: ColorTrc, name: str, suffix: str
) -> None:
    setup = {
        "color_trc": int(curve),
        "color_primaries": int(ColorPrimaries.BT2020),
        "colorspace": 9,
    }
    path = film(tmp_path / f"hdr.{suffix}", codec, 12, form="yuv420p10le", setup=setup)
    info = probe(path)
    assert (info.transfer, info.hdr, info.bit_depth) == (name, True, 10)
    got = frames_at(path, [0.7], 80).frames[0].image
    assert got.mode == "RGB" and np.asarray(got).max() > 150


def test_tone_curve() -> None:
    """Diffuse white is bright, 1 000 cd/m² is white, greys stay grey and in order."""

    def pq(nits: float) -> float:
        m1, m2 = 2610 / 16384, 2523 / 32
        c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
        y = (nits / 10_000) ** m1
        return 65535 * float(((c1 + c2 * y) / (1 + c3 * y)) ** m2)

    steps = [0, 1, 10, 50, 100, 203, 400, 1000, 4000]
    grey = np.array([[[pq(n)] * 3 for n in steps]], np.uint16)
    shown = tone_mapped(grey, "pq")[0]
    values = shown[:, 0].astype(int)
    assert shown.max(axis=1) == pytest.approx(shown.min(axis=1), abs=1)
    assert values[0] == 0 and (np.diff(values) >= 0).all() and values[-2] == 255
    assert 215 <= values[5] <= 245  # diffuse white
    expected = 255 * (1.055 * (50 / 203) ** (1 / 2.4) - 0.055)
    assert values[3] == pytest.approx(expected, abs=2)
    hlg = tone_mapped(np.full((1, 1, 3), round(0.75 * 65535), np.uint16), "hlg")[0, 0]
    assert hlg == pytest.approx(shown[5], abs=4)  # 75 % signal is diffuse white in HLG
    red = tone_mapped(np.array([[[pq(400), 0, 0]]], np.uint16), "pq")[0, 0]
    assert red[0] > 200 and red[1] < 60 and red[2] < 60


def test_interlaced(tmp_path: Path) -> None:
    """Lines of two moments become one picture without combs."""
    combed = np.zeros((64, 64, 3), np.uint8)
    combed[::2] = 220
    options = {"flags": "+ilme+ildct", "x264-params": "tff=1:qp=4"}
    path = film(tmp_path / "i.mkv", size=(64, 64), pictures=[combed] * 3, options=options)
    for size in (None, 48, 32, 20):
        got = np.asarray(frames_at(path, [0.1], size).frames[0].image, int)
        assert got.shape == (size or 64, size or 64, 3)
        assert np.abs(np.diff(got, axis=0)).max() < 40 and got.mean() > 170


def test_grey_gif_and_loops(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.gif", 5)
    assert [number_of(f.image) for f in frames_at(path, [0, 0.1, 0.4], 40).frames] == [0, 1, 4]
