"""In which numbers this processor multiplies matrices fast, found by trying.

Matrix units (AMX) multiply bfloat16 several times as fast as float32. The vector instructions for
bfloat16 that chips have without such units promise as much and often are slower than float32, by
almost half where this was written. Weights may be stored in either; what is multiplied a whole
prompt or picture at a time is worth converting a layer before.
"""

import math
import time
from functools import cache

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
