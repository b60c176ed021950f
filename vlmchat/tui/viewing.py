"""What the viewer shows of a picture: which part of it, on how many cells, with what drawn on it.

Plain geometry; Pillow is imported by what draws, which is for worker threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, TypeAlias

from vlmchat.chat.messages import Region
from vlmchat.media.tiles import TilePlan, tile_boxes
from vlmchat.tui.drawing import fit, per_cell, pixels
from vlmchat.tui.terminal import PictureStyle

if TYPE_CHECKING:
    from PIL.Image import Image

Line: TypeAlias = tuple[float, float, float, float]
Rgb: TypeAlias = tuple[int, int, int]
_DIMMED = 0.55
_DASH = 3


@dataclass(frozen=True, slots=True)
class View:
    """Which part of a picture goes on how many cells.

    Attributes:
        columns: cells across.
        rows: cells down.
        part: left, top, right, bottom, as fractions of the picture.
        centre: of the part; what was asked for, kept within the picture.
    """

    columns: int
    rows: int
    part: tuple[float, float, float, float]
    centre: tuple[float, float]

    def pixel(self, x: float, y: float, width: int, height: int) -> tuple[float, float]:
        """Return where in a picture of `width` × `height` pixels the cell at `x`, `y` begins."""
        left, top, right, bottom = self.part
        return (
            (left + (right - left) * x / self.columns) * width,
            (top + (bottom - top) * y / self.rows) * height,
        )

    def step(self, width: int, height: int) -> tuple[int, int]:
        """Return how many pixels of the picture one cell stands for, at least one."""
        left, top, right, bottom = self.part
        across = (right - left) * width / self.columns
        return max(1, round(across)), max(1, round((bottom - top) * height / self.rows))


def view_of(
    size: tuple[int, int],
    columns: int,
    rows: int,
    zoom: float,
    centre: tuple[float, float],
    style: PictureStyle,
) -> View:
    """Return the part of a picture to show: the whole at zoom 1, else a window around `centre`.

    Args:
        size: the picture's width and height, pixels.
        columns: cells there are.
        rows: cells there are.
        zoom: 1 shows the whole.
        centre: as fractions of the picture.
        style: how it is drawn.
    """
    fit_columns, fit_rows = fit(*size, columns, rows, style)
    if zoom <= 1:
        return View(fit_columns, fit_rows, (0.0, 0.0, 1.0, 1.0), (0.5, 0.5))
    across, down = per_cell(style)
    whole_width, whole_height = pixels(fit_columns, fit_rows, style)
    whole_width, whole_height = round(whole_width * zoom), round(whole_height * zoom)
    shown_columns = min(columns, max(1, round(whole_width / across)))
    shown_rows = min(rows, max(1, round(whole_height / down)))
    part_x = min(1.0, shown_columns * across / whole_width)
    part_y = min(1.0, shown_rows * down / whole_height)
    x = min(max(centre[0], part_x / 2), 1 - part_x / 2)
    y = min(max(centre[1], part_y / 2), 1 - part_y / 2)
    part = (x - part_x / 2, y - part_y / 2, x + part_x / 2, y + part_y / 2)
    return View(shown_columns, shown_rows, part, (x, y))


@dataclass(frozen=True, slots=True)
class Selection:
    """A region that is being chosen.

    Attributes:
        width: the picture's, pixels.
        height: the picture's, pixels.
        region: as it stands.
    """

    width: int
    height: int
    region: Region

    @classmethod
    def begin(cls, width: int, height: int, region: Region | None = None) -> "Selection":
        """Return a selection of `region`, else of the half in the middle."""
        middle = Region(
            width // 4,
            height // 4,
            max(width // 4 + 1, width - width // 4),
            max(height // 4 + 1, height - height // 4),
        )
        return cls(width, height, region or middle)

    def moved(self, across: int, down: int) -> "Selection":
        """Return the selection moved by so many pixels, as far as the picture goes."""
        region = self.region
        across = min(max(across, -region.left), self.width - region.right)
        down = min(max(down, -region.top), self.height - region.bottom)
        return self._with(
            region.left + across, region.top + down, region.right + across, region.bottom + down
        )

    def resized(self, across: int, down: int) -> "Selection":
        """Return the selection with its right and lower edge moved by so many pixels."""
        region = self.region
        return self._with(region.left, region.top, region.right + across, region.bottom + down)

    def grown(self, across: int, down: int) -> "Selection":
        """Return the selection with every edge moved outwards by so many pixels."""
        left, top, right, bottom = self.region.edges
        if right - left + 2 * across < 1:
            across = 0
        if bottom - top + 2 * down < 1:
            down = 0
        return self._with(left - across, top - down, right + across, bottom + down)

    def spanned(self, one: tuple[float, float], other: tuple[float, float]) -> "Selection":
        """Return the selection between two points, all pixels that are touched."""
        left, right = sorted((one[0], other[0]))
        top, bottom = sorted((one[1], other[1]))
        return self._with(floor(left), floor(top), ceil(right), ceil(bottom))

    def _with(self, left: int, top: int, right: int, bottom: int) -> "Selection":
        left, top = min(max(left, 0), self.width - 1), min(max(top, 0), self.height - 1)
        right = min(max(right, left + 1), self.width)
        bottom = min(max(bottom, top + 1), self.height)
        return Selection(self.width, self.height, Region(left, top, right, bottom))


def grid_lines(plan: TilePlan, region: Region) -> list[Line]:
    """Return the edges of the tiles of what lies in `region`, in the picture's pixels."""
    boxes = tile_boxes(plan, region.width, region.height)
    across = sorted({edge for box in boxes for edge in (box.left, box.right)})
    down = sorted({edge for box in boxes for edge in (box.top, box.bottom)})
    x, y = region.left, region.top
    return [
        *((x + edge, y, x + edge, y + region.height) for edge in across),
        *((x, y + edge, x + region.width, y + edge) for edge in down),
    ]


def outline(region: Region) -> list[Line]:
    """Return the edges of a region, in the picture's pixels."""
    left, top, right, bottom = region.edges
    return [
        (left, top, right, top),
        (right, top, right, bottom),
        (left, bottom, right, bottom),
        (left, top, left, bottom),
    ]


def shown_part(image: "Image", view: View, style: PictureStyle, ground: Rgb) -> "Image":
    """Return the part of `image` that is shown, RGB, in exactly the pixels it is shown in; slow.

    Args:
        image: the picture, or a smaller one in its proportions.
        view: which part.
        style: how it is drawn.
        ground: the colour behind its transparent parts.
    """
    from PIL.Image import Resampling

    from vlmchat.media.thumbnails import over

    left, top, right, bottom = view.part
    box = int(left * image.width), int(top * image.height)
    end = round(right * image.width), round(bottom * image.height)
    whole = image.crop(
        (
            *box,
            max(box[0] + 1, min(end[0], image.width)),
            max(box[1] + 1, min(end[1], image.height)),
        )
    )
    size = pixels(view.columns, view.rows, style)
    if whole.mode == "RGBA":
        whole = whole.convert("RGBa").resize(size, Resampling.LANCZOS, reducing_gap=2.0)
        return over(whole.convert("RGBA"), ground)
    return whole.convert("RGB").resize(size, Resampling.LANCZOS, reducing_gap=2.0)


def marked(
    image: "Image",
    view: View,
    size: tuple[int, int],
    lines: Sequence[Line],
    region: Region | None,
    ink: tuple[Rgb, Rgb],
) -> "Image":
    """Return what is shown with lines on it, and darker outside of a region; slow.

    Args:
        image: as `shown_part` gives; it is not changed.
        view: the same.
        size: the picture's width and height, pixels.
        lines: in the picture's pixels.
        region: what stays bright; ``None`` for all.
        ink: the lines' two colours in turn, so that they are seen on any picture.
    """
    from PIL import Image as Pillow

    left, top, right, bottom = view.part
    scale_x = image.width / ((right - left) * size[0])
    scale_y = image.height / ((bottom - top) * size[1])

    def place(x: float, y: float) -> tuple[int, int]:
        return (
            round((x - left * size[0]) * scale_x),
            round((y - top * size[1]) * scale_y),
        )

    if region is None:
        image = image.copy()
    else:
        box = (*place(region.left, region.top), *place(region.right, region.bottom))
        box = (max(0, box[0]), max(0, box[1]), min(box[2], image.width), min(box[3], image.height))
        dark = Pillow.new("RGB", image.size, (0, 0, 0))
        dimmed = Pillow.blend(image, dark, _DIMMED)
        if box[0] < box[2] and box[1] < box[3]:
            dimmed.paste(image.crop(box), box[:2])
        image = dimmed
    _draw_lines(image, [(*place(*line[:2]), *place(*line[2:])) for line in lines], ink)
    return image


def _draw_lines(
    image: "Image", lines: Sequence[tuple[int, int, int, int]], ink: tuple[Rgb, Rgb]
) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    thick = 1 if image.width < 400 else 2
    dash = _DASH * thick * 2
    for x0, y0, x1, y1 in lines:
        # What lies on the picture's last edge is still within it.
        if x0 == x1 and 0 <= x0 <= image.width:
            x = min(x0, image.width - thick)
            for number, y in enumerate(range(max(0, y0), min(y1, image.height), dash)):
                end = min(y + dash, y1, image.height) - 1
                pen.rectangle((x, y, x + thick - 1, end), fill=ink[number % 2])
        elif y0 == y1 and 0 <= y0 <= image.height:
            y = min(y0, image.height - thick)
            for number, x in enumerate(range(max(0, x0), min(x1, image.width), dash)):
                end = min(x + dash, x1, image.width) - 1
                pen.rectangle((x, y, end, y + thick - 1), fill=ink[number % 2])
