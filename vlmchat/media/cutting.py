"""Cutting a picture into the tiles that the vision tower gets, as 8-bit pixels.

The pixels equal, bit by bit, those of the library's processor
(``SmolVLMImageProcessorPil``): the same filter in the same order of steps. What differs is how
they are computed: on several threads, and without copying back and forth between Pillow and NumPy
in between. Pillow resizes in two passes, one over whole rows and one over whole columns, each
rounded to 8 bits; a pass can be done in bands, as no row or column looks at its neighbours. Which
pass comes first is Pillow's choice and shows in the last bit. It is known for pictures that are
not tall and keep their proportions, and where only one side changes: these are done in bands.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
    grid's, or a single tile's. A single tile where the library would cut more is made as the
    library makes a frame of a video, and as the model cards say for one tile: the longest edge
    becomes the tile's side.
    """
    tile = plan.tile
    if not plan.rows:
        if default_grid(width, height, spec) != (0, 0):
            spec = replace(spec, longest_edge=tile)
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
    for size in sizes:
        picture = _resize(picture, size, method, each)
    whole, tile = picture, plan.tile
    if not plan.rows:
        use(0, whole)
        return

    def one(index: int) -> None:
        if index == 0:  # begun first, as it takes longest
            use(plan.tiles - 1, whole.resize((tile, tile), method))
            return
        row, col = divmod(index - 1, plan.cols)
        box = (col * tile, row * tile, (col + 1) * tile, (row + 1) * tile)
        use(index - 1, whole.crop(box))

    each(one, range(plan.tiles))


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
    if each is _in_turn or not _rows_first(picture.size, size):
        return picture.resize(size, method)
    bands = _horizontal(picture, size[0], method, each)
    if picture.height == size[1] and len(bands) == 1:
        return bands[0]
    parts = min(4, size[0])
    edges = [size[0] * part // parts for part in range(parts + 1)]
    result = Image.new("RGB", size)

    def column(part: int) -> None:
        strip = _slice(bands, edges[part], edges[part + 1])
        result.paste(strip.resize((strip.width, size[1]), method), (edges[part], 0))

    each(column, range(parts))
    return result


def _rows_first(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Return whether Pillow is sure to make the horizontal pass first, or only one of them."""
    (width, height), (new_width, new_height) = before, after
    if width == new_width or height == new_height:
        return True
    # A pixel or two off, as the library rounds to even numbers.
    kept = abs(new_width * height - new_height * width) <= 2 * max(width, height)
    return kept and height <= 1.8 * width  # tall ones go columns first, from twice the width on


def _horizontal(
    picture: Image.Image, width: int, method: Image.Resampling, each: _Each
) -> list[Image.Image]:
    """Return `picture` brought to `width`, in bands from top to bottom."""
    if picture.width == width:
        return [picture]
    parts = min(4, picture.height)
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
