"""Memory that is given back: of weights that nobody looks at any more, and of what was freed.

Weights that were just loaded are views of one mapping of their file, which stays as long as one of
them is needed, and the pages that were looked at stay with it.
"""

import ctypes
import mmap
import sys
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch

_MAPS = Path("/proc/self/maps")


def let_go(weights: Iterable[torch.Tensor]) -> None:
    """Take weights out of this process's memory, as far as they lie in a mapping of a file.

    Whoever looks at them after all reads them from the file again, as they were loaded. Linux only;
    elsewhere they stay.
    """
    library = _c_library()
    if library is None:
        return
    files = _mapped_files()
    starts = [start for start, _ in files]
    for weight in weights:
        if weight.device.type != "cpu":
            continue
        begin = -(-weight.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (weight.data_ptr() + weight.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        place = bisect_right(starts, begin) - 1
        if begin < end and place >= 0 and end <= files[place][1]:
            library.madvise(
                ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED
            )


def trim() -> None:
    """Give freed memory back to the system; glibc keeps hundreds of megabytes of it otherwise.

    Takes milliseconds, and as long again where the memory is wanted anew.
    """
    give_back = getattr(_c_library(), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


@cache
def _c_library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform.startswith("linux") else None


def _mapped_files() -> list[tuple[int, int]]:
    """Return where files are mapped, in order."""
    found = []
    for line in _MAPS.read_text("utf-8", "replace").splitlines():
        place, _, _, _, inode, *_ = line.split(maxsplit=5)
        if inode != "0":
            start, _, end = place.partition("-")
            found.append((int(start, 16), int(end, 16)))
    return found
