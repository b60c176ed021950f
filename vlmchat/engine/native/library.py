"""The compiled decode step, as ctypes sees it: the functions at the end of ``decode.cpp``."""

import ctypes
import threading
import weakref
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import ClassVar

import torch

VERSION = 3  # kVersion in decode.cpp
MOST = 16  # kMost in decode.cpp
_BITS = {torch.bfloat16: 16, torch.float32: 32}


class ShapeStruct(Structure):
    """``Shape``."""

    _fields_: ClassVar = [
        *((name, c_int32) for name in ("layers", "hidden", "heads", "kv_heads", "head_dim")),
        *((name, c_int32) for name in ("ffn", "vocab", "positions")),
        ("eps", c_float),
    ]


class MatrixStruct(Structure):
    """``Matrix``."""

    _fields_: ClassVar = [
        ("data", c_void_p),
        *((name, c_int32) for name in ("rows", "columns", "bits", "unused")),
    ]


class LayerStruct(Structure):
    """``Layer``."""

    _fields_: ClassVar = [
        ("input_norm", c_void_p),
        ("ffn_norm", c_void_p),
        *((name, MatrixStruct) for name in ("qkv", "output", "gate_up", "down")),
    ]


class TokenStruct(Structure):
    """``Token``."""

    _fields_: ClassVar = [
        *((name, c_void_p) for name in ("embedding", "cache", "logits")),
        *((name, c_int32) for name in ("capacity", "position", "bits", "embedding_bits")),
    ]


_FUNCTIONS = {
    "vlmchat_version": (c_int32, ()),
    "vlmchat_variant": (c_char_p, ()),
    "vlmchat_team": (c_void_p, ()),
    "vlmchat_team_free": (None, (c_void_p,)),
    "vlmchat_team_resize": (c_int32, (c_void_p, c_int32)),
    "vlmchat_packed_bytes": (c_int64, (c_int32, c_int32, c_int32)),
    "vlmchat_convert": (
        None,
        (c_void_p, c_void_p, c_int32, c_void_p, c_int32, c_int32, c_int32, c_int32),
    ),
    "vlmchat_multiply": (c_int32, (c_void_p, POINTER(MatrixStruct), c_void_p, c_void_p)),
    "vlmchat_decoder": (
        c_void_p,
        (
            c_void_p,
            POINTER(ShapeStruct),
            POINTER(LayerStruct),
            POINTER(MatrixStruct),
            c_void_p,
            c_void_p,
            c_void_p,
        ),
    ),
    "vlmchat_decoder_free": (None, (c_void_p,)),
    "vlmchat_step": (c_int32, (c_void_p, POINTER(TokenStruct), c_int32)),
}


def bits_of(dtype: torch.dtype) -> int:
    """Return how the library names a dtype of plain values.

    Raises:
        ValueError: it has no name for it.
    """
    if dtype not in _BITS:
        raise ValueError(f"The native step takes bfloat16 and float32, not {dtype}.")
    return _BITS[dtype]


def freed_with(owner: object, free: Callable[[c_void_p], None], handle: int) -> None:
    """Free what the library made when its owner is gone.

    Not when the program ends: another thread may be computing then, and the system frees all.
    """
    weakref.finalize(owner, free, c_void_p(handle)).atexit = False


class Library:
    """A compiled ``decode.cpp``.

    Args:
        path: of the shared library.

    Attributes:
        variant: which instructions it was compiled for: ``avx512`` or ``avx2``.

    Raises:
        OSError: it cannot be loaded, or is not of this version.
    """

    def __init__(self, path: Path) -> None:
        self.functions = ctypes.CDLL(str(path))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self.functions, name, None)
            if function is None:
                raise OSError(f"{path.name} lacks {name}")
            function.restype, function.argtypes = result, arguments
        version = self.functions.vlmchat_version()
        if version != VERSION:
            raise OSError(f"{path.name} is of version {version}, not {VERSION}")
        self.variant: str = self.functions.vlmchat_variant().decode()


class Weight:
    """A matrix as the library multiplies it.

    Args:
        data: dense rows, or bytes as `Team.pack` made them.
        rows: of the matrix.
        columns: of the matrix.
        bits: 4 or 8 (packed), 16 or 32 (dense).
    """

    def __init__(self, data: torch.Tensor, rows: int, columns: int, bits: int) -> None:
        self.data, self.rows, self.columns, self.bits = data, rows, columns, bits
        self.struct = MatrixStruct(data.data_ptr(), rows, columns, bits, 0)

    @classmethod
    def dense(cls, matrix: torch.Tensor) -> "Weight":
        """Return a matrix of bfloat16 or float32 as it is."""
        matrix = matrix.contiguous()
        rows, columns = matrix.shape
        return cls(matrix, rows, columns, bits_of(matrix.dtype))


class Team:
    """Threads that work for one model; their number can change between calls.

    Args:
        library: which they work in.
        threads: how many.
    """

    def __init__(self, library: Library, threads: int) -> None:
        self._functions = library.functions
        self.handle = self._functions.vlmchat_team()
        if not self.handle:
            raise MemoryError("no memory for threads")
        self._wanted = self._have = 1
        freed_with(self, self._functions.vlmchat_team_free, self.handle)
        self._lock = threading.Lock()
        self.threads = threads

    @property
    def threads(self) -> int:
        """How many work at the next call, whoever is waiting for one now."""
        return self._wanted

    @threads.setter
    def threads(self, threads: int) -> None:
        self._wanted = max(1, threads)

    def ready(self) -> int:
        """Bring the threads to their number and return the handle."""
        with self._lock:
            if self._have != self._wanted:
                self._have = self._wanted
                self._functions.vlmchat_team_resize(self.handle, self._have)
        return int(self.handle)

    def pack(self, dense: torch.Tensor, bits: int) -> Weight:
        """Return a matrix in 4 or 8 bits.

        Args:
            dense: of bfloat16 or float32.
            bits: 4 or 8.

        Raises:
            ValueError: its rows are not of whole groups of 32 values.
        """
        rows, columns = dense.shape
        size = self._functions.vlmchat_packed_bytes(rows, columns, bits)
        if size < 0:
            raise ValueError(f"{columns} columns are not whole groups of 32.")
        dense = dense.contiguous()
        packed = Weight(torch.empty(size, dtype=torch.uint8), rows, columns, bits)
        self._functions.vlmchat_convert(
            self.ready(),
            dense.data_ptr(),
            bits_of(dense.dtype),
            packed.data.data_ptr(),
            *(rows, columns, bits, 1),
        )
        return packed

    def unpack(self, packed: Weight, out: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Write rows of a packed matrix into `out` and return it.

        Args:
            packed: of 4 or 8 bits.
            out: contiguous, of bfloat16 or float32: (some rows, columns).
            first: the row that comes first, a multiple of 16.
        """
        assert out.is_contiguous() and out.shape[1] == packed.columns and first % 16 == 0
        assert packed.bits in (4, 8) and first + len(out) <= packed.rows
        offset = self._functions.vlmchat_packed_bytes(first, packed.columns, packed.bits)
        self._functions.vlmchat_convert(
            self.ready(),
            out.data_ptr(),
            bits_of(out.dtype),
            packed.data.data_ptr() + max(0, offset),
            *(len(out), packed.columns, packed.bits, 0),
        )
        return out

    def multiply(self, weight: Weight, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Multiply a matrix with a vector into `out`, both contiguous float32, and return it."""
        assert x.is_contiguous() and out.is_contiguous()
        assert x.dtype == out.dtype == torch.float32
        assert x.shape == (weight.columns,) and out.shape == (weight.rows,)
        code = self._functions.vlmchat_multiply(
            self.ready(), byref(weight.struct), x.data_ptr(), out.data_ptr()
        )
        if code:
            raise MemoryError("no memory to multiply")
        return out
