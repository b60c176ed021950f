"""The cache keeps what was written, whatever is grown, cropped or copied."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.model import TextShape

SHAPE = TextShape(2, 12, 3, 1, 4, 16, 50, 1e-5, 8192)


def _write(cache: KVCache, count: int, number: int) -> None:
    cache.reserve(count)
    at = cache.length
    for index in range(count):
        cache.data[:, :, :, at + index] = number + index
    cache.length = at + count


@given(st.lists(st.tuples(st.sampled_from("acx"), st.integers(0, 700)), max_size=12))
def test_as_a_plain_list(script: list[tuple[str, int]]) -> None:
    cache, kept, number = KVCache(SHAPE, torch.float32), list[int](), 0
    for kind, count in script:
        if kind == "a":
            _write(cache, count, number)
            kept += range(number, number + count)
            number += count
        elif kind == "c":
            cache.crop(count)
            kept = kept[:count]
        else:
            before = cache
            cache = cache.copy(count)
            kept = kept[:count]
            before.data.fill_(-1)
        assert cache.length == len(kept) <= cache.capacity
        assert cache.data[0, 0, 0, : cache.length, 0].tolist() == kept
        assert cache.data[1, 1, 0, : cache.length, 3].tolist() == kept


def test_no_more_than_there_is_room_for() -> None:
    cache = KVCache(SHAPE, torch.float32)
    with pytest.raises(ValueError, match="5 tokens in a cache for 0"):
        cache.length = 5
