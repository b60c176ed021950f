"""What a safetensors file says of itself, read without its weights.

Format: 8 bytes little-endian header length, the header as JSON, then the tensors' bytes
(https://huggingface.co/docs/safetensors).
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from vlmchat.errors import ModelError
from vlmchat.text import visible_line

_MAX_HEADER = 100_000_000  # the format's own limit
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file: its `dtype` as the format names it (``BF16``) and its `shape`."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


def read_metadata(file: Path) -> dict[str, str]:
    """Return what whoever wrote `file` noted in it.

    Raises:
        ModelError: the file cannot be read, or is no safetensors file.
    """
    _, _, text = _header(file)
    try:
        noted = json.loads(text).get("__metadata__") or {}
        return {str(key): str(value) for key, value in noted.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        name = visible_line(file.name)
        raise ModelError(f"“{name}” is corrupted: its header cannot be read.") from error


def _header(file: Path) -> tuple[int, int, bytes]:
    """Return a file's size, its header's length, and its header."""
    name = visible_line(file.name)
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            start = stream.read(_LENGTH.size)
            length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else _MAX_HEADER + 1
            text = stream.read(length) if length <= min(_MAX_HEADER, size) else b""
    except OSError as error:
        raise ModelError(f"“{name}” cannot be read ({error.strerror}).") from error
    return size, length, text


def read_header(file: Path) -> Mapping[str, TensorInfo]:
    """Return the tensors that `file` says it holds, by name.

    Raises:
        ModelError: the file cannot be read, is no safetensors file, or is cut short.
    """
    name = visible_line(file.name)
    size, length, text = _header(file)
    try:
        tensors, end = _parse(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"“{name}” is corrupted: its safetensors header cannot be read; fetch the model again."
        ) from error
    expected = _LENGTH.size + length + end
    if size != expected:
        kind = "cut short" if size < expected else "corrupted"
        raise ModelError(
            f"“{name}” is {kind}: it holds {size:,} bytes and its header tells of {expected:,}; "
            "fetch the model again."
        )
    return tensors


def _parse(header: object) -> tuple[dict[str, TensorInfo], int]:
    """Return the tensors and where the last one ends after the header, bytes."""
    if not isinstance(header, dict):
        raise TypeError("not an object")
    tensors, end = {}, 0
    for key, value in header.items():
        if key == "__metadata__":
            continue
        shape = tuple(int(side) for side in value["shape"])
        tensors[str(key)] = TensorInfo(str(value["dtype"]), shape)
        end = max(end, int(value["data_offsets"][1]))
    return tensors, end
