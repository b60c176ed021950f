"""Phase 1: every image token is trained to be one token of the picture's caption.

What a picture shows is written as a canonical caption of as many places as there are image tokens
(`vlmchat.demo.drawing.captions`). The target of a place is the text model's own embedding of the
token there. No text model runs: the loss is a cross-entropy over the cosines to all tokens that
captions can have, all measured from the mean embedding, and a squared distance, which brings the
tokens to the length that the text model knows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - as everywhere

from vlmchat.demo.drawing.captions import BLANK, BLANK_WEIGHT, Slot
from vlmchat.demo.training.settings import Slots
from vlmchat.demo.training.words import Words


@dataclass(frozen=True, slots=True)
class Targets:
    """What image tokens are to be, each of shape (pictures, places).

    Attributes:
        tokens: places in `Captions.vocabulary`, int64.
        weights: of the loss, float32.
        filled: whether a place says something, bool.
    """

    tokens: torch.Tensor
    weights: torch.Tensor
    filled: torch.Tensor


class Captions:
    """Turns captions into targets.

    Args:
        words: the text model's vocabulary.
        texts: everything that slots of captions can say.
        places: image tokens of a picture.

    Attributes:
        vocabulary: ids of all tokens that captions can have, sorted, (candidates,), int64.
    """

    def __init__(self, words: Words, texts: Iterable[str], places: int) -> None:
        self._words = words
        self._places = places
        (self._blank,) = words.ids(BLANK)
        found = {self._blank} | {token for text in texts for token in words.ids(text)}
        self.vocabulary = torch.tensor(sorted(found))
        self._place = {token: place for place, token in enumerate(sorted(found))}

    def __call__(self, captions: Sequence[Sequence[Slot]]) -> Targets:
        """Return the targets of pictures by their captions.

        Raises:
            KeyError: a caption has a token that was not in `texts`.
            ValueError: a caption is too long for its places.
        """
        shape = (len(captions), self._places)
        tokens = np.full(shape, self._place[self._blank])
        weights = np.full(shape, BLANK_WEIGHT, np.float32)
        filled = np.zeros(shape, bool)
        for number, slots in enumerate(captions):
            at = 0
            for slot in slots:
                ids = self._words.ids(slot.text)[: slot.places]
                end = at + len(ids)
                if at + slot.places > self._places:
                    raise ValueError(f"a caption takes more than {self._places} places")
                tokens[number, at:end] = [self._place[token] for token in ids]
                weights[number, at:end] = slot.weight
                filled[number, at:end] = True
                at += slot.places
        return Targets(*(torch.from_numpy(array) for array in (tokens, weights, filled)))


class SlotLoss(torch.nn.Module):
    """The loss of image tokens against caption tokens.

    Args:
        words: the text model's vocabulary.
        vocabulary: ids of all tokens that captions can have.
        settings: weights.
    """

    centre: torch.Tensor
    table: torch.Tensor
    directions: torch.Tensor

    def __init__(self, words: Words, vocabulary: torch.Tensor, settings: Slots) -> None:
        super().__init__()
        self._scale, self._distance = settings.scale, settings.distance
        rows = words.embedding
        centre = rows.mean(0)
        table = rows[vocabulary]
        self._spread = float((table - centre).square().mean())
        for name, tensor in (
            ("centre", centre),
            ("table", table),
            ("directions", F.normalize(table - centre, dim=1)),
        ):
            self.register_buffer(name, tensor, persistent=False)

    def forward(
        self, tokens: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss, and at which places the nearest token is the right one.

        Args:
            tokens: (pictures, places, width), what the tower makes.
            wanted: (pictures, places), places in the vocabulary.
            weights: (pictures, places).
        """
        tokens = tokens.float()
        cosines = F.normalize(tokens - self.centre, dim=-1) @ self.directions.T
        logits = self._scale * cosines.float()
        # A picture that says much counts more than one that says little, but not in proportion.
        each = weights / weights.sum(1, keepdim=True).sqrt()
        each = each / each.sum()
        entropy = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
        apart = (tokens - self.table[wanted]).square().mean(-1) / self._spread
        loss = (entropy * each.flatten()).sum() + self._distance * (apart * each).sum()
        return loss, logits.argmax(-1) == wanted
