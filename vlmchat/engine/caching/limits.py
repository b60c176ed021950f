"""How much the caches may keep; plain values, no torch."""

from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """Bytes that the engine's caches may take.

    Attributes:
        prefixes: of conversations that have been read; 0 keeps none, ``None`` takes a quarter of
            the memory that is free when the first is kept, at most 2 GiB.
        pictures: of pictures that have been looked at.
        disk: of pictures' features on the disk; 0 keeps none there.
        folder: where on the disk; ``None`` for the cache folder.
    """

    prefixes: int | None = None
    pictures: int = 256 * MEBIBYTE
    disk: int = 0
    folder: Path | None = None
