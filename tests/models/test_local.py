"""What is on this machine, and which folders are fit to load."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmchat.errors import ModelError
from vlmchat.models import local
from vlmchat.models.progress import ignore_progress
from vlmchat.models.resolve import resolve

COMMIT = "b" * 40


def put_into_cache(model: Path, repo_id: str, commit: str = COMMIT) -> Path:
    repository = local.repository_folder(repo_id)
    snapshot = repository / "snapshots" / commit
    shutil.copytree(model, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return snapshot


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def test_the_cache_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "one"))
    assert local.hub_cache() == tmp_path / "one"
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "two"))
    assert local.hub_cache() == tmp_path / "two" / "hub"


def test_a_cached_model_is_found_by_branch_and_commit(tiny_model: Path) -> None:
    snapshot = put_into_cache(tiny_model, "owner/tiny")
    assert local.find_snapshot("owner/tiny") == (snapshot, COMMIT)
    assert local.find_snapshot("owner/tiny", COMMIT) == (snapshot, COMMIT)
    assert local.find_snapshot("owner/tiny", "../../..") is None
    assert local.find_snapshot("owner/other") is None


def test_a_model_with_a_missing_shard_is_not_complete(model: Path) -> None:
    weight_map = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (model / local.INDEX_NAME).write_text(json.dumps({"weight_map": weight_map}))
    (model / "model.safetensors").rename(model / "model-1.safetensors")
    assert not local.is_complete(model)
    with pytest.raises(ModelError, match=r"model-2\.safetensors” is missing"):
        local.check_folder(model)


def test_an_index_cannot_point_out_of_its_folder(model: Path) -> None:
    (model / local.INDEX_NAME).write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    with pytest.raises(ModelError, match="corrupted"):
        local.check_folder(model)


def _truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


CASES: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / "config.json").unlink(), "holds no config.json"),
    (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
    (lambda f: (f / "config.json").write_text("[1]"), "not a JSON object"),
    (lambda f: (f / "config.json").write_text('{"model_type": "llava"}'), "of type “llava”"),
    (lambda f: (f / "config.json").write_text('{"model_type": "\x1b[2J"}'), "not valid JSON"),
    (lambda f: (f / "config.json").write_text('{"model_type": "\\u001b[2J"}'), "␛"),
    (_truncate, "“model.safetensors” is cut short"),
    (lambda f: (f / "model.safetensors").write_bytes(b""), "corrupted"),
    (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 64), "corrupted"),
    (lambda f: (f / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{]"), "corrupted"),
    (lambda f: (f / "model.safetensors").unlink(), "holds no model weights"),
    (_only_pickles, "holds only pickle weights, which can run code"),
    (lambda f: (f / "tokenizer.json").unlink(), "holds no tokenizer.json"),
    (lambda f: (f / "preprocessor_config.json").unlink(), "holds no preprocessor_config.json"),
    (shutil.rmtree, "does not exist"),
]


@pytest.mark.parametrize(("spoil", "said"), CASES)
def test_a_spoiled_folder_is_refused_in_one_sentence(
    model: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(model)
    with pytest.raises(ModelError) as caught:
        resolve(str(model), ignore_progress, memory_bytes=10**9, device="cpu")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_file_is_not_a_folder(model: Path) -> None:
    with pytest.raises(ModelError, match="is a file"):
        resolve(str(model / "config.json"), ignore_progress, memory_bytes=0, device="cpu")


def test_parameters_are_counted_as_torch_counts_them(model: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(model / "model.safetensors")
    assert local.footprint_of(model).parameters == sum(one.numel() for one in tensors.values())


def test_a_good_folder_resolves(model: Path) -> None:
    found = resolve(str(model), ignore_progress, memory_bytes=0, device="cpu")
    assert found.path == model.resolve()
    assert not found.is_demo
