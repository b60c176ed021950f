"""How a tower begins: with weights from nothing, or with those of a tower of another grid."""

import torch
from torch.nn import functional as F  # noqa: N812 - as everywhere

from vlmchat.demo.training.tower import Shape, Tower
from vlmchat.errors import UsageError


def resampled(tower: Tower, shape: Shape) -> Tower:
    """Return a tower's weights in one of another patch size and scale; the layers stay.

    Patch filters are scaled as pictures are, with their sums kept, places are interpolated, and
    what the projection takes from a square of patches is spread over a square of others of the
    same extent.

    Raises:
        UsageError: the towers differ in more than that.
    """
    old = tower.shape
    if old == shape:
        return tower
    same = ("side", "hidden", "layers", "heads", "inner", "width", "tokens")
    if any(getattr(old, name) != getattr(shape, name) for name in same):
        raise UsageError("The weights to begin with are of a tower of other widths or layers.")
    weights = dict(tower.state_dict())
    filters = weights["patch.weight"].view(-1, 3, old.patch, old.patch)
    weights["patch.weight"] = _filters(filters, shape.patch).flatten(1)
    places = weights["places"].T.view(1, shape.hidden, old.grid, old.grid)
    weights["places"] = _scaled(places, shape.grid).view(shape.hidden, -1).T
    blocks = weights["projection.weight"].view(shape.width, old.scale, old.scale, shape.hidden)
    spread = _scaled(blocks.permute(0, 3, 1, 2), shape.scale) * (old.scale / shape.scale) ** 2
    weights["projection.weight"] = spread.permute(0, 2, 3, 1).reshape(shape.width, -1)
    made = Tower(shape, tower.aside.out_features if tower.aside else 0)
    made.load_state_dict(weights)
    return made


def _filters(filters: torch.Tensor, size: int) -> torch.Tensor:
    """Return filters, (number, colours, side, side), in another size.

    What they find in a plain colour stays the same.
    """
    scaled = _scaled(filters, size) * (filters.shape[-1] / size) ** 2
    lost = filters.sum((-2, -1), keepdim=True) - scaled.sum((-2, -1), keepdim=True)
    return scaled + lost / size**2


def _scaled(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Return maps, (1 or more, channels, side, side), interpolated to another side."""
    return F.interpolate(maps, (size, size), mode="bilinear", align_corners=False, antialias=True)


def whiten(tower: Tower, pixels: torch.Tensor, patches: int = 24_000, loud: float = 0.6) -> None:
    """Set the patch filters so that what patches differ in is equally loud.

    Flat colour is most of what drawings' patches differ in; thin strokes are little of it and
    would be learned late. The filters become the directions in which real patches differ most,
    each divided by how much they do.

    Args:
        tower: whose patch filters are set.
        pixels: (pictures, side, side, 3), uint8, some hundred drawings.
        patches: how many of them are looked at.
        loud: standard deviation of what the filters find.
    """
    flat = tower.patches(pixels).flatten(0, 1)
    chosen = torch.randperm(len(flat))[:patches]
    real = flat[chosen].float() / 127.5 - 1
    mean = real.mean(0)
    apart = real - mean
    spread, directions = torch.linalg.eigh(apart.T @ apart / len(real))
    count = tower.shape.hidden
    spread, directions = spread.flip(0)[:count], directions.flip(1)[:, :count]
    filters = loud * directions.T / (spread + 1e-3 * spread.sum()).sqrt()[:, None]
    with torch.no_grad():
        tower.patch.weight.copy_(filters)
        tower.patch.bias.copy_(-filters @ mean)
