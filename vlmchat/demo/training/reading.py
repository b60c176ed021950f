"""Phase 2: an adapter of the text model learns to read image tokens, and to answer from them.

What a tower is taught in phase 1 is known: the embeddings of a caption. So most lessons need no
tower, which the captions stand for; the others show what it really makes of their pictures,
mistakes and all. The tower does not change, and may go on with phase 1 meanwhile.
"""

from collections.abc import Sequence
from random import Random

import numpy as np
import torch

from vlmchat.demo.drawing.captions import captions
from vlmchat.demo.drawing.examples import Lesson
from vlmchat.demo.training import numerics, pictures
from vlmchat.demo.training.adapter import Adapter
from vlmchat.demo.training.asking import Asking, arrays
from vlmchat.demo.training.curriculum import Wanted
from vlmchat.demo.training.reports import Report
from vlmchat.demo.training.settings import Settings
from vlmchat.demo.training.slots import Captions
from vlmchat.demo.training.tower import Tower
from vlmchat.demo.training.vocabulary import texts
from vlmchat.demo.training.words import Words


class ReadingTrainer:
    """Trains an adapter on what the tower makes of pictures, or is to make of them.

    Args:
        adapter: what is trained, on its device.
        tower: sees, on the same device.
        words: the text model's vocabulary.
        settings: all of them.

    Attributes:
        kinds: what is drawn.
    """

    def __init__(self, adapter: Adapter, tower: Tower, words: Words, settings: Settings) -> None:
        self.kinds = settings.curriculum.asked
        self._settings = settings
        self._device = torch.device(settings.run.device)
        self._tower = tower
        self._asking = Asking(words, tower.shape.tokens, settings, adapter)
        self._captions = Captions(words, texts(), tower.shape.tokens)
        self._said = words.embedding[self._captions.vocabulary].to(self._device)

    def step(self, random: Random, wanted: Wanted) -> Report:
        """Draw lessons, and add to the adapter's gradients what is to be learned from them.

        Args:
            random: decides what is drawn and asked.
            wanted: how often and how hard.

        Returns:
            How it went; the scores of lessons that show pictures begin with ``shown/``, where there
            are others. So what the tower does not see is not asked more often.
        """
        own, questions = self._settings.reading, self._settings.language.questions
        chosen = self._asking.lessons(random, wanted, own.lessons, float("inf"))
        kinds, lessons = [kind for kind, _ in chosen], [lesson for _, lesson in chosen]
        prompts = [
            self._asking.prompts.write(one, random, questions, turns=random.random() < own.turns)
            for one in lessons
        ]
        shown = [random.random() >= own.told for _ in lessons]
        made = self._made(lessons, shown, random)
        prefixes = ["shown/" if it and own.told > 0 else "" for it in shown]
        loss, report = self._asking.answered(made, kinds, prompts, prefixes)
        torch.autograd.backward(loss)
        report.images = sum(len(one.images) for one in lessons)
        return report

    def measure(self, worker: int, workers: int) -> Report:
        """Return how this worker's part of the questions that are never trained on goes."""
        return self._asking.measured(self.kinds, self._see, worker, workers)

    @torch.no_grad()
    def _made(
        self, lessons: Sequence[Lesson], shown: Sequence[bool], random: Random
    ) -> torch.Tensor:
        """Return image tokens of all lessons' pictures, (pictures, places, width)."""
        told = self._captions([said for one in lessons for said in captions(one.facts)])
        made = self._said[told.tokens.to(self._device)]
        places: list[int] = []
        at = 0
        for one, show in zip(lessons, shown, strict=True):
            places += range(at, at + len(one.images)) if show else ()
            at += len(one.images)
        if not places:
            return made
        seen = [one for one, show in zip(lessons, shown, strict=True) if show]
        augment = self._settings.augment
        pixels = torch.from_numpy(np.stack(arrays(seen, random, augment.shift)))
        light = pictures.light(random, len(pixels), augment)
        made[places] = self._see(pixels.to(self._device), *light).float()
        return made

    def _see(self, pixels: torch.Tensor, *light: torch.Tensor) -> torch.Tensor:
        with numerics.products(self._settings.run):
            made: torch.Tensor = self._tower(pixels, *(it.to(self._device) for it in light))
        return made
