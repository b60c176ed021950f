"""The text model as it was before it learned to read pictures, for where there are none.

A model folder may hold such layers (`vlmchat.models.local.PLAIN`); the demo's does. They are loaded
when somebody first asks without a picture.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vlmchat.engine.own import Embedding
from vlmchat.engine.text.choosing import OwnText, modules_text
from vlmchat.engine.text.files import FileWeights, has_layers
from vlmchat.engine.text.library import LibraryText
from vlmchat.engine.text.weights import TextWeights
from vlmchat.engine.views import with_layers
from vlmchat.errors import ModelError
from vlmchat.models.local import PLAIN

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel


class Plain:
    """A model with its plain layers, loaded when it is first wanted.

    Args:
        make: loads it.
    """

    def __init__(self, make: Callable[[], "LoadedModel"]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: LoadedModel | None = None

    def __call__(self) -> "LoadedModel":
        """Return it."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


def with_plain(loaded: "LoadedModel", *, library: bool) -> "LoadedModel":
    """Return a model that answers with its plain layers where there is no picture, if it has any.

    Args:
        loaded: as it reads pictures.
        library: leave the text model to the library.

    Raises:
        ModelError: there are plain layers of other shapes.
    """
    folder = loaded.folder.path / PLAIN
    if not folder.is_dir():
        return loaded
    if not has_layers(folder, loaded.model.config.get_text_config()):
        raise ModelError(
            f"The plain layers of {loaded.folder.title} do not fit it: fetch the model again."
        )

    def make() -> "LoadedModel":
        if isinstance(loaded.text, OwnText):
            source = _Source(loaded.model, folder, loaded.hardware.dtype)
            own = OwnText(
                *(source, Embedding(loaded.model), loaded.quantization),
                native=loaded.native != "off",
            )
            return replace(loaded, text=own)
        whole = with_layers(loaded.model, folder, loaded.hardware.dtype)
        whole = whole.to(loaded.model.device).eval()
        text = LibraryText(whole) if library else modules_text(whole)
        return replace(loaded, model=whole, text=text)

    return replace(loaded, plain=Plain(make))


@dataclass(frozen=True, slots=True)
class _Source:
    """Gives the plain weights, from their files."""

    model: Any
    folder: Path
    dtype: torch.dtype

    def __call__(self) -> TextWeights:
        return FileWeights(self.model, self.folder, self.dtype)
