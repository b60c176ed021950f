"""In which numbers a training multiplies, and in what memory.

Three things make a processor with matrix units (AMX) train twice as fast: products in bfloat16, no
``tanh`` (`vlmchat.demo.training.tower.gelu`), and large pages. Without these a product spends most
of its time on finding the pages of its result: 4.6 ms instead of 1.7 ms for 1 800 rows of 256 by
1 024, measured on a Xeon of the fourth generation.
"""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch

from vlmchat.demo.training.settings import Run, Settings
from vlmchat.engine.products import product_dtype

_TUNABLES = "GLIBC_TUNABLES"
# Ask the system for large pages, and give no memory back that the next step needs again.
_LARGE_PAGES = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in {
        "hugetlb": 1,
        "mmap_threshold": 1 << 32,
        "trim_threshold": 1 << 33,
    }.items()
)


def settled(settings: Settings) -> Settings:
    """Return settings that name the numbers, where they said to take what is fastest here."""
    if settings.run.numbers != "auto":
        return settings
    on_cpu = settings.run.device == "cpu"
    fastest = product_dtype() if on_cpu else torch.bfloat16
    name = "bfloat16" if fastest is torch.bfloat16 else "float32"
    return replace(settings, run=replace(settings.run, numbers=name))


def dtype(run: Run) -> torch.dtype:
    """Return what is multiplied, by settled settings."""
    return torch.float32 if run.numbers == "float32" else torch.bfloat16


def products(run: Run) -> AbstractContextManager[Any]:
    """Return what makes products be computed in the numbers that settled settings name."""
    if run.numbers == "float32":
        return nullcontext()
    return torch.autocast(run.device, torch.bfloat16)


def with_large_pages() -> None:
    """Start this program again with large pages, where the C library is GNU's.

    Nothing happens on other systems, or where somebody has set its tunables.
    """
    if sys.platform != "linux" or _TUNABLES in os.environ:
        return
    os.environ[_TUNABLES] = _LARGE_PAGES  # another C library does not look at it
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
