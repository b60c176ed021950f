"""The frozen text model as far as phase 1 needs it: its tokens and their embeddings.

The weights are those of a built demo model folder, in which the text model lies under the names it
has inside a SmolVLM.
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer

from vlmchat.demo.reading import plain_file
from vlmchat.errors import UsageError

TEXT = "model.text_model."
_EMBEDDING = f"{TEXT}embed_tokens.weight"


class Words:
    """A text model's vocabulary.

    Args:
        folder: of the whole model.

    Attributes:
        folder: the same.
        config: what its ``config.json`` says.
        embedding: (vocabulary, width), float32.

    Raises:
        UsageError: the folder holds no SmolVLM.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self.embedding = self.weight(_EMBEDDING)
        except Exception as error:  # the tokenizer raises what it likes
            raise UsageError(
                f"There is no demo model in {folder}: make it with “vlmchat demo”, or name another "
                f"folder with --model ({error})."
            ) from error
        self._encoded = lru_cache(maxsize=200_000)(self._encode)

    def weight(self, name: str) -> torch.Tensor:
        """Return one of the model's weights, in float32; the text model's as they were."""
        for file in filter(None, (plain_file(self.folder), self.folder / "model.safetensors")):
            with safe_open(file, "pt") as stored:
                if name in stored.keys():  # noqa: SIM118
                    found: torch.Tensor = stored.get_tensor(name)
                    return found.float()
        raise KeyError(name)

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text as it stands."""
        return self._encoded(text)

    def spelled(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text one character at a time, spaces too."""
        return tuple(token for letter in text for token in self.ids(letter))

    def special(self, name: str) -> int:
        """Return the id of a token that the vocabulary has by name.

        Raises:
            UsageError: it has none of this name.
        """
        found = self._tokenizer.token_to_id(name)
        if found is None:
            raise UsageError(f"This model has no token “{name}”: it is no SmolVLM.")
        return int(found)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
