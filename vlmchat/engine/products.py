"""Products with many rows on a processor: in which numbers it multiplies fast, and how.

In which numbers is found by trying. Matrix units (AMX) multiply bfloat16 several times as fast as
float32. The vector instructions for bfloat16 that chips have without such units promise as much and
often are slower than float32, by almost half where this was written. Weights may be stored in
either; what is multiplied a whole prompt or picture at a time is worth converting a layer before.
"""

import math
import time
from functools import cache
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - as everywhere

_ROWS, _INNER, _COLUMNS = 512, 768, 768


@cache
def product_dtype() -> torch.dtype:
    """Return bfloat16 or float32, in which some hundred rows are multiplied faster.

    Takes some milliseconds, once a process. What else the machine does slows both alike.
    """
    wide, narrow = math.inf, math.inf
    for _ in range(4):
        wide = min(wide, _seconds(torch.float32))
        narrow = min(narrow, _seconds(torch.bfloat16))
        if narrow > 8 * wide:  # emulated
            break
    return torch.bfloat16 if narrow < wide else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    left, right = torch.ones(_ROWS, _INNER, dtype=dtype), torch.ones(_COLUMNS, _INNER, dtype=dtype)
    with torch.inference_mode():
        began = time.perf_counter()
        F.linear(left, right)
        return time.perf_counter() - began


# Products, each with what is added to it or made of it while it is still at hand ------------------

# Where a product has no more rows than a tile has patches, oneDNN gives all of the work of a narrow
# one (768 columns) to one of two threads, but not where it has half as many. Measured with torch
# 2.13 on AMX: 11 ms in place of 18 from 3 072 columns to 768, 4 in place of 5 from 768. Always cut,
# as the number of threads changes while the last bits of a picture's features must not.
_CUT_ROWS = 1024


def _operators() -> Any:  # noqa: ANN401 - operators without a type
    """Return oneDNN's products with an operation at their end, or ``None`` where torch lacks it."""
    one = torch.ones(1, 1, dtype=torch.bfloat16)
    try:
        operators = torch.ops.mkldnn._linear_pointwise
        operators.default(one, one, one[0], "gelu", [], "tanh")
        operators.binary(one, one, one, one[0], "add")
    except (AttributeError, RuntimeError, NotImplementedError):
        return None
    return operators


_fused = _operators()


def product(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return what ``linear`` does, to the last bit, in bfloat16 in some three quarters of the time.

    Args:
        rows: of shape (…, inputs).
        weight: of shape (outputs, inputs).
        bias: of shape (outputs,).
    """
    if _fused is None or rows.dtype != torch.bfloat16:
        return F.linear(rows, weight, bias)
    made: torch.Tensor = _fused.default(rows, weight, bias, "none", [], "")
    return made


def product_gelu(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, kind: str
) -> torch.Tensor:
    """Return GELU of a product; `kind` is ``none`` (exact) or ``tanh``. See `product`."""
    if _fused is None:
        return F.gelu(F.linear(rows, weight, bias), approximate=kind)
    made: torch.Tensor = _fused.default(rows, weight, bias, "gelu", [], kind)
    return made


def add_product(
    hidden: torch.Tensor, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> None:
    """Add a product to `hidden`, of shape (tiles, patches, outputs); see `product`."""
    hidden, rows = hidden.flatten(0, 1), rows.flatten(0, 1)
    if _fused is None or rows.dtype != torch.bfloat16:
        hidden += bias
        hidden.addmm_(rows, weight.t())
        return
    parts = 2 if len(rows) <= _CUT_ROWS else 1
    for old, some in zip(hidden.chunk(parts), rows.chunk(parts), strict=True):
        old.copy_(_fused.binary(some, old, weight, bias, "add"))
