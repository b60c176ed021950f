"""Cutting a picture into the tiles that the vision tower gets, as 8-bit pixels.

The pixels equal, bit by bit, those of the library's processor
(``SmolVLMImageProcessorPil``): the same filter in the same order of steps. What differs is how
they are computed: each column of tiles is brought to its height by itself, so that several threads
work at once, and nothing is copied back and forth between Pillow and NumPy in between. (Pillow's
resize is a horizontal pass over whole rows, rounded to 8 bits, and then a vertical pass over whole
columns; neither looks at its neighbours.)
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from vlmchat.media.tiles import ProcessorSpec, TilePlan, default_grid, resized

Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_WORTH_THREADS = 500_000  # pixels; smaller pictures are done before a thread has started
_pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="tiles")


def steps(plan: TilePlan, width: int, height: int, spec: ProcessorSpec) -> list[tuple[int, int]]:
    """Return the sizes (width, height) that a picture goes through to become its grid.

    The library's own grid is reached in its two steps; a grid of ours in one. The last size is the
    grid's, or a single tile's.
    """
    tile = plan.tile
    if not plan.rows:
        return [resized(width, height, spec), (tile, tile)]
    grid = plan.cols * tile, plan.rows * tile
    if (plan.rows, plan.cols) == default_grid(width, height, spec):
        return [resized(width, height, spec), grid]
    return [grid]


def cut(
    picture: Image.Image,
    plan: TilePlan,
    spec: ProcessorSpec,
    resample: int = Image.Resampling.LANCZOS,
    use: Callable[[int, Image.Image], None] = lambda index, tile: None,
) -> None:
    """Cut `picture` as `plan` says, and hand each tile to `use`, which several threads call.

    Args:
        picture: RGB.
        plan: made for the picture's size.
        spec: of the model's processor.
        resample: the processor's filter, one of ``PIL.Image.Resampling``.
        use: gets the tile's place (row by row, the global view last) and its RGB pixels, a
            picture of `TilePlan.tile` pixels squared.
    """
    method = Image.Resampling(resample)
    sizes = steps(plan, picture.width, picture.height, spec)
    threads = max(picture.width * picture.height, sizes[-1][0] * sizes[-1][1]) > _WORTH_THREADS
    each = _on_threads if threads else _in_turn
    if not plan.rows:
        for size in sizes:
            picture = _resize(picture, size, method, each)
        use(0, picture)
        return
    # All horizontal passes come before the vertical ones of the same step; a second step that
    # leaves the width alone is vertical only, and can be done a column of tiles at a time.
    if len(sizes) == 2 and sizes[0][0] != sizes[1][0]:
        picture = _resize(picture, sizes[0], method, each)
        sizes = sizes[1:]
    bands = _horizontal(picture, sizes[0][0], method, each)
    whole = Image.new("RGB", sizes[-1])
    tile = plan.tile

    def column(col: int) -> None:
        strip = _slice(bands, col * tile, (col + 1) * tile)
        for _, height in sizes:
            strip = strip.resize((tile, height), method)
        whole.paste(strip, (col * tile, 0))
        for row in range(plan.rows):
            use(row * plan.cols + col, strip.crop((0, row * tile, tile, (row + 1) * tile)))

    each(column, range(plan.cols))
    use(plan.tiles - 1, _resize(whole, (tile, tile), method, each))


def tile_pictures(
    picture: Image.Image, plan: TilePlan, spec: ProcessorSpec, resample: int = 1
) -> list[Image.Image]:
    """Return the tiles as pictures, to look at or to save: exactly what the model gets."""
    found: list[Image.Image] = [picture] * plan.tiles

    def keep(index: int, tile: Image.Image) -> None:
        found[index] = tile

    cut(picture, plan, spec, resample, keep)
    return found


def _in_turn(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    return [work(item) for item in items]


def _on_threads(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    return list(_pool.map(work, items))


_Each: TypeAlias = Callable[[Callable[[int], Any], Iterable[int]], list[Any]]


def _resize(
    picture: Image.Image, size: tuple[int, int], method: Image.Resampling, each: _Each
) -> Image.Image:
    """Return `picture` in another size: ``picture.resize(size, method)``, on several threads."""
    if each is _in_turn:
        return picture.resize(size, method)
    bands = _horizontal(picture, size[0], method, each)
    parts = min(4, size[0])
    edges = [size[0] * part // parts for part in range(parts + 1)]
    result = Image.new("RGB", size)

    def column(part: int) -> None:
        strip = _slice(bands, edges[part], edges[part + 1])
        result.paste(strip.resize((strip.width, size[1]), method), (edges[part], 0))

    each(column, range(parts))
    return result


def _horizontal(
    picture: Image.Image, width: int, method: Image.Resampling, each: _Each
) -> list[Image.Image]:
    """Return `picture` brought to `width`, in bands from top to bottom."""
    parts = 1 if each is _in_turn else min(4, picture.height)
    edges = [picture.height * part // parts for part in range(parts + 1)]

    def band(part: int) -> Image.Image:
        top, bottom = edges[part], edges[part + 1]
        # Cropped first: told of a box, Pillow would make a vertical pass that changes nothing.
        rows = picture.crop((0, top, picture.width, bottom)) if parts > 1 else picture
        return rows.resize((width, bottom - top), method)

    found: list[Image.Image] = each(band, range(parts))
    return found


def _slice(bands: list[Image.Image], left: int, right: int) -> Image.Image:
    """Return the columns from `left` to `right` of all bands, one below the other."""
    if len(bands) == 1:
        return bands[0].crop((left, 0, right, bands[0].height))
    result = Image.new("RGB", (right - left, sum(band.height for band in bands)))
    top = 0
    for band in bands:
        result.paste(band.crop((left, 0, right, band.height)), (0, top))
        top += band.height
    return result
