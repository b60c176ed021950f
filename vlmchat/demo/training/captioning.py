"""A step of phase 1: pictures, their captions as targets, one pass through the tower."""

from random import Random

import torch

from vlmchat.demo.drawing.examples import PAGE
from vlmchat.demo.training import marks, numerics, pictures
from vlmchat.demo.training.curriculum import Wanted
from vlmchat.demo.training.pictures import Batch
from vlmchat.demo.training.reports import Report
from vlmchat.demo.training.settings import SINGLES, Settings
from vlmchat.demo.training.slots import Captions, SlotLoss, Targets
from vlmchat.demo.training.tower import Tower
from vlmchat.demo.training.vocabulary import texts
from vlmchat.demo.training.words import Words


class SlotTrainer:
    """Trains a tower on captions.

    Args:
        tower: what is trained, on its device.
        words: the text model's vocabulary.
        settings: all of them.

    Attributes:
        kinds: what is drawn.
    """

    def __init__(self, tower: Tower, words: Words, settings: Settings) -> None:
        self.kinds = tuple(it for it in settings.curriculum.kinds if it in SINGLES)
        self._tower = tower
        self._settings = settings
        self._device = torch.device(settings.run.device)
        self._captions = Captions(words, texts(), tower.shape.tokens)
        self._loss = SlotLoss(words, self._captions.vocabulary, settings.slots).to(self._device)
        self._beside = marks.MarkLoss(settings.marks)
        forward = self._forward
        self._run = torch.compile(forward, dynamic=False) if settings.run.compile else forward

    def step(self, random: Random, wanted: Wanted) -> Report:
        """Draw pictures, and add to the tower's gradients what is to be learned from them.

        Args:
            random: decides what is drawn.
            wanted: how often and how hard each kind is.
        """
        count, augment = self._settings.slots.batch, self._settings.augment
        ahead = self._settings.curriculum.ahead
        batch = pictures.batch(random, count, wanted.weights, wanted.levels, augment, ahead)
        gain, lift = pictures.light(random, count, augment)
        targets = self._captions(batch.captions)
        classes = marks.wanted(self._tower.shape, batch.marks, batch.offsets)
        loss, right, beside, marked = self._run(
            *self._moved(batch, targets), *self._placed(gain, lift, classes)
        )
        torch.autograd.backward(loss + beside)
        report = self._report(batch, targets, right, float(loss.detach()), marked)
        report.losses["marks"] = float(beside.detach())
        return report

    @torch.no_grad()
    def measure(self, worker: int, workers: int) -> Report:
        """Return how this worker's part of the pictures that are never trained on goes."""
        report = Report()
        size = self._settings.slots.batch
        losses = []
        for kind in self.kinds:
            for first in range(worker * size, self._settings.run.held_out, workers * size):
                count = min(size, self._settings.run.held_out - first)
                batch = pictures.held_out(kind, count, first)
                targets = self._captions(batch.captions)
                classes = marks.wanted(self._tower.shape, batch.marks, batch.offsets)
                still = (torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
                loss, right, _, marked = self._forward(
                    *self._moved(batch, targets), *self._placed(*still, classes)
                )
                losses.append(float(loss))
                part = self._report(batch, targets, right, 0.0, marked)
                report.images += part.images
                report.score(kind).add(part.scores[kind])
        report.losses = {"loss": sum(losses) / max(1, len(losses))}
        return report

    def _forward(
        self,
        pixels: torch.Tensor,
        tokens: torch.Tensor,
        weights: torch.Tensor,
        gain: torch.Tensor,
        lift: torch.Tensor,
        classes: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        with numerics.products(self._settings.run):
            made, said = self._tower.asked(pixels, gain, lift, self._settings.marks.layers)
            loss, right = self._loss(made, tokens, weights)
            beside, marked = self._beside(said, classes)
        return loss, right, beside, marked

    def _moved(self, batch: Batch, targets: Targets) -> tuple[torch.Tensor, ...]:
        return self._placed(batch.pixels, targets.tokens, targets.weights)

    def _placed(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(tensor.to(self._device) for tensor in tensors)

    def _report(
        self,
        batch: Batch,
        targets: Targets,
        right: torch.Tensor,
        loss: float,
        marked: torch.Tensor,
    ) -> Report:
        """Return how it went; of pages, which captions say nothing of, by what patches say."""
        report = Report({"loss": loss}, images=len(batch.kinds))
        good = right.cpu() & targets.filled
        shares = good.sum(1) / targets.filled.sum(1).clamp(min=1)
        pages = torch.tensor([kind == PAGE for kind in batch.kinds])
        shares = torch.where(pages, marked.cpu(), shares)
        for kind, ahead, share in zip(batch.kinds, batch.ahead, shares.tolist(), strict=True):
            score = report.score(f"{kind}/ahead" if ahead else kind)
            score.count += 1
            score.right += share
            score.whole += share == 1.0
        return report
