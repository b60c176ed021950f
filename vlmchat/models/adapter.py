"""Whether a folder holds an adapter that can be laid over a model: headers only, no weights."""

import json
from pathlib import Path

from vlmchat.errors import ModelError
from vlmchat.models.safetensors_header import read_header
from vlmchat.text import visible_line

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def check_adapter(folder: Path) -> None:
    """Check that `folder` holds an adapter as PEFT writes it.

    Whether it fits a model is seen when both are loaded.

    Raises:
        ModelError: it does not; one sentence that names the folder or the file.
    """
    shown = f"“{visible_line(str(folder))}”"
    try:
        if not folder.is_dir():
            what = "is a file, not an adapter's folder" if folder.exists() else "does not exist"
            raise ModelError(f"{shown} {what}: give the folder that PEFT saved.")
        if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
            raise ModelError(f"{shown} is no adapter folder: it must hold {CONFIG} and {WEIGHTS}.")
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{shown} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise ModelError(
            f"{CONFIG} in {shown} is not valid JSON: save the adapter anew."
        ) from error
    if not isinstance(config, dict) or not config.get("peft_type"):
        raise ModelError(f"{CONFIG} in {shown} says no “peft_type”: it is no adapter of PEFT's.")
    read_header(folder / WEIGHTS)
