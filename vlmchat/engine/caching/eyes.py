"""Which weights look at pictures, and how pixels are prepared for them, as a name."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmchat.media.rules import rules

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel

# Counted up when the same pixels come to give other features.
_VERSION = 1


def eyes_of(loaded: "LoadedModel") -> str:
    """Return a name that changes with whatever changes a picture's features, but the picture.

    These are the weight files (by place, size and time, as hashing them would take longer than
    looking at a picture), the precision, the processor's settings, what is laid under transparent
    pixels, and the adapter, if it changes the tower or the connector.
    """
    folder, hardware = loaded.folder, loaded.hardware
    said = {
        "version": _VERSION,
        "model": [folder.id, folder.revision, *_files(folder.path)],
        "numbers": [loaded.quantization, hardware.device, str(hardware.dtype)],
        "processor": asdict(loaded.builder.spec),
        "pixels": loaded.tile_maker.settings,
        "background": str(rules().background),
        "adapter": "" if _same_tower(loaded) else loaded.adapter,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _files(folder: Path) -> list[str]:
    found = sorted(folder.glob("*.safetensors"))
    return [f"{path.resolve()} {(s := path.stat()).st_size} {s.st_mtime_ns}" for path in found]


def _same_tower(loaded: "LoadedModel") -> bool:
    """Return whether the adapter left the tower and the connector as they are."""
    if loaded.base is None:
        return True
    return _weights(loaded.model) == _weights(loaded.base.model)


def _weights(model: Any) -> list[dict[str, int]]:  # noqa: ANN401 - two classes without a typed base
    parts = (model.model.vision_model, model.model.connector)
    return [{name: id(weight) for name, weight in part.named_parameters()} for part in parts]
