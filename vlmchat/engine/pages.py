"""Memory of weights that nobody looks at any more.

Weights that were just loaded are views of one mapping of their file, which stays as long as one of
them is needed, and the pages that were looked at stay with it.
"""

import ctypes
import mmap
import sys
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path

import torch

_MAPS = Path("/proc/self/maps")


def let_go(weights: Iterable[torch.Tensor]) -> None:
    """Take weights out of this process's memory, as far as they lie in a mapping of a file.

    Whoever looks at them after all reads them from the file again, as they were loaded. Linux only;
    elsewhere they stay.
    """
    if not sys.platform.startswith("linux"):
        return
    files = _mapped_files()
    starts = [start for start, _ in files]
    advise = ctypes.CDLL(None).madvise
    for weight in weights:
        if weight.device.type != "cpu":
            continue
        begin = -(-weight.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (weight.data_ptr() + weight.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        place = bisect_right(starts, begin) - 1
        if begin < end and place >= 0 and end <= files[place][1]:
            advise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def _mapped_files() -> list[tuple[int, int]]:
    """Return where files are mapped, in order."""
    found = []
    for line in _MAPS.read_text("utf-8", "replace").splitlines():
        place, _, _, _, inode, *_ = line.split(maxsplit=5)
        if inode != "0":
            start, _, end = place.partition("-")
            found.append((int(start, 16), int(end, 16)))
    return found
