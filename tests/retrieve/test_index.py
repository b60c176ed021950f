"""The index beside the pictures: kept, picked up again, and rid of what is gone."""

import json
from pathlib import Path

import pytest
import torch

from tests.pictures import saved
from vlmchat import paths
from vlmchat.engine.caching.features import FeatureFolder, PictureKey
from vlmchat.errors import UsageError
from vlmchat.media.images import load_media
from vlmchat.retrieve.gathering import media_in, sentences_in
from vlmchat.retrieve.index import HIDDEN_NAME, FolderIndex


def key_of(path: Path) -> PictureKey:
    return PictureKey(load_media(path).sha256, 0, 0, 32, 4, "eyes")


def look(index: FolderIndex, path: Path) -> None:
    """Do what the engine does with a picture, and note it."""
    key = key_of(path)
    FeatureFolder(index.features, 1 << 20).put(key, torch.ones(4, 8))
    index.note(path, [key.sha256])


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "pics"
    folder.mkdir()
    files = [saved(folder / f"{colour}.png", colour=colour) for colour in ("red", "green", "blue")]
    keys = [key_of(path) for path in files]
    index, remark = FolderIndex.open(folder)
    assert (index.home, remark, index.files) == (folder / HIDDEN_NAME, "", 0)
    for path in files:
        look(index, path)
    assert index.close() == 0 and not list(index.home.glob(".new-*"))
    assert (index.home / ".gitignore").read_text() == "*\n"
    again, _ = FolderIndex.open(folder)
    assert again.files == 3
    files[0].unlink()
    saved(files[1], colour="gold")  # another picture under the same name, not looked at again
    (index.features / "damaged.safetensors").write_bytes(b"no")
    assert again.close() == 3 and again.files == 1
    kept = FeatureFolder(index.features, 1 << 20)
    assert [kept.get(key) is not None for key in keys] == [False, False, True]
    # A list that cannot be understood is no error: what belongs to it is looked at anew.
    (index.home / "index.json").write_text(json.dumps({"version": 1, "files": [3]}))
    assert FolderIndex.open(folder)[0].files == 0


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "pics"
    folder.mkdir()
    photo = saved(folder / "photo.png")
    (folder / HIDDEN_NAME).write_text("in the way")
    index, remark = FolderIndex.open(folder)
    assert index.home.is_relative_to(paths.cache_dir()) and str(index.home) in remark
    look(index, photo)
    assert index.close() == 0 and FolderIndex.open(folder)[0].files == 1
    assert (folder / HIDDEN_NAME).read_text() == "in the way"


def test_what_is_searched(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "film.mp4", ".hidden.png", "notes.txt", "in/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / HIDDEN_NAME).mkdir()
    (tmp_path / HIDDEN_NAME / "d.png").touch()
    names = [path.name for path in media_in(tmp_path, recursive=False)]
    assert names == ["a.png", "b.JPG", "film.mp4"]
    deep = [path.name for path in media_in(tmp_path, recursive=True)]
    assert deep == [*names, "c.webp"]
    (tmp_path / "out" / "in").mkdir(parents=True)
    with pytest.raises(UsageError, match="--recursive"):
        media_in(tmp_path / "out", recursive=False)
    with pytest.raises(UsageError, match="is no folder"):
        media_in(tmp_path / "a.png", recursive=True)
    assert sentences_in("\ufeffone\r\n\n two \none\n".encode(), "x") == ["one", "two"]
    for data, words in ((b"\xff", "not UTF-8"), (b" \n", "no sentences")):
        with pytest.raises(UsageError, match=words):
            sentences_in(data, "x")
