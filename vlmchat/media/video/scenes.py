"""Where a video's pictures change: distances between colour histograms of small frames.

Each small frame is counted into 8 × 8 × 8 colours; the distance of two frames is half the sum of
absolute differences of their shares, 0 for equal colours and 1 for nothing in common (Zhang,
Kankanhalli, Smoliar, "Automatic partitioning of full-motion video", 1993).
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

SMALL = 64  # pixels of the longest edge
LEAST = 0.1  # a smaller distance is no change of scene
_APART = 0.5  # seconds between two changes

Histogram = npt.NDArray[np.float64]


def histogram(image: Image.Image) -> Histogram:
    """Return the shares of 512 colours in an RGB picture."""
    pixels = np.asarray(image, np.uint16) >> 5
    numbers = (pixels[..., 0] << 6) | (pixels[..., 1] << 3) | pixels[..., 2]
    counted = np.bincount(numbers.ravel(), minlength=512)
    shares: Histogram = counted / max(1, counted.sum())
    return shares


def changes(seen: Sequence[tuple[float, Histogram]], count: int) -> list[float]:
    """Return the times of the first frame and of those after the largest changes.

    Args:
        seen: (seconds, histogram), ascending.
        count: the most times returned.

    Returns:
        Ascending times; only the first where nothing changes.
    """
    distances = [
        (float(np.abs(after - before).sum()) / 2, time)
        for (_, before), (time, after) in itertools.pairwise(seen)
    ]
    chosen = [seen[0][0]] if seen else []
    for distance, time in sorted(distances, key=lambda pair: (-pair[0], pair[1])):
        if distance < LEAST or len(chosen) >= count:
            break
        if all(abs(time - other) >= _APART for other in chosen):
            chosen.append(time)
    return sorted(chosen)
