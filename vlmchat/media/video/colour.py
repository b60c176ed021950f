"""From what a decoder gives to 8-bit RGB as a person sees it.

libswscale scales and converts in one step, straight to the size that is wanted, so no frame is
ever held in full size and RGB. What it is told by us: frames that do not say their matrix are
BT.709 from 720 lines or 1280 columns on and BT.601 below, as players assume.

High dynamic range (PQ: SMPTE ST 2084, HLG: ITU-R BT.2100) is brought to light at 16 bits and
mapped: BT.2020 primaries to BT.709, diffuse white (203 cd/m², ITU-R BT.2408) to 1.0, everything up
to 0.6 left as it is and what lies above rolled off so that 1 000 cd/m² becomes 1.0. The curve works
on the largest of the three components and scales all alike, which keeps the hue.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorTrc, Interpolation, VideoReformatter
from PIL import Image

from vlmchat.media.video.info import Transfer
from vlmchat.media.video.orientation import UPRIGHT, Matrix, sideways, simplified, turn

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Background = Literal["white", "black"]
Floats = npt.NDArray[np.float32]

_FILTER = (
    Interpolation.LANCZOS
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
_BT709, _UNSPECIFIED = 1, 2  # AVColorSpace; libswscale numbers BT.709 alike
_PQ, _HLG = int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)
_MOST_STRETCH = 8.0
_WHITE, _PEAK = 203.0, 1000.0  # cd/m²
_KNEE = 0.6
# ITU-R BT.2087: linear BT.2020 to linear BT.709.
_TO_709: Floats = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)


def transfer_of(code: int) -> Transfer:
    """Return what an ``AVColorTransferCharacteristic`` means for us."""
    return "pq" if code == _PQ else "hlg" if code == _HLG else "sdr"


def upright_size(width: int, height: int, stretch: float | None, matrix: Matrix) -> tuple[int, int]:
    """Return width and height as displayed.

    Args:
        width: stored pixels across.
        height: stored pixels down.
        stretch: width of one pixel over its height; ``None`` and nonsense count as square.
        matrix: which way up frames are stored.
    """
    if stretch and 1 / _MOST_STRETCH <= stretch <= _MOST_STRETCH:
        width = max(1, round(width * stretch))
    return (height, width) if sideways(matrix) else (width, height)


def fitted(width: int, height: int, longest: int | None) -> tuple[int, int]:
    """Return the size with its longest edge at most `longest`; never larger than it was."""
    edge = max(width, height)
    if longest is None or edge <= longest:
        return width, height
    return max(1, round(width * longest / edge)), max(1, round(height * longest / edge))


def frame_matrix(frame: "VideoFrame") -> Matrix:
    """Return which way up a decoded frame is."""
    # The type stub knows of motion vectors only.
    data = cast(Mapping[str, Any], frame.side_data).get("DISPLAYMATRIX")
    if data is None or data.buffer_size < 36:
        return UPRIGHT
    return simplified(memoryview(data).cast("i").tolist())


class Painter:
    """Turns decoded frames into pictures of one size.

    Args:
        longest: the longest edge, pixels; ``None`` for as large as they are.
        background: what shows through where frames are transparent.
        stretch: width of a pixel over its height, where the container says so.
    """

    def __init__(
        self, longest: int | None, background: Background = "white", stretch: float | None = None
    ) -> None:
        self._longest = longest
        self._background = background
        self._stretch = stretch
        self._scaler = VideoReformatter()
        self._known: tuple[int, Matrix] | None = None

    def picture(self, frame: "VideoFrame") -> Image.Image:
        """Return `frame` as 8-bit RGB, upright, with square pixels."""
        matrix = self._matrix(frame)
        upright = upright_size(frame.width, frame.height, self._stretch, matrix)
        target = fitted(*upright, self._longest)
        width, height = target[::-1] if sideways(matrix) else target
        transfer = transfer_of(frame.color_trc)
        if transfer != "sdr":
            light = self._scaled(frame, width, height, "rgb48le")
            image = Image.fromarray(tone_mapped(light, transfer))
        elif any(part.is_alpha for part in frame.format.components) or frame.format.has_palette:
            image = self._over(self._scaled(frame, width, height, "rgba"))
        else:
            image = Image.fromarray(self._scaled(frame, width, height, "rgb24"))
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        method = turn(matrix)
        return image if method is None else image.transpose(method)

    def _matrix(self, frame: "VideoFrame") -> Matrix:
        """Return which way up `frame` is, as the last one was if it is turned alike."""
        # A frame whose side data were asked for lives on until the next collection of cycles.
        if self._known is None or self._known[0] != frame.rotation:
            self._known = frame.rotation, frame_matrix(frame)
        return self._known[1]

    def _scaled(self, frame: "VideoFrame", width: int, height: int, form: str) -> npt.NDArray[Any]:
        guess = None
        if frame.colorspace == _UNSPECIFIED and not frame.format.is_rgb:
            guess = _BT709 if frame.width >= 1280 or frame.height >= 720 else None
        # Two fields taken at two moments make combs of what moves. libswscale keeps them apart, so
        # twice the lines are asked for, as far as there are so many, and every other one is taken.
        fields = frame.interlaced_frame and frame.height >= 4
        height = min(2 * height, frame.height // 2 * 2) if fields else height
        made = self._scaler.reformat(
            frame, width, height, form, src_colorspace=guess, interpolation=_FILTER, threads=1
        )
        pixels = made.to_ndarray()
        return np.ascontiguousarray(pixels[::2]) if fields else pixels

    def _over(self, pixels: npt.NDArray[Any]) -> Image.Image:
        image = Image.fromarray(pixels, "RGBA")
        below = Image.new("RGBA", image.size, self._background)
        return Image.alpha_composite(below, image).convert("RGB")


def tone_mapped(pixels: npt.NDArray[np.uint16], transfer: Transfer) -> npt.NDArray[np.uint8]:
    """Return SDR pixels for HDR ones; the module says how.

    Args:
        pixels: (height, width, 3), 16 bits, BT.2020 primaries, PQ or HLG.
        transfer: ``pq`` or ``hlg``.

    Returns:
        (height, width, 3), 8 bits, BT.709 primaries with sRGB's curve.
    """
    signal: Floats = pixels.astype(np.float32) / np.float32(65535)
    nits = _pq_light(signal) if transfer == "pq" else _hlg_light(signal)
    light: Floats = np.maximum(nits / np.float32(_WHITE) @ _TO_709.T, 0)
    largest: Floats = light.max(axis=-1, keepdims=True)
    light *= _rolled_off(largest) / np.maximum(largest, np.float32(1e-6))
    low = light * np.float32(12.92)
    high = np.float32(1.055) * np.power(light, np.float32(1 / 2.4)) - np.float32(0.055)
    shown = np.where(light <= 0.0031308, low, high)
    return (np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)


def _pq_light(signal: Floats) -> Floats:
    """Return cd/m² by SMPTE ST 2084's curve."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = np.power(signal, np.float32(1 / m2))
    ratio = np.maximum(power - np.float32(c1), 0) / (np.float32(c2) - np.float32(c3) * power)
    light: Floats = np.float32(10_000) * np.power(ratio, np.float32(1 / m1))
    return light


def _hlg_light(signal: Floats) -> Floats:
    """Return cd/m² on a screen of 1 000 cd/m² by ITU-R BT.2100's curve and system gamma."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * math.log(4 * a)
    low = signal * signal / np.float32(3)
    high = (np.exp((signal - np.float32(c)) / np.float32(a)) + np.float32(b)) / np.float32(12)
    scene: Floats = np.where(signal <= 0.5, low, high).astype(np.float32)
    luma = scene @ np.array([[0.2627], [0.6780], [0.0593]], np.float32)
    light: Floats = np.float32(_PEAK) * np.power(np.maximum(luma, 1e-6), np.float32(0.2)) * scene
    return light


def _rolled_off(value: Floats) -> Floats:
    """Return `value` unchanged up to the knee; above, a curve of slope 1 there and 1.0 at peak."""
    top = (_PEAK / _WHITE - _KNEE) / (1 - _KNEE)
    over = np.maximum(value - np.float32(_KNEE), 0) / np.float32(1 - _KNEE)
    # Reinhard's extended curve: x(1 + x/top²)/(1 + x) has slope 1 at 0 and is 1 at `top`.
    bent = over * (1 + over / np.float32(top * top)) / (1 + over)
    curve: Floats = np.where(
        value <= _KNEE, value, np.float32(_KNEE) + np.float32(1 - _KNEE) * np.minimum(bent, 1)
    )
    return curve
