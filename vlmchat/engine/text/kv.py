"""The cache of keys and values that our own ways to run the text model share."""

import torch

from vlmchat.engine.text.model import TextShape

_STEP = 256


class KVCache:
    """Keys and values of one sequence in one block of memory that grows.

    Args:
        shape: of the text model.
        dtype: of the values.
        device: where they are.

    Attributes:
        data: shape (layers, 2, kv_heads, capacity, head_dim), contiguous; keys at 0 (rotated),
            values at 1. Whoever holds a pointer into it asks for it anew after `reserve`.
    """

    def __init__(
        self, shape: TextShape, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        self._shape = shape
        self.data = torch.empty(
            (shape.layers, 2, shape.kv_heads, 0, shape.head_dim), dtype=dtype, device=device
        )
        self._length = 0

    @property
    def length(self) -> int:
        """How many tokens it holds."""
        return self._length

    @length.setter
    def length(self, length: int) -> None:
        if not 0 <= length <= self.capacity:
            raise ValueError(f"{length} tokens in a cache for {self.capacity}")
        self._length = length

    @property
    def capacity(self) -> int:
        """How many tokens there is room for."""
        return int(self.data.shape[3])

    @property
    def nbytes(self) -> int:
        """How much memory it takes, unused room included."""
        return self.data.nbytes

    def reserve(self, more: int) -> None:
        """Make room for `more` tokens behind those there are."""
        wanted = self._length + more
        if wanted <= self.capacity:
            return
        # By a quarter at least, so that an answer of n tokens moves O(n) values in all.
        wanted = max(wanted, self._length + self._length // 4)
        self.data = self._moved(self._length, -(-wanted // _STEP) * _STEP)

    def crop(self, length: int) -> None:
        """Forget all tokens but the first `length`; the room stays."""
        self.length = min(length, self._length)

    def copy(self, length: int) -> "KVCache":
        """Return a cache of its own with the first `length` tokens."""
        length = min(length, self._length)
        other = KVCache(self._shape, self.data.dtype, self.data.device)
        other.data = self._moved(length, -(-length // _STEP) * _STEP)
        other.length = length
        return other

    def _moved(self, length: int, capacity: int) -> torch.Tensor:
        layers, _, heads, _, head_dim = self.data.shape
        data = self.data.new_empty((layers, 2, heads, capacity, head_dim))
        data[:, :, :, :length] = self.data[:, :, :, :length]
        return data
