"""Which folder an adapter is, and whether it holds one: headers only, no weights."""

import json
import os
from pathlib import Path

from vlmchat import paths
from vlmchat.errors import ModelError
from vlmchat.models.safetensors_header import read_header
from vlmchat.text import visible_line

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
SHELF = "adapters"
# Kinds of PEFT's that are rows before the prompt; what they were computed from is not needed.
PROMPTS = ("PROMPT_TUNING", "P_TUNING")
OFF = "off"
"""In an adapter's place: none, not even the one that a model brings along."""


def find_adapter(spec: str) -> Path:
    """Return the folder that `spec` names, absolute: of an adapter on the shelf, else a path.

    What looks like a path (``./birds``) is one, whatever the shelf has. Whether there is an
    adapter in the folder is not looked at.
    """
    if is_on_shelf(spec):
        return paths.data_dir() / SHELF / spec
    return Path(spec).expanduser().absolute()


def for_engine(spec: str | None) -> str | None:
    """Return what the engine is told where an adapter is `spec`: its folder, `OFF`, or nothing."""
    return str(find_adapter(spec)) if spec and spec != OFF else spec


def is_on_shelf(spec: str) -> bool:
    """Return whether `spec` is the name of an adapter on the shelf."""
    looks_like_path = os.sep in spec or "/" in spec or spec.startswith(("~", "."))
    return not looks_like_path and (paths.data_dir() / SHELF / spec / CONFIG).is_file()


def any_on_shelf() -> bool:
    """Return whether there is any adapter on the shelf; blocking."""
    return next((paths.data_dir() / SHELF).glob(f"*/{CONFIG}"), None) is not None


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
            raise ModelError(
                f"{shown} {what}: give the folder that PEFT saved, or the name of one of "
                "`vlmchat adapters`."
            )
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


def check_mergeable(adapter: Path) -> None:
    """Refuse an adapter that has no weights to merge.

    Raises:
        ModelError: it is none, or a learned prompt.
    """
    check_adapter(adapter)
    if json.loads((adapter / CONFIG).read_text("utf-8"))["peft_type"] in PROMPTS:
        raise ModelError(
            f"The adapter “{visible_line(adapter.name)}” is a learned prompt, which changes no "
            "weights: there is nothing to merge; export it instead."
        )
