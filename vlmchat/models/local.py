"""What is on this machine, and whether a folder holds a model that can be loaded."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vlmchat.errors import ModelError
from vlmchat.text import visible_line

ARCHITECTURES = ("idefics3", "smolvlm")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_NEEDED = ("config.json", "preprocessor_config.json", "tokenizer.json")
_INDEX = "model.safetensors.index.json"


def hub_cache() -> Path:
    """Return the folder of the Hub's cache, as the environment says at this moment."""
    own = os.environ.get("HF_HUB_CACHE")
    if own:
        return Path(own).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "huggingface" / "hub"


def cached_snapshot(repo_id: str, revision: str = "main") -> Path | None:
    """Return the folder of a model that the Hub's cache holds whole, or ``None``.

    Args:
        repo_id: ``owner/name``.
        revision: branch, tag or commit.

    The layout is the Hub client's: ``models--owner--name/refs/<revision>`` holds a commit, and
    ``snapshots/<commit>`` the files.
    """
    root = hub_cache() / f"models--{repo_id.replace('/', '--')}"
    try:
        commit = (root / "refs" / revision).read_text("utf-8").strip()
    except (OSError, ValueError):
        commit = revision
    folder = root / "snapshots" / commit
    return folder if commit and is_complete(folder) else None


def is_complete(folder: Path) -> bool:
    """Return whether every file that loading needs is in `folder`."""
    if not all((folder / name).is_file() for name in _NEEDED):
        return False
    index = folder / _INDEX
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    try:
        shards = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False
    return all((folder / str(shard)).is_file() for shard in shards)


def check_folder(folder: Path) -> dict[str, Any]:
    """Return the configuration of the model in `folder` after checking that it can be loaded.

    Only headers are read.

    Raises:
        ModelError: one sentence that names the file at fault.
    """
    shown = visible_line(str(folder))
    if not folder.is_dir():
        raise ModelError(f"There is no model folder “{shown}”: check the path.")
    config = _config(folder, shown)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = [p.name for p in sorted(folder.iterdir()) if p.suffix in _PICKLES]
        if pickles:
            raise ModelError(
                f"“{shown}” holds only pickle weights ({visible_line(pickles[0])}), which can run "
                "code when they are loaded: get the model as safetensors."
            )
        raise ModelError(f"“{shown}” holds no safetensors weights: fetch the model again.")
    for file in weights:
        _check_weights(file)
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing or not is_complete(folder):
        what = missing[0] if missing else "a part of the weights"
        raise ModelError(f"“{shown}” lacks {what}: fetch the model again.")
    return config


def _config(folder: Path, shown: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"“{shown}” is no model folder: it has no config.json.") from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The config.json in “{shown}” cannot be read ({visible_line(str(error))}): "
            "fetch the model again."
        ) from None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"“{shown}” is a model of type “{visible_line(str(kind))}”: vlmchat runs SmolVLM and "
            "SmolVLM2 (types idefics3 and smolvlm)."
        )
    assert isinstance(config, dict)
    return config


def _check_weights(file: Path) -> None:
    """Open the header; the library compares the promised length with the file's."""
    try:
        with safe_open(file, framework="np"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        reason = visible_line(str(error)).removeprefix("Error while deserializing header: ")
        raise ModelError(
            f"The weights file “{visible_line(str(file))}” is damaged ({reason}): "
            "delete it and fetch the model again."
        ) from None
