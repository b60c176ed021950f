"""Which models are on this machine, and whether a model folder is whole and safe to load."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmchat.errors import ModelError
from vlmchat.models.catalogue import CATALOGUE, CatalogueEntry
from vlmchat.models.footprint import Footprint
from vlmchat.models.safetensors_header import TensorInfo, read_header
from vlmchat.text import visible_line

MODEL_TYPES = ("smolvlm", "idefics3")
PLAIN = "plain"
"""Folder in a model's that may hold its text model's layers as they were before it saw pictures:
they answer where there is none. The demo model has one."""
READING = "reading"
"""What such a model's own adapter is called, with which its text model reads pictures."""
INDEX_NAME = "model.safetensors.index.json"
_NEEDED = ("config.json", "tokenizer.json", "preprocessor_config.json")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_QUANTIZABLE = re.compile(r"text_model\.layers\..*_proj\.weight$")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_cache() -> Path:
    """Return the folder of the Hub's cache as the environment names it now (it may not exist).

    The rules are those of ``huggingface_hub.constants``, which reads the environment only once.
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(name):
            return Path(value).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def repository_folder(repo_id: str) -> Path:
    """Return where the Hub's cache keeps ``owner/name``."""
    return hub_cache() / ("models--" + repo_id.replace("/", "--"))


def find_snapshot(repo_id: str, revision: str = "") -> tuple[Path, str] | None:
    """Return the folder and commit of a cached, complete model, or None.

    Args:
        repo_id: ``owner/name``; upper and lower case count.
        revision: branch, tag or commit; empty for ``main``.
    """
    repository = repository_folder(repo_id)
    revision = revision or "main"
    commit = revision if _COMMIT.fullmatch(revision) else _read_reference(repository, revision)
    if commit is None:
        return None
    folder = repository / "snapshots" / commit
    return (folder, commit) if is_complete(folder) else None


def _read_reference(repository: Path, revision: str) -> str | None:
    if ".." in Path(revision).parts or Path(revision).is_absolute():
        return None
    try:
        commit = (repository / "refs" / revision).read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def is_complete(folder: Path) -> bool:
    """Return whether every file that the model needs is in `folder` (contents are not read)."""
    try:
        return all((folder / name).is_file() for name in _NEEDED) and all(
            (folder / shard).is_file() for shard in weight_files(folder)
        )
    except ModelError:
        return False


def weight_files(folder: Path) -> list[str]:
    """Return the names of the safetensors files of the model, those of the index if it has one.

    Raises:
        ModelError: there are none, or the index cannot be read.
    """
    index = folder / INDEX_NAME
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        names = set(weight_map.values()) if isinstance(weight_map, dict) else set()
        if not names or not all(isinstance(one, str) and Path(one).name == one for one in names):
            raise ModelError(f"“{INDEX_NAME}” is corrupted: fetch the model again.")
        return sorted(names)
    names = {file.name for file in folder.glob("*.safetensors")}
    # The loader takes this one when it is there; adapters and other extras may lie beside it.
    if "model.safetensors" in names:
        return ["model.safetensors"]
    if names:
        return sorted(names)
    shown = f"“{visible_line(str(folder))}”"
    if any(file.suffix in _PICKLES for file in folder.iterdir()):
        raise ModelError(
            f"{shown} holds only pickle weights, which can run code when loaded: "
            "convert them to safetensors or choose another model."
        )
    raise ModelError(f"{shown} holds no model weights (*.safetensors).")


def check_folder(folder: Path) -> None:
    """Check that `folder` holds a model that the engine can load; headers only, no weights.

    Raises:
        ModelError: it does not; one sentence that names the file.
    """
    shown = f"“{visible_line(str(folder))}”"
    if not folder.is_dir():
        what = "is a file, not a model folder" if folder.exists() else "does not exist"
        raise ModelError(f"{shown} {what}: give a model's folder, a catalogue name or a Hub id.")
    try:
        present = {file.name for file in folder.iterdir()}
    except OSError as error:
        raise ModelError(f"The folder {shown} cannot be read ({error.strerror}).") from error
    if "config.json" not in present:
        raise ModelError(f"{shown} is no model folder: it holds no config.json.")
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in MODEL_TYPES:
        named = f"of type “{visible_line(str(kind))}”" if kind else "of no stated type"
        raise ModelError(
            f"The model in {shown} is {named}: vlmchat runs {' and '.join(MODEL_TYPES)} models."
        )
    for name in weight_files(folder):
        if not (folder / name).is_file():
            raise ModelError(f"“{visible_line(name)}” is missing in {shown}: fetch it again.")
        read_header(folder / name)
    for name in _NEEDED:
        if name not in present:
            raise ModelError(f"{shown} is not complete: it holds no {name}.")
        read_json(folder / name)


def tensors(folder: Path) -> Mapping[str, TensorInfo]:
    """Return every tensor of the model in `folder` by name, from the files' headers.

    Raises:
        ModelError: a weight file is missing or corrupted.
    """
    found: dict[str, TensorInfo] = {}
    for name in weight_files(folder):
        found |= read_header(folder / name)
    return found


def footprint_of(folder: Path) -> Footprint:
    """Return what decides the memory that the model in `folder` takes, from headers alone.

    Raises:
        ModelError: the configuration cannot be read, or a weight file is missing or corrupted.
    """
    quantizable = other = 0
    for name, tensor in tensors(folder).items():
        if _QUANTIZABLE.search(name):
            quantizable += tensor.parameters
        else:
            other += tensor.parameters
    text = read_json(folder / "config.json").get("text_config", {})
    # What a configuration leaves out is Llama's default.
    heads = int(text.get("num_attention_heads", 32))
    head_dim = int(text.get("head_dim") or int(text.get("hidden_size", 4096)) // heads)
    kv_heads = int(text.get("num_key_value_heads") or heads)
    layers = int(text.get("num_hidden_layers", 32))
    return Footprint(quantizable, other, 2 * layers * kv_heads * head_dim)


def catalogue_on_this_machine() -> dict[str, Path]:
    """Return the folders of the catalogue's models that are complete here, by short name.

    The demo model is not among them; see `vlmchat.models.demo_model`.
    """
    found: dict[str, Path] = {}
    for entry in CATALOGUE:
        if snapshot := _snapshot_of(entry):
            found[entry.id] = snapshot
    return found


def _snapshot_of(entry: CatalogueEntry) -> Path | None:
    found = find_snapshot(entry.hub_id) if entry.hub_id else None
    return found[0] if found else None


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a model.

    Raises:
        ModelError: it cannot be read or is none.
    """
    shown = f"“{visible_line(file.name)}” in “{visible_line(str(file.parent))}”"
    try:
        value = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{shown} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{shown} is not valid JSON: fetch the model again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{shown} is not a JSON object: fetch the model again.")
    return value
