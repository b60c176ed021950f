"""What the vision tower made of pictures, kept so that no picture is looked at twice.

An entry is found by all that decides it: the SHA-256 of the picture's file, the grid it was cut
by, how its pixels were prepared, and which weights looked at it. What is kept is never changed and
never handed to another picture.

The disk is not used unless it is asked for: features outlive the conversation there, and something
of the picture can be made out from them, while the person who deletes a private picture expects it
to be gone.
"""

import contextlib
import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vlmchat.media.tiles import TilePlan


@dataclass(frozen=True, slots=True)
class PictureKey:
    """What decides a picture's features.

    Attributes:
        sha256: of the picture's file.
        rows: of the grid of tiles; 0 without one.
        cols: likewise.
        side: of a tile, pixels.
        tokens: that the picture is to the text model.
        eyes: the weights that look, and how the pixels are prepared for them; see
            `vlmchat.engine.caching.eyes`.
    """

    sha256: str
    rows: int
    cols: int
    side: int
    tokens: int
    eyes: str

    @classmethod
    def of(cls, sha256: str, plan: TilePlan, eyes: str) -> "PictureKey":
        """Return the key of a picture that is cut by `plan`."""
        return cls(sha256, plan.rows, plan.cols, plan.tile, plan.image_tokens, eyes)

    def __str__(self) -> str:
        """Return all of it in one line."""
        grid = f"{self.rows}x{self.cols}x{self.side}"
        return f"{self.sha256} {grid} {self.tokens} {self.eyes}"


class FeatureCache:
    """Features by picture, the least recently used given up first; safe between threads.

    Args:
        budget: bytes in memory.
        disk: where they are kept on the disk too; ``None`` for nowhere.
    """

    def __init__(self, budget: int, disk: "FeatureFolder | None" = None) -> None:
        self._budget = budget
        self._disk = disk
        self._lock = threading.Lock()
        self._entries: OrderedDict[PictureKey, torch.Tensor] = OrderedDict()
        self._size = 0

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""
        return self._budget > 0

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._size

    def get(self, key: PictureKey) -> torch.Tensor | None:
        """Return a picture's features, of shape (tokens, hidden), on the CPU; not to be changed."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
                return found
        if self._disk is not None:
            found = self._disk.get(key)
            if found is not None:
                self._keep(key, found)
        return found

    def put(self, key: PictureKey, features: torch.Tensor) -> None:
        """Keep a copy of a picture's features.

        Raises:
            ValueError: they are not as many as the picture has tokens.
        """
        if features.dim() != 2 or len(features) != key.tokens:
            raise ValueError(f"{tuple(features.shape)} for {key.tokens} tokens")
        own = features.detach().to("cpu", copy=True).contiguous()
        self._keep(key, own)
        if self._disk is not None:
            self._disk.put(key, own)

    def _keep(self, key: PictureKey, features: torch.Tensor) -> None:
        if features.nbytes > self._budget:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            self._size += features.nbytes - (0 if old is None else old.nbytes)
            self._entries[key] = features
            while self._size > self._budget:
                self._size -= self._entries.popitem(last=False)[1].nbytes


class FeatureFolder:
    """Features in a folder, a file a picture, the least recently used deleted first.

    What cannot be read or written is as if it were not there.

    Args:
        folder: made when the first picture is kept; for its owner's eyes only.
        budget: bytes of all files together.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        self._folder = folder
        self._budget = budget
        self._size: int | None = None

    def _file(self, key: PictureKey) -> Path:
        return self._folder / f"{hashlib.sha256(str(key).encode()).hexdigest()}.safetensors"

    def get(self, key: PictureKey) -> torch.Tensor | None:
        """Return a picture's features."""
        path = self._file(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("key") != str(key):
                    return None
                features: torch.Tensor = file.get_tensor("features").clone()
            os.utime(path)
        except (OSError, SafetensorError):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return features if len(features) == key.tokens else None

    def put(self, key: PictureKey, features: torch.Tensor) -> None:
        """Keep a picture's features; the file is whole or not there."""
        with contextlib.suppress(OSError, SafetensorError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as part:
                path = Path(part.name)
            try:
                save_file({"features": features}, path, {"key": str(key)})
                size = path.stat().st_size
                path.replace(self._file(key))
            finally:
                path.unlink(missing_ok=True)
            # Counting the files each time would take longer, the more of them there are.
            self._size = None if self._size is None else self._size + size
            if self._size is None or self._size > self._budget:
                self._make_room()

    def _make_room(self) -> None:
        files = [(path, path.stat()) for path in self._folder.glob("*.safetensors")]
        size = sum(stat.st_size for _, stat in files)
        for path, stat in sorted(files, key=lambda item: item[1].st_mtime_ns):
            if size <= self._budget:
                break
            path.unlink(missing_ok=True)
            size -= stat.st_size
        self._size = size
