"""The tile plan: how a picture is cut for the vision tower, and what it costs in tokens.

SmolVLM's processor resizes the longest edge to a fixed length *up or down*, so that a picture of
386 pixels becomes 17 tiles. The plan here starts from the processor's own grid and, for ``auto``,
never uses more rows or columns than the picture's own pixels fill.

Source: ``transformers/models/smolvlm/image_processing_pil_smolvlm.py``
(``get_resize_output_image_size``, ``resize_for_vision_encoder``, ``split_images``).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from vlmchat.chat.messages import Detail

_MAX_IMAGE_SIZE = 4096  # the library's upper bound on either side
_MOST_ROWS = 64  # of a grid that a server may name; far more than any model has


@dataclass(frozen=True, slots=True)
class ProcessorSpec:
    """What of a processor's settings decides the tiles.

    Attributes:
        tile: side of the square tile the tower sees, pixels.
        longest_edge: length the longest edge is resized to before cutting, pixels.
        splitting: whether the processor cuts at all.
        tokens_per_tile: image tokens that the connector makes of a tile.
        max_grid: most rows or columns for which the tokenizer has position tokens.
        blank_line_tokens: what the tokenizer makes of two line feeds, which part the grid from
            the global view.
    """

    tile: int
    longest_edge: int
    splitting: bool
    tokens_per_tile: int
    max_grid: int = 6
    blank_line_tokens: int = 1

    @classmethod
    def from_configs(
        cls, config: dict[str, Any], preprocessor: dict[str, Any], blank_line_tokens: int = 1
    ) -> "ProcessorSpec":
        """Read a model folder's ``config.json`` and ``preprocessor_config.json`` contents.

        Args:
            config: of the model.
            preprocessor: of its image processor.
            blank_line_tokens: see the attribute; 1 for the tokenizer that all SmolVLM share.
        """
        vision = config["vision_config"]
        side = int(vision["image_size"]) // int(vision["patch_size"])
        scale = int(config["scale_factor"])
        return cls(
            tile=int(preprocessor["max_image_size"]["longest_edge"]),
            longest_edge=int(preprocessor["size"]["longest_edge"]),
            splitting=bool(preprocessor.get("do_image_splitting", True)),
            tokens_per_tile=side * side // (scale * scale),
            blank_line_tokens=blank_line_tokens,
        )

    def as_row(self) -> dict[str, Any]:
        """Return the settings as a JSON object, for `from_row`."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: object) -> "ProcessorSpec | None":
        """Return the settings that an engine tells of its model; ``None`` if they make no sense."""
        if not isinstance(row, dict) or not isinstance(row.get("splitting"), bool):
            return None
        names = ("tile", "longest_edge", "tokens_per_tile", "max_grid", "blank_line_tokens")
        values = {name: row[name] for name in names if name in row}
        if not all(type(value) is int and 0 < value <= 1 << 20 for value in values.values()):
            return None
        if not set(names[:3]) <= set(values):
            return None
        if min(values["longest_edge"], _MAX_IMAGE_SIZE) > _MOST_ROWS * values["tile"]:
            return None
        return cls(splitting=row["splitting"], **values)


@dataclass(frozen=True, slots=True)
class TilePlan:
    """How one picture is cut.

    Attributes:
        rows: rows of tiles; 0 when the picture is a single tile.
        cols: columns of tiles; 0 when the picture is a single tile.
        tile: side of a tile, pixels.
        tokens_per_tile: image tokens a tile.
        blank_line_tokens: tokens of the blank line between grid and global view.
    """

    rows: int
    cols: int
    tile: int
    tokens_per_tile: int
    blank_line_tokens: int = 1

    @property
    def tiles(self) -> int:
        """Tiles that the tower encodes: the grid and the global view."""
        return self.rows * self.cols + 1

    @property
    def image_tokens(self) -> int:
        """Image tokens in the prompt, without the marks around them."""
        return self.tiles * self.tokens_per_tile

    @property
    def prompt_tokens(self) -> int:
        """All tokens that the picture takes in the prompt, with the marks around its tiles.

        Two marks before each tile (where it begins, and which it is), a line feed between rows,
        a blank line before the global view, and one mark at the end.
        """
        breaks = self.rows - 1 + self.blank_line_tokens if self.rows else 0
        return self.tiles * (self.tokens_per_tile + 2) + breaks + 1


class Box(NamedTuple):
    """A rectangle in a picture's own pixels; fractions, because tiles do not end at pixels."""

    left: float
    top: float
    right: float
    bottom: float


def tile_boxes(plan: TilePlan, width: float, height: float) -> list[Box]:
    """Return where each tile lies in a picture of `width` × `height`, to draw the grid on it.

    The picture is stretched to the whole grid, so that the tiles part it evenly.

    Returns:
        The tiles row by row, as the model gets them, and the global view (all of the picture)
        last: `TilePlan.tiles` boxes.
    """
    boxes = [
        Box(
            width * col / plan.cols,
            height * row / plan.rows,
            width * (col + 1) / plan.cols,
            height * (row + 1) / plan.rows,
        )
        for row in range(plan.rows)
        for col in range(plan.cols)
    ]
    return [*boxes, Box(0, 0, width, height)]


def resized(width: int, height: int, spec: ProcessorSpec) -> tuple[int, int]:
    """Return the width and height to which the library brings a picture before it cuts."""
    # The library's two steps, with its own roundings.
    ratio = width / height
    if width >= height:
        width, height = spec.longest_edge, int(spec.longest_edge / ratio)
        height += height % 2
    else:
        height, width = spec.longest_edge, int(spec.longest_edge * ratio)
        width += width % 2
    height, width = max(height, 1), max(width, 1)
    ratio = width / height
    if width >= height and width > _MAX_IMAGE_SIZE:
        width, height = _MAX_IMAGE_SIZE, int(_MAX_IMAGE_SIZE / ratio)
    elif height > width and height > _MAX_IMAGE_SIZE:
        height, width = _MAX_IMAGE_SIZE, int(_MAX_IMAGE_SIZE * ratio)
    return max(width, 1), max(height, 1)


def default_grid(width: int, height: int, spec: ProcessorSpec) -> tuple[int, int]:
    """Return (rows, columns) as the library's processor cuts; (0, 0) for a single tile."""
    if not spec.splitting:
        return 0, 0
    width, height = resized(width, height, spec)
    ratio, tile = width / height, spec.tile
    if width >= height:
        cols = math.ceil(width / tile)
        rows = math.ceil(int(cols * tile / ratio) / tile)
    else:
        rows = math.ceil(height / tile)
        cols = math.ceil(int(rows * tile * ratio) / tile)
    if rows * tile <= tile and cols * tile <= tile:
        return 0, 0
    return max(rows, 1), max(cols, 1)


def plan_tiles(width: int, height: int, spec: ProcessorSpec, detail: Detail = "auto") -> TilePlan:
    """Plan the tiles of a picture of `width` × `height` pixels.

    ``low`` is one tile. ``high`` is what the library's processor does. ``auto`` takes that grid,
    but no more columns than the width has whole tiles of the picture's own pixels, and no more
    rows than the height has; at least one of each, so that only a side shorter than a tile is ever
    stretched. A number is the most tiles, the global view among them: see `_best_grid`.
    """
    rows, cols = (0, 0) if detail == "low" else default_grid(width, height, spec)
    if detail == "auto" and rows:
        rows = min(rows, max(1, height // spec.tile))
        cols = min(cols, max(1, width // spec.tile))
    elif isinstance(detail, int) and rows * cols + 1 > detail:
        rows, cols = _best_grid(width, height, rows, cols, detail)
    if rows * cols == 1:
        rows = cols = 0
    return TilePlan(rows, cols, spec.tile, spec.tokens_per_tile, spec.blank_line_tokens)


def _best_grid(width: int, height: int, rows: int, cols: int, most: int) -> tuple[int, int]:
    """Return the grid within `rows` × `cols` that shows most with at most `most` tiles.

    A grid is as fine as its coarser direction (tiles a pixel of the picture), which keeps it near
    the picture's proportions: a square with at most 10 tiles gets 3 × 3 and the global view, not
    2 × 4. Of grids that are equally fine the one with the fewest tiles is taken, because more
    tiles would only stretch: a square with at most 4 stays a single tile.
    """
    grids = [
        (row, col)
        for row in range(1, rows + 1)
        for col in range(1, cols + 1)
        if row * col + 1 <= most
    ]
    return max(
        grids or [(1, 1)],
        # Cross-multiplied, so that no rounding decides.
        key=lambda grid: (min(grid[0] * width, grid[1] * height), -grid[0] * grid[1]),
    )
