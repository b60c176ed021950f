"""Which model to take when the person named none."""

from collections.abc import Collection

from vlmchat.models.catalogue import CatalogueEntry, Quantization, by_id

# A CPU answers with the 2.2B at a crawl: it comes last there, however much memory there is.
_ON_CPU = (
    "smolvlm2-500m",
    "smolvlm-500m",
    "smolvlm2-256m",
    "smolvlm-256m",
    "smolvlm2-2.2b",
    "smolvlm-2.2b",
)
_ON_GPU = (
    "smolvlm2-2.2b",
    "smolvlm-2.2b",
    "smolvlm2-500m",
    "smolvlm-500m",
    "smolvlm2-256m",
    "smolvlm-256m",
)
_TO_FETCH = {"cpu": ("smolvlm2-500m", "smolvlm2-256m")}
_TO_FETCH_ON_GPU = ("smolvlm2-2.2b", "smolvlm2-500m", "smolvlm2-256m")


def best_present(present: Collection[str], memory_bytes: int, device: str) -> CatalogueEntry | None:
    """Return the best of the models on this machine that fits, or None.

    Whole weights are preferred to a bigger model quantized to 4 bits.

    Args:
        present: short names of the models that are complete here.
        memory_bytes: free on the device.
        device: ``cpu`` or ``cuda``.
    """
    order = _ON_CPU if device == "cpu" else _ON_GPU
    here = [by_id(name) for name in order if name in present]
    quantizations: tuple[Quantization, ...] = ("none", "4bit")
    for quantization in quantizations:
        for entry in here:
            if entry.memory_bytes(quantization) <= memory_bytes:
                return entry
    return None


def best_to_fetch(memory_bytes: int, device: str) -> CatalogueEntry | None:
    """Return the catalogue's model that suits this hardware, or None if none fits."""
    for name in _TO_FETCH.get(device, _TO_FETCH_ON_GPU):
        entry = by_id(name)
        if entry.memory_bytes("none") <= memory_bytes:
            return entry
    return None
