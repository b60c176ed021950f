"""Models that give pictures and sentences places in one space, and where they are on this machine.

Known are CLIP (arXiv:2103.00020) and SigLIP (arXiv:2303.15343), as in the Hub's cache or in a
folder. Nothing is ever fetched.
"""

from pathlib import Path

from vlmchat.errors import ModelError
from vlmchat.models import local
from vlmchat.models.resolve import parse
from vlmchat.text import visible_line

MODEL_TYPES = ("clip", "siglip")


def find_embedder(spec: str) -> Path:
    """Return the folder of the embedding model that `spec` names.

    Args:
        spec: ``owner/name``, with ``@revision`` if wanted, or a folder.

    Raises:
        ModelError: it is not here, not whole, or no such model.
    """
    shown = visible_line(spec)
    source = parse(spec)
    if source.folder is not None:
        folder = source.folder.resolve()
        if not local.is_complete(folder):
            raise ModelError(
                f"“{shown}” holds no whole model: config.json, tokenizer.json, "
                "preprocessor_config.json and *.safetensors belong to one."
            )
    else:
        found = local.find_snapshot(source.hub_id, source.revision)
        if found is None:
            raise ModelError(
                f"“{shown}” is not in the Hub's cache on this machine: fetch it yourself "
                f"(hf download {shown}), or leave out --first-stage."
            )
        folder = found[0]
    kind = local.read_json(folder / "config.json").get("model_type")
    if kind not in MODEL_TYPES:
        raise ModelError(
            f"“{shown}” is of type “{visible_line(str(kind))}”: the first stage takes "
            f"{' and '.join(MODEL_TYPES)} models."
        )
    return folder
