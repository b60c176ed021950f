"""What the engine computes on, and in which numbers."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from vlmchat.engine.threads import threads
from vlmchat.errors import ModelError


@dataclass(frozen=True, slots=True)
class Hardware:
    """The device of one engine.

    Attributes:
        device: ``cpu`` or ``cuda``.
        dtype: what the device multiplies fast.
        available: bytes of memory that are free on it.
    """

    device: str
    dtype: torch.dtype
    available: int

    @property
    def value_bytes(self) -> int:
        """Bytes of one plain value."""
        return self.dtype.itemsize


def find_hardware(wanted: str) -> Hardware:
    """Return the device for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ModelError: CUDA was asked for and there is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a missing driver is an answer, not a warning
        cuda = torch.cuda.is_available()
    if wanted == "cuda" and not cuda:
        raise ModelError(
            "There is no CUDA device that this PyTorch can use: take --device cpu, "
            "or see vlmchat doctor."
        )
    if cuda and wanted != "cpu":
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return Hardware("cuda", dtype, torch.cuda.mem_get_info()[0])
    return Hardware("cpu", cpu_dtype(), psutil.virtual_memory().available)


def free_memory(device: str) -> int:
    """Return how many bytes are free now in the memory of ``cpu`` or ``cuda``."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def cpu_dtype() -> torch.dtype:
    """Return bfloat16 where the processor multiplies it in hardware, else float32.

    AMX and AVX512-BF16 do; elsewhere bfloat16 is emulated and several times slower.
    """
    return (
        torch.bfloat16 if _cpu_features() & {"amx_bf16", "avx512_bf16", "bf16"} else torch.float32
    )


def _cpu_features() -> set[str]:
    ask = getattr(torch.cpu, "get_capabilities", None)  # not in the oldest torch we take
    if ask is not None:
        return {name for name, has in ask().items() if has is True}
    try:
        return set(Path("/proc/cpuinfo").read_text("utf-8").split())
    except OSError:
        return set()


def use_threads(wanted: int) -> int:
    """Set how many threads torch uses and return it; 0 has it follow the load of the machine.

    The number is chosen, never inherited: more threads than free cores wait for each other at
    every layer and cost tenfold.
    """
    return threads.use(wanted)
