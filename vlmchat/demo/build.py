"""Putting the demo model together, once: text weights + the shipped vision tower = one folder.

``python -m vlmchat.demo.build`` does it from the shell and prints its progress as JSON lines.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vlmchat import paths
from vlmchat.demo.fetch import fetch_gguf
from vlmchat.errors import ModelError, VlmchatError
from vlmchat.models.hub import free_bytes
from vlmchat.models.local import check_folder
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import human_bytes

WEIGHTS = Path(__file__).parent / "weights"
_RECIPE = "1"
"""Changed whenever this file would make another folder of the same weights."""
_MODEL_BYTES = 290_000_000
_BASE_VOCABULARY = 49152


def demo_path() -> Path:
    """Return where the finished demo model lies or will lie; the name tells its contents."""
    digest = hashlib.sha256(_RECIPE.encode())
    digest.update((WEIGHTS / "vision.safetensors").read_bytes())
    return paths.cache_dir() / "demo" / digest.hexdigest()[:12]


def prepare_demo(progress: ProgressSink) -> Path:
    """Return the folder of the demo model, put together if it is not there yet.

    Safe with several processes at once: one works, the others wait for it.

    Raises:
        ModelError: the text weights cannot be had, or the disk is full.
    """
    target = demo_path()
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(target) + ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress(Progress("downloading", "Another vlmchat is fetching the demo model: waiting"))
        lock.acquire()
    try:
        if not target.is_dir():
            _build(target, progress)
    except OSError as error:
        raise ModelError(
            f"The demo model could not be written to {target.parent} "
            f"({error.strerror or error}): make room, or set VLMCHAT_HOME to another disk."
        ) from error
    finally:
        lock.release()
    return target


def _build(target: Path, progress: ProgressSink) -> None:
    for left in target.parent.glob("building-*"):  # we hold the lock: nobody works there
        shutil.rmtree(left, ignore_errors=True)
    free = free_bytes(target.parent)
    if free < _MODEL_BYTES:
        raise ModelError(
            f"The demo model needs {human_bytes(2 * _MODEL_BYTES)} of disk for a moment and "
            f"{human_bytes(_MODEL_BYTES)} afterwards; {human_bytes(free)} are free in "
            f"{target.parent}: make room."
        )
    with tempfile.TemporaryDirectory(prefix="building-", dir=target.parent) as name:
        working = Path(name)
        gguf = fetch_gguf(working, progress)
        progress(Progress("converting", "Putting the demo model together (once)"))
        folder = working / "model"
        assemble(gguf, folder)
        check_folder(folder)
        _sync(folder)
        folder.rename(target)


def assemble(gguf: Path, folder: Path) -> None:
    """Write the demo model into `folder`.

    Args:
        gguf: SmolLM2-135M-Instruct as GGUF.
        folder: made here.

    The vocabulary grows from 49 152 to 49 280 tokens, as SmolVLM's does. Each added row of the
    (tied) embedding is the mean of all rows: its logit is the mean logit, which is never the
    largest, so that text-only chat stays exactly the text model's own.
    """
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as library_logging

    library_logging.disable_progress_bar()
    source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    text = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.bfloat16, **source)
    config = json.loads((WEIGHTS / "config.json").read_text("utf-8"))
    tensors = load_file(WEIGHTS / "vision.safetensors")
    for name, tensor in text.state_dict().items():
        if name.startswith("lm_head"):
            continue  # tied to the embedding
        value = tensor.to(torch.bfloat16)
        if name == "model.embed_tokens.weight":
            added = config["text_config"]["vocab_size"] - len(value)
            mean = value.float().mean(0, keepdim=True).to(value.dtype)
            value = torch.cat([value, mean.expand(added, -1)])
        tensors[f"model.text_model.{name.removeprefix('model.')}"] = value.contiguous()
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
    _save_tokenizer(tokenizer, folder)
    for name in ("config.json", "generation_config.json"):
        shutil.copyfile(WEIGHTS / name, folder / name)
    for name in ("preprocessor_config.json", "processor_config.json", "chat_template.jinja"):
        shutil.copyfile(WEIGHTS / name, folder / name)


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:  # noqa: ANN401
    """Add SmolVLM's tokens at the ids that the configuration names, and save."""
    settings = json.loads((WEIGHTS / "tokenizer_config.json").read_text("utf-8"))
    added = settings["extra_special_tokens"]
    tokenizer.add_special_tokens({"additional_special_tokens": added})
    first = tokenizer.convert_tokens_to_ids(added[0])
    if first != _BASE_VOCABULARY or len(tokenizer) != _BASE_VOCABULARY + len(added):
        raise ModelError(
            f"The text model's vocabulary ends at {first}, not {_BASE_VOCABULARY}: "
            "the installed transformers reads it otherwise than the demo was made for."
        )
    tokenizer.save_pretrained(folder)
    shutil.copyfile(WEIGHTS / "tokenizer_config.json", folder / "tokenizer_config.json")


def _sync(folder: Path) -> None:
    """Have the files on the disk before the folder gets its final name."""
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def main() -> int:
    """Build the demo model; print progress and the result as JSON lines."""

    def show(step: Progress) -> None:
        print(json.dumps(dataclasses.asdict(step)), flush=True)

    try:
        path = prepare_demo(show)
    except VlmchatError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return error.exit_code
    print(json.dumps({"path": str(path)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
