"""Features of pictures: each its own, unchanged, under a budget, and whole on the disk."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.adapters import save_adapter
from tests.engine.caching import noting_model
from vlmchat.engine.adapters import wear
from vlmchat.engine.caching.eyes import eyes_of
from vlmchat.engine.caching.features import FeatureCache, FeatureFolder, PictureKey

KEY = PictureKey("00" * 32, 1, 2, 32, 3, "eyes")


def values(number: float) -> torch.Tensor:
    return torch.full((3, 4), number)


def test_every_part_of_the_key_tells_pictures_apart(tmp_path: Path) -> None:
    cache = FeatureCache(1 << 20, FeatureFolder(tmp_path, 1 << 20))
    others: dict[str, Any] = {"sha256": "11" * 32, "rows": 2, "cols": 1, "side": 64, "eyes": "b"}
    cache.put(KEY, values(1))
    for name, value in others.items():
        assert cache.get(replace(KEY, **{name: value})) is None
    again = FeatureCache(1 << 20, FeatureFolder(tmp_path, 1 << 20))
    for name, value in others.items():
        assert again.get(replace(KEY, **{name: value})) is None
    found = again.get(KEY)
    assert found is not None and torch.equal(found, values(1))
    with pytest.raises(ValueError, match="3 tokens"):
        cache.put(KEY, torch.ones(4, 4))


def test_entries_do_not_change_with_what_they_were_made_of() -> None:
    cache = FeatureCache(1 << 20)
    made = values(1)
    cache.put(KEY, made)
    made.fill_(2)
    found = cache.get(KEY)
    assert found is not None and torch.equal(found, values(1))


def test_the_least_recently_used_goes_first() -> None:
    cache = FeatureCache(values(0).nbytes * 2)
    keys = [replace(KEY, rows=row) for row in range(3)]
    cache.put(keys[0], values(0))
    cache.put(keys[1], values(1))
    cache.get(keys[0])
    cache.put(keys[2], values(2))
    assert [cache.get(key) is not None for key in keys] == [True, False, True]
    assert cache.nbytes == values(0).nbytes * 2
    FeatureCache(0).put(KEY, values(0))


def test_no_picture_is_ever_anothers() -> None:
    """Many threads, few places, keys that differ in one part only."""
    cache = FeatureCache(values(0).nbytes * 5)
    keys = [
        PictureKey(f"{sha:064x}", rows, cols, 32, 3, eyes)
        for sha, rows, cols, eyes in product(range(3), (1, 2), (1, 2), ("a", "b"))
    ]

    def work(begin: int) -> int:
        found = 0
        for turn in range(400):
            number = (begin + turn * turn) % len(keys)
            features = cache.get(keys[number])
            if features is None:
                cache.put(keys[number], values(number))
            else:
                found += 1
                assert torch.equal(features, values(number))
        return found

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) > 0
    assert cache.nbytes <= values(0).nbytes * 5


def test_the_disk_keeps_whole_files_under_a_budget(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    disk = FeatureFolder(folder, 1)
    disk.put(KEY, values(1))
    assert list(folder.iterdir()) == [] and folder.stat().st_mode & 0o077 == 0
    disk = FeatureFolder(folder, 1000)
    for row in range(9):
        disk.put(replace(KEY, rows=row), values(row))
    kept = list(folder.iterdir())
    assert 1 < len(kept) < 9 and all(path.stat().st_mode & 0o077 == 0 for path in kept)
    newest = replace(KEY, rows=8)
    found = disk.get(newest)
    assert found is not None and torch.equal(found, values(8))
    for path in kept:
        path.write_bytes(path.read_bytes()[:-4])
    assert disk.get(newest) is None
    assert len(list(folder.iterdir())) == len(kept) - 1


def test_a_file_that_is_anothers_is_not_taken(tmp_path: Path) -> None:
    disk = FeatureFolder(tmp_path, 1 << 20)
    disk.put(KEY, values(1))
    other = replace(KEY, rows=9)
    disk._file(KEY).rename(disk._file(other))
    assert disk.get(other) is None


def test_eyes_change_with_the_tower_only(tiny_model: Path, tmp_path: Path) -> None:
    loaded, _ = noting_model(tiny_model)
    text = wear(loaded, "text", save_adapter(tiny_model, tmp_path / "text"))
    pattern = r".*vision_model.*(q_proj|v_proj)"
    tower = save_adapter(tiny_model, tmp_path / "tower", target_modules=pattern)
    seeing = wear(loaded, "seeing", tower)
    assert eyes_of(loaded) == eyes_of(text) != eyes_of(seeing)
    assert eyes_of(replace(loaded, quantization="8bit")) != eyes_of(loaded)
