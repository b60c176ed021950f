"""All that one engine keeps of its work."""

import weakref
from typing import TYPE_CHECKING, Any

from vlmchat import paths
from vlmchat.engine.caching.eyes import eyes_of
from vlmchat.engine.caching.features import FeatureCache, FeatureFolder, PictureKey
from vlmchat.engine.caching.limits import CacheLimits
from vlmchat.engine.caching.prefixes import PlacedPicture, PrefixCache
from vlmchat.engine.hardware import free_memory

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel
    from vlmchat.engine.prompt import Prompt


class Caches:
    """What was made of pictures and of conversations.

    Args:
        limits: how much may be kept.
        device: where the model is; conversations are kept there, pictures on the CPU.

    Attributes:
        features: of pictures.
        prefixes: of conversations.
    """

    def __init__(self, limits: CacheLimits | None = None, device: str = "cpu") -> None:
        limits = limits or CacheLimits()
        folder = None
        if limits.disk:
            place = limits.folder or paths.cache_dir() / "pictures"
            folder = FeatureFolder(place, limits.disk)
        self.features = FeatureCache(limits.pictures, folder)
        self.prefixes = PrefixCache(limits.prefixes, lambda: free_memory(device))
        self._eyes: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()

    def placed(self, loaded: "LoadedModel", prompt: "Prompt") -> tuple[PlacedPicture, ...]:
        """Return where the pictures of a prompt are, and which they are."""
        if not prompt.images:
            return ()
        eyes = self._eyes.get(loaded.model)
        if eyes is None:
            eyes = self._eyes[loaded.model] = eyes_of(loaded)
        keys = [PictureKey.of(image.sha256, image.plan, eyes) for image in prompt.images]
        return tuple(map(PlacedPicture, prompt.starts, keys))
