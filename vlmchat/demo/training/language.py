"""Phase 3: questions are answered by the text model, and the tower learns from its answers.

The gradient of the answers' cross-entropy goes through the text model, with the adapter that it has
learned to read with, to the image tokens and from there into the tower; neither text model nor
adapter changes. Further pictures are trained as in phase 1 in the same pass of the tower, so that
what it knows stays.
"""

from random import Random

import numpy as np
import torch

from vlmchat.demo.drawing.facts import Mark
from vlmchat.demo.training import marks, numerics, pictures
from vlmchat.demo.training.adapter import Adapter
from vlmchat.demo.training.asking import Asking, arrays
from vlmchat.demo.training.curriculum import Wanted
from vlmchat.demo.training.reports import Report
from vlmchat.demo.training.settings import SINGLES, Settings
from vlmchat.demo.training.slots import Captions, SlotLoss
from vlmchat.demo.training.tower import Tower
from vlmchat.demo.training.vocabulary import texts
from vlmchat.demo.training.words import Words


class LanguageTrainer:
    """Trains a tower through the frozen text model.

    Args:
        tower: what is trained, on its device.
        words: the text model's vocabulary.
        settings: all of them.
        adapter: what the text model reads with, on the same device.

    Attributes:
        kinds: what is drawn.
    """

    def __init__(
        self, tower: Tower, words: Words, settings: Settings, adapter: Adapter | None = None
    ) -> None:
        self.kinds = settings.curriculum.asked
        self._settings = settings
        self._device = torch.device(settings.run.device)
        self._captions = Captions(words, texts(), tower.shape.tokens)
        self._slots = SlotLoss(words, self._captions.vocabulary, settings.slots).to(self._device)
        self._tower = tower
        self._beside = marks.MarkLoss(settings.marks)
        forward = self._forward
        self._run = torch.compile(forward, dynamic=False) if settings.run.compile else forward
        self._asking = Asking(words, tower.shape.tokens, settings, adapter)

    def step(self, random: Random, wanted: Wanted) -> Report:
        """Draw lessons, and add to the tower's gradients what is to be learned from them.

        Args:
            random: decides what is drawn and asked.
            wanted: how often and how hard.
        """
        own, augment = self._settings.language, self._settings.augment
        room = own.images - own.slots_only
        chosen = self._asking.lessons(random, wanted, own.lessons, room)
        kinds, lessons = [kind for kind, _ in chosen], [lesson for _, lesson in chosen]
        write = self._asking.prompts.write
        prompts = [write(one, random, own.questions) for one in lessons]
        asked = arrays(lessons, random, augment.shift)
        alone = {kind: it for kind, it in wanted.weights.items() if kind in SINGLES}
        rest = own.images - len(asked)
        ahead = self._settings.curriculum.ahead
        further = pictures.batch(random, rest, alone, wanted.levels, augment, ahead)
        pixels = torch.cat([torch.from_numpy(np.stack(asked)), further.pixels])
        gain, lift = pictures.light(random, own.images, augment)
        # The pictures that are asked about come first, and their patches are asked nothing.
        silent: list[tuple[Mark, ...]] = [()] * len(asked)
        offsets = [(0, 0)] * len(asked) + further.offsets
        classes = marks.wanted(self._tower.shape, silent + further.marks, offsets)
        made, beside = self._run(*(it.to(self._device) for it in (pixels, gain, lift, classes)))
        loss, report = self._asking.answered(made[: len(asked)], kinds, prompts)
        targets = self._captions(further.captions)
        with numerics.products(self._settings.run):
            slots, _ = self._slots(
                made[len(asked) :],
                targets.tokens.to(self._device),
                targets.weights.to(self._device),
            )
        torch.autograd.backward(loss + own.slots_weight * (slots + beside))
        report.losses |= {"slots": float(slots.detach()), "marks": float(beside.detach())}
        report.images = own.images
        return report

    def measure(self, worker: int, workers: int) -> Report:
        """Return how this worker's part of the questions that are never trained on goes."""
        return self._asking.measured(self.kinds, self._see, worker, workers)

    def _see(self, pixels: torch.Tensor) -> torch.Tensor:
        with numerics.products(self._settings.run):
            made: torch.Tensor = self._tower(pixels)
        return made

    def _forward(
        self, pixels: torch.Tensor, gain: torch.Tensor, lift: torch.Tensor, classes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the image tokens, and the loss of what patches say."""
        with numerics.products(self._settings.run):
            made, said = self._tower.asked(pixels, gain, lift, self._settings.marks.layers)
            return made, self._beside(said, classes)[0]
