"""Does a place matter? A part of a picture is hidden, and the answer's likelihood told anew.

Hiding is occlusion (arXiv:1311.2901, section 4.2): the part gets the mean colour of the picture,
and everything else is left as it is. The grey patch itself disturbs the model, too; what it does
elsewhere in the same size says how much.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

from PIL import Image, ImageStat

from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.caching.limits import CacheLimits
from vlmchat.engine.prompt import PlannedImage, Prompt
from vlmchat.engine.scoring import score
from vlmchat.media.images import decode
from vlmchat.media.tiles import Box

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel

_ROOM = 1 << 30  # bytes for the features of one conversation's pictures


class Hiding:
    """Tells how likely an answer is with parts of pictures hidden.

    Args:
        loaded: the model.
        prompt: before the answer.
        ids: of the answer, the token that ends it the last.
        cancel: set from another thread to stop.
        caches: what is known of the conversation; nothing with a hidden part is kept there.
    """

    def __init__(
        self,
        loaded: "LoadedModel",
        prompt: Prompt,
        ids: Sequence[int],
        cancel: Event,
        caches: Caches,
    ) -> None:
        self._loaded, self._prompt, self._ids, self._cancel = loaded, prompt, ids, cancel
        self._known = caches
        self._own = Caches(CacheLimits(pictures=_ROOM), loaded.hardware.device)
        for placed in self._known.placed(loaded, prompt):
            features = caches.features.get(placed.key)
            if features is not None:
                self._own.features.put(placed.key, features)

    def plain(self) -> tuple[float, ...]:
        """Return the log-probability of each token with nothing hidden.

        Raises:
            CancelledError: somebody stopped it.
        """
        return self._logprobs(self._prompt, self._known)

    def hidden(self, picture: int, boxes: Iterable[Box]) -> list[tuple[float, ...]]:
        """Return the log-probability of each token with one part hidden at a time.

        Args:
            picture: its index in the prompt.
            boxes: the parts, as fractions of the picture.

        Raises:
            CancelledError: somebody stopped it.
            MediaError: the picture cannot be decoded.
        """
        images = self._prompt.images
        image = images[picture]
        whole = decode(image.data, image.name)
        found = []
        for box in boxes:
            other = PlannedImage(_without(whole, box), image.name, image.plan)
            changed = (*images[:picture], other, *images[picture + 1 :])
            prompt = replace(self._prompt, images=changed)
            found.append(self._logprobs(prompt, self._own))
        return found

    def _logprobs(self, prompt: Prompt, caches: Caches) -> tuple[float, ...]:
        return score(self._loaded, prompt, [self._ids], self._cancel, caches).logprobs[0]


def _without(image: Image.Image, box: Box) -> bytes:
    """Return the picture with a part in its mean colour, as PNG."""
    image = image.convert("RGB")
    red, green, blue = (round(value) for value in ImageStat.Stat(image).mean)
    edges = (
        int(box.left * image.width),
        int(box.top * image.height),
        max(round(box.right * image.width), 1),
        max(round(box.bottom * image.height), 1),
    )
    image.paste((red, green, blue), edges)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
