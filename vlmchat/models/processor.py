"""How a model folder's processor cuts pictures, read without the library."""

import json
from pathlib import Path

from vlmchat.errors import ModelError
from vlmchat.media.tiles import ProcessorSpec
from vlmchat.models.local import read_json

# Two line feeds as byte-level tokenizers write them.
_BLANK_LINE = "\u010a\u010a"


def processor_spec(folder: Path) -> ProcessorSpec:
    """Return the settings of the model in `folder` that decide the tiles; blocking.

    Raises:
        ModelError: a configuration is missing, damaged, or says nothing of tiles.
    """
    config = read_json(folder / "config.json")
    preprocessor = read_json(folder / "preprocessor_config.json")
    try:
        return ProcessorSpec.from_configs(config, preprocessor, _blank_line_tokens(folder))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"The configuration in “{folder.name}” does not say how pictures are cut ({error!r}): "
            "fetch the model again."
        ) from error


def _blank_line_tokens(folder: Path) -> int:
    """Return how many tokens a blank line is; 1, as for all SmolVLM, where nothing is known."""
    try:
        vocabulary = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    except (OSError, ValueError, KeyError, TypeError):
        return 1
    return 1 if _BLANK_LINE in vocabulary else 2
