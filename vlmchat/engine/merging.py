"""``python -m vlmchat.engine.merging``: an adapter merged into its base, as a model of its own.

Every layer is merged in float32 from the base's own file and rounded once. The files are laid out
as the base's are, with the same names and shapes, so that whatever loads the base loads them. At
the end the result is loaded and asked something, beside the base with the adapter over it.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from vlmchat.chat.messages import ImagePart, Message, TextPart
from vlmchat.engine.__main__ import exit_with_parent
from vlmchat.engine.adapters import merged_layer, wear
from vlmchat.engine.hardware import find_hardware
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.vision import encode_tiles
from vlmchat.errors import ModelError, VlmchatError
from vlmchat.models.adapter import check_mergeable
from vlmchat.models.local import check_folder, footprint_of, weight_files
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import visible_line

# What a model folder has besides weights; README and the like speak of the base alone.
_COPIED = (".json", ".jinja", ".txt", ".model")
# Largest difference of a logit that rounding the merged weights explains, as a share of the
# largest logit: 8 bits of mantissa against 24.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Check:
    """How much the merged model's logits differ from those of base and adapter.

    Attributes:
        largest: difference.
        scale: largest logit.
        dtype: that was computed in.
    """

    largest: float
    scale: float
    dtype: str


def merge(base: Path, adapter: Path, out: Path, progress: ProgressSink) -> Check:
    """Write the merged model into `out`.

    Args:
        base: folder of the model.
        adapter: folder of the adapter.
        out: an empty folder.
        progress: is told what happens.

    Raises:
        ModelError: the adapter does not fit, has nothing to merge, or what came out is not the
            same.
        OSError: the disk is full.
    """
    check_folder(base)
    check_mergeable(adapter)
    loaded = _load(base, _check_dtype(base), progress)
    progress(Progress("loading", "Laying the adapter over it"))
    tuned = wear(loaded, adapter.name, adapter)
    before = logits(tuned)
    dtype = loaded.hardware.dtype
    files = weight_files(base)
    changed = dict(_merged(tuned.model, base))
    del tuned, loaded
    for number, name in enumerate(files):
        progress(Progress("converting", "Writing the merged weights", number, len(files)))
        _write_shard(base / name, out / name, changed)
    for file in base.iterdir():
        if file.is_file() and file.suffix in _COPIED and not file.name.startswith("."):
            shutil.copyfile(file, out / file.name)
    progress(Progress("loading", "Comparing it with base and adapter"))
    again = _load(out, _name(dtype), progress)
    after = logits(again)
    check = Check(float((after - before).abs().max()), float(before.abs().max()), _name(dtype))
    stored = {torch.float32, *(value.dtype for value in changed.values())}
    allowed = max(_TOLERANCE.get(kind, 0.1) for kind in (dtype, *stored))
    if not check.largest <= allowed * check.scale:
        raise ModelError(
            f"The merged model does not answer as base and adapter do (a logit differs by "
            f"{check.largest:.3g} of {check.scale:.3g}): nothing was written."
        )
    return check


def _load(folder: Path, dtype: str, progress: ProgressSink) -> LoadedModel:
    """Return the model in a folder with the library's modules, whole and not quantized."""
    return load_model(LoadOptions(str(folder), "none", "cpu", dtype=dtype, library=True), progress)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_dtype(base: Path) -> str:
    """Return float32, which shows the smallest differences, where the memory is enough for it."""
    hardware = find_hardware("cpu")
    needed = 2 * _FLOAT32_BYTES * footprint_of(base).parameters
    return "float32" if needed < hardware.available else _name(hardware.dtype)


def _merged(model: Any, base: Path) -> Iterator[tuple[str, torch.Tensor]]:  # noqa: ANN401
    """Yield name and merged weights of every layer that the adapter changes, as the base has them.

    `model` is a view that nobody needs afterwards.

    Raises:
        ModelError: the adapter changes what the base's files do not have by that name.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper, ModulesToSaveWrapper

    stored = _Stored(base)
    tied = bool(model.config.tie_word_embeddings)
    for key, layer in model.named_modules():
        if isinstance(layer, AuxiliaryTrainingWrapper):
            if not isinstance(layer, ModulesToSaveWrapper):
                raise ModelError(f"The adapter's part {visible_line(key)} cannot be merged.")
            values = dict(layer.modules_to_save["default"].named_parameters())
        elif isinstance(layer, BaseTunerLayer):
            names = dict(layer.get_base_layer().named_parameters(recurse=False))
            # What the files say; the model's weights may be rounded, or fewer bits.
            values = merged_layer(layer, {name: stored.read(f"{key}.{name}") for name in names})
        else:
            continue
        for name, value in values.items():
            whole = f"{key}.{name}"
            if tied and ("embed_tokens" in key or key == "lm_head"):
                raise ModelError(
                    f"The adapter changes {visible_line(key)}, which this model uses twice: it "
                    "cannot be merged into one."
                )
            yield whole, value.detach().to(stored.dtype(whole)).contiguous()


class _Stored:
    """The tensors in a model's files.

    Args:
        folder: of the model.
    """

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, Path] = {}
        for name in weight_files(folder):
            with safe_open(folder / name, framework="pt") as file:
                self._files |= dict.fromkeys(file.keys(), folder / name)

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor.

        Raises:
            ModelError: there is none of that name.
        """
        if name not in self._files:
            raise ModelError(
                f"The base's files have no {visible_line(name)}, which the adapter changes: it "
                "cannot be merged."
            )
        with safe_open(self._files[name], framework="pt") as file:
            value: torch.Tensor = file.get_tensor(name)
        return value

    def dtype(self, name: str) -> torch.dtype:
        """Return the type of a tensor's numbers."""
        return self.read(name).dtype


def _write_shard(source: Path, target: Path, changed: dict[str, torch.Tensor]) -> None:
    """Write a file of weights anew, with those instead that changed."""
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata() or {"format": "pt"}
        values = {name: changed.get(name, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    save_file(values, target, metadata=metadata)


@torch.inference_mode()
def logits(loaded: LoadedModel) -> torch.Tensor:
    """Return the logits behind each token of a short prompt with a picture, as float32."""
    picture = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    prompt = loaded.builder.build(_question(picture))
    pixels = [loaded.tile_maker.tiles(image) for image in prompt.images]
    features = encode_tiles(loaded.model, pixels, lambda: None)
    ids = torch.tensor([prompt.ids], device=loaded.model.device)
    out = loaded.model(input_ids=ids, mm_encoder_outputs={"image": features}, use_cache=False)
    result: torch.Tensor = out.logits[0].float()
    return result


def _question(picture: Image.Image) -> list[Message]:
    from io import BytesIO

    from vlmchat.media.images import media_from_bytes

    data = BytesIO()
    picture.save(data, "PNG")
    part = ImagePart(media_from_bytes(data.getvalue(), "gradient.png"), "low")
    return [Message("user", (part, TextPart("What do you see in this picture?")))]


# The process --------------------------------------------------------------------------------------


def main() -> int:
    """Merge, telling each step on standard output; return the exit code."""
    parser = argparse.ArgumentParser("python -m vlmchat.engine.merging", description=__doc__)
    for name in ("--base", "--adapter", "--out"):
        parser.add_argument(name, type=Path, required=True)
    options = parser.parse_args()
    exit_with_parent()
    tell = _teller()

    def progress(step: Progress) -> None:
        tell({"text": step.text, "done": step.done, "total": step.total})

    try:
        check = merge(options.base, options.adapter, options.out, progress)
        _settle(options.out)
    except VlmchatError as error:
        tell({"error": str(error)})
        return 3
    except OSError as error:
        tell({"error": f"The merged model cannot be written ({error.strerror or error})."})
        return 3
    except MemoryError:
        tell({"error": "The memory is not enough to merge this model."})
        return 3
    tell({"largest": check.largest, "scale": check.scale, "dtype": check.dtype})
    return 0


def _teller() -> Callable[[dict[str, Any]], None]:
    """Return what writes a line to the parent; whatever libraries print goes to standard error."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(row: dict[str, Any]) -> None:
        print(json.dumps(row), file=lines, flush=True)

    return tell


def _settle(folder: Path) -> None:
    """Make every file durable."""
    from vlmchat.finetune.files import sync_folder

    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    sync_folder(folder)


if __name__ == "__main__":
    sys.exit(main())
