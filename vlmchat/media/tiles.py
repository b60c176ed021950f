"""The tile plan: how a picture is cut for the vision tower, and what it costs in tokens.

SmolVLM's processor resizes the longest edge to a fixed length *up or down*, so that a picture of
386 pixels becomes 17 tiles. The plan here starts from the processor's own grid and, for ``auto``,
never uses more rows or columns than the picture's own pixels fill.

Source: ``transformers/models/smolvlm/image_processing_pil_smolvlm.py``
(``get_resize_output_image_size``, ``resize_for_vision_encoder``, ``split_images``).
"""

import math
from dataclasses import dataclass
from typing import Any

from vlmchat.chat.messages import Detail

_MAX_IMAGE_SIZE = 4096  # the library's upper bound on either side


@dataclass(frozen=True, slots=True)
class ProcessorSpec:
    """What of a processor's settings decides the tiles.

    Attributes:
        tile: side of the square tile the tower sees, pixels.
        longest_edge: length the longest edge is resized to before cutting, pixels.
        splitting: whether the processor cuts at all.
        tokens_per_tile: image tokens that the connector makes of a tile.
        max_grid: most rows or columns for which the tokenizer has position tokens.
    """

    tile: int
    longest_edge: int
    splitting: bool
    tokens_per_tile: int
    max_grid: int = 6

    @classmethod
    def from_configs(cls, config: dict[str, Any], preprocessor: dict[str, Any]) -> "ProcessorSpec":
        """Read a model folder's ``config.json`` and ``preprocessor_config.json`` contents."""
        vision = config["vision_config"]
        side = int(vision["image_size"]) // int(vision["patch_size"])
        scale = int(config["scale_factor"])
        return cls(
            tile=int(preprocessor["max_image_size"]["longest_edge"]),
            longest_edge=int(preprocessor["size"]["longest_edge"]),
            splitting=bool(preprocessor.get("do_image_splitting", True)),
            tokens_per_tile=side * side // (scale * scale),
        )


@dataclass(frozen=True, slots=True)
class TilePlan:
    """How one picture is cut.

    Attributes:
        rows: rows of tiles; 0 when the picture is a single tile.
        cols: columns of tiles; 0 when the picture is a single tile.
        tile: side of a tile, pixels.
        tokens_per_tile: image tokens a tile.
    """

    rows: int
    cols: int
    tile: int
    tokens_per_tile: int

    @property
    def tiles(self) -> int:
        """Tiles that the tower encodes: the grid and the global view."""
        return self.rows * self.cols + 1

    @property
    def image_tokens(self) -> int:
        """Image tokens in the prompt, without the marks around them."""
        return self.tiles * self.tokens_per_tile


def default_grid(width: int, height: int, spec: ProcessorSpec) -> tuple[int, int]:
    """Return (rows, columns) as the library's processor cuts; (0, 0) for a single tile."""
    if not spec.splitting:
        return 0, 0
    # The three steps of the library, with its own roundings.
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
    height, width = max(height, 1), max(width, 1)
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

    ``low`` is one tile; ``high`` is what the library's processor does; ``auto`` takes that grid
    but no more rows or columns than the picture has tiles of its own pixels.
    """
    rows, cols = (0, 0) if detail == "low" else default_grid(width, height, spec)
    if detail == "auto" and rows:
        rows = min(rows, max(1, height // spec.tile))
        cols = min(cols, max(1, width // spec.tile))
    if rows * cols == 1:
        rows = cols = 0
    return TilePlan(rows, cols, spec.tile, spec.tokens_per_tile)
