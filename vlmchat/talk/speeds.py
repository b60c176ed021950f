"""How fast each model looked and read on this machine, so that the next wait can be foretold.

Measured by the engine around its own work and kept from one start to the next, in the cache: what
is lost there is measured again.
"""

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmchat import paths
from vlmchat.client.protocol import ModelInfo
from vlmchat.errors import VlmchatError

# The median of so many answers: one that a busy machine spoilt does not count.
_KEPT = 9
_MODELS = 50
# Of fewer tokens the time is mostly that of getting started.
_FEWEST_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Speed:
    """What one model takes on this machine.

    Attributes:
        tile: seconds to decode, cut and encode one tile.
        token: seconds of prefill a token.
    """

    tile: float
    token: float


@dataclass(slots=True)
class _Measured:
    """The last measurements, oldest first, seconds."""

    tile: list[float] = field(default_factory=list)
    token: list[float] = field(default_factory=list)


class Speeds:
    """The measurements of all models, in a file.

    Args:
        path: the file; by default ``speeds.json`` in the cache folder.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._models: dict[str, _Measured] = {}

    def of(self, model: ModelInfo) -> Speed | None:
        """Return the speed of a model; ``None`` until it was measured."""
        found = self._models.get(_key(model))
        if found is None or not found.tile or not found.token:
            return None
        return Speed(_median(found.tile), _median(found.token))

    def load(self) -> None:
        """Read the file; blocking. One that is missing or damaged is as good as empty."""
        with self._lock:
            self._models = self._read() | self._models

    def note(self, model: ModelInfo, timings: Mapping[str, Any]) -> bool:
        """Take the measurements of an answer, and keep them; blocking.

        Args:
            model: what answered.
            timings: the engine's; without what the vision tower took, only the prefill counts.

        Returns:
            Whether there was anything to take.
        """
        tile, token = _measured(timings)
        if tile is None and token is None:
            return False
        with self._lock:
            models = self._read() | {}
            key = _key(model)
            found = models.pop(key, None) or self._models.get(key) or _Measured()
            for value, kept in ((tile, found.tile), (token, found.token)):
                if value is not None:
                    kept.append(value)
                    del kept[:-_KEPT]
            models[key] = found  # the newest is last
            while len(models) > _MODELS:
                del models[next(iter(models))]
            self._models = models
            self._write()
        return True

    def _file(self) -> Path:
        return self._path or paths.cache_dir() / "speeds.json"

    def _read(self) -> dict[str, _Measured]:
        try:
            rows = json.loads(self._file().read_text("utf-8"))
        except (OSError, ValueError, RecursionError, VlmchatError):
            return {}
        if not isinstance(rows, dict):
            return {}
        return {
            str(key): _Measured(_numbers(row.get("tile")), _numbers(row.get("token")))
            for key, row in rows.items()
            if isinstance(row, dict)
        }

    def _write(self) -> None:
        import tempfile

        rows = {key: {"tile": m.tile, "token": m.token} for key, m in self._models.items()}
        # Without a place for it, the speeds are known until the program ends.
        with contextlib.suppress(OSError, VlmchatError):
            path = self._file()
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".speeds-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(rows, file)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise


def _key(model: ModelInfo) -> str:
    return "\n".join((model.id, model.revision, model.quantization, model.device))


def _median(values: list[float]) -> float:
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _numbers(value: object) -> list[float]:
    if not isinstance(value, list):
        return []
    return [float(item) for item in value if _is_time(item)][-_KEPT:]


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6


def _measured(timings: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the seconds a tile and the seconds a token of one answer, as far as they are told."""
    tiles, vision = timings.get("vision_tiles", 0), timings.get("vision_ms", 0)
    tokens, prompt = timings.get("prompt_n", 0), timings.get("prompt_ms", 0)
    if not _is_time(prompt) or not _is_time(tokens) or tokens < _FEWEST_TOKENS:
        return None, None
    vision = vision if _is_time(vision) and vision < prompt else 0
    tile = vision / tiles / 1000 if vision and _is_time(tiles) else None
    return tile, (prompt - vision) / tokens / 1000
