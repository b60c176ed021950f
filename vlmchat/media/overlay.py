"""Heat over a picture: a grid of numbers drawn on what they are about. No torch.

Everything here decodes or draws: call it from a worker thread.
"""

import io
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from vlmchat.chat.messages import ImagePart, Media, Message
from vlmchat.errors import MediaError
from vlmchat.media.images import decode
from vlmchat.media.tiles import Box
from vlmchat.text import visible_line

# From no heat to most: dark violet, red, yellow. Lightness rises all the way, so that the order
# shows without colours, too.
_RAMP = ((40, 10, 90), (150, 30, 110), (230, 75, 60), (250, 160, 40), (255, 240, 110))
_MOST_OPAQUE = 0.78
_GREYED = 0.6  # how far the picture below loses its colours
_EDGE = 1024  # pixels of each picture on a saved sheet, at most
_GAP = 8

GridLike = Sequence[Sequence[float]]


def pictures_sent(messages: Iterable[Message], *, videos: bool) -> list[Media]:
    """Return the pictures as an engine gets them (parts, frames), in their order; blocking.

    Raises:
        MediaError: one cannot be read.
    """
    from vlmchat.media.sending import as_sent

    sent = as_sent(messages, videos=videos)
    return [p.media for message in sent for p in message.parts if isinstance(p, ImagePart)]


def overlaid(
    image: Image.Image, grid: GridLike, box: Box | None = None, most: float | None = None
) -> Image.Image:
    """Return a picture with the heat over it, the more heat the less of the picture.

    Args:
        image: RGB; it is not changed.
        grid: rows of cells that part it evenly, numbers from 0.
        box: a place to frame, as fractions.
        most: what is drawn as hottest; by default the most that is in the grid.
    """
    rows, cols = len(grid), len(grid[0])
    top = max(max(row) for row in grid) if most is None else most
    scale = 255 / top if top > 0 else 0.0
    small = Image.new("L", (cols, rows))
    small.putdata([min(255, round(max(value, 0) * scale)) for row in grid for value in row])
    heat = small.resize(image.size, Image.Resampling.BICUBIC)
    grey = Image.blend(image.convert("RGB"), image.convert("L").convert("RGB"), _GREYED)
    colours = Image.merge("RGB", [heat.point(_levels(channel)) for channel in range(3)])
    opaque = heat.point([round(_MOST_OPAQUE * 255 * (level / 255) ** 0.7) for level in range(256)])
    drawn = Image.composite(colours, grey, opaque)
    if box is not None:
        _frame(drawn, box)
    return drawn


def _levels(channel: int) -> list[int]:
    """Return the ramp's values of one channel for all 256 levels."""
    found = []
    for level in range(256):
        at = level / 255 * (len(_RAMP) - 1)
        low = min(int(at), len(_RAMP) - 2)
        one, other = _RAMP[low][channel], _RAMP[low + 1][channel]
        found.append(round(one + (other - one) * (at - low)))
    return found


def _frame(image: Image.Image, box: Box) -> None:
    """Draw a frame, white within black, so that it is seen on anything."""
    width, height = image.size
    edges = [box.left * width, box.top * height, box.right * width - 1, box.bottom * height - 1]
    thick = max(1, round(min(width, height) / 160))
    pen = ImageDraw.Draw(image)
    for inset, colour in ((0, "black"), (thick, "white")):
        left, top, right, bottom = (round(edge) for edge in edges)
        inner = (left + inset, top + inset, right - inset, bottom - inset)
        if inner[0] < inner[2] and inner[1] < inner[3]:
            pen.rectangle(inner, outline=colour, width=thick)


def sheet(
    pictures: Sequence[Media], grids: Sequence[GridLike], framed: int = -1, box: Box | None = None
) -> bytes:
    """Return all pictures with the heat over them, side by side, as a PNG.

    The hottest place of all is the measure of all, so that pictures can be compared.

    Args:
        pictures: as they were sent.
        grids: one a picture.
        framed: the picture in which a place is framed.
        box: that place.

    Raises:
        MediaError: a picture cannot be decoded, or there are not as many grids.
    """
    if len(pictures) != len(grids) or not pictures:
        raise MediaError("The engine told of other pictures than were sent: ask once more.")
    most = max((value for grid in grids for row in grid for value in row), default=0.0)
    drawn = []
    for number, (media, grid) in enumerate(zip(pictures, grids, strict=True)):
        image = decode(media.data, media.name)
        if len(pictures) > 1:
            image.thumbnail((_EDGE, _EDGE), Image.Resampling.LANCZOS)
        drawn.append(overlaid(image, grid, box if number == framed else None, most))
    whole = drawn[0] if len(drawn) == 1 else _side_by_side(drawn)
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


def _side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    columns = math.ceil(math.sqrt(len(images)))
    width = max(image.width for image in images)
    rows = [images[first : first + columns] for first in range(0, len(images), columns)]
    heights = [max(image.height for image in row) for row in rows]
    size = (columns * (width + _GAP) - _GAP, sum(heights) + _GAP * (len(rows) - 1))
    whole = Image.new("RGB", size, "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, image in enumerate(row):
            whole.paste(image, (column * (width + _GAP), top))
        top += height + _GAP
    return whole


def save_new(path: Path, data: bytes) -> None:
    """Write a file that was not there before, whole or not at all; blocking.

    Raises:
        MediaError: it is there, or cannot be written.
    """
    shown = visible_line(str(path))
    try:
        with path.open("xb") as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise MediaError(f"“{shown}” is there already: name another file.") from None
    except (OSError, ValueError) as error:
        why = visible_line(getattr(error, "strerror", None) or str(error))
        raise MediaError(f"“{shown}” cannot be written ({why}): name another file.") from error
