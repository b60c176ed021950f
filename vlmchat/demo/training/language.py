"""Phase 2: questions are answered by the frozen text model, and the tower learns from its answers.

The gradient of the answers' cross-entropy goes through the text model to the image tokens and from
there into the tower; the text model never changes. Further pictures are trained as in phase 1 in
the same pass of the tower, so that what it knows stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - as everywhere

from vlmchat.demo.drawing import examples
from vlmchat.demo.drawing.examples import Lesson
from vlmchat.demo.drawing.facts import Mark
from vlmchat.demo.training import marks, numerics, pictures
from vlmchat.demo.training.frozen import FrozenText
from vlmchat.demo.training.pictures import Pixels
from vlmchat.demo.training.prompts import Prompt, Prompts
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

    Attributes:
        kinds: what is drawn.
    """

    def __init__(self, tower: Tower, words: Words, settings: Settings) -> None:
        self.kinds = settings.curriculum.kinds
        self._settings = settings
        self._device = torch.device(settings.run.device)
        dtype = numerics.dtype(settings.run)
        self._prompts = Prompts(words, tower.shape.tokens)
        self._captions = Captions(words, texts(), tower.shape.tokens)
        self._slots = SlotLoss(words, self._captions.vocabulary, settings.slots).to(self._device)
        self._tower = tower
        self._beside = marks.MarkLoss(settings.marks)
        forward = self._forward
        self._run = torch.compile(forward, dynamic=False) if settings.run.compile else forward
        self._text = FrozenText(
            *(words, self._prompts.beginning, self._device, dtype), compiled=settings.run.compile
        )

    def step(
        self, random: Random, weights: Mapping[str, float], levels: Mapping[str, float]
    ) -> Report:
        """Draw lessons, and add to the tower's gradients what is to be learned from them.

        Args:
            random: decides what is drawn and asked.
            weights: how often each kind is.
            levels: how hard each is.
        """
        own, augment = self._settings.language, self._settings.augment
        chosen = self._lessons(random, weights, levels)
        kinds, lessons = [kind for kind, _ in chosen], [lesson for _, lesson in chosen]
        prompts = [self._prompts.write(one, random, own.questions) for one in lessons]
        arrays = _arrays(lessons, random, augment.shift)
        alone = {kind: weights[kind] for kind in weights if kind in SINGLES}
        rest = own.images - len(arrays)
        ahead = self._settings.curriculum.ahead
        further = pictures.batch(random, rest, alone, levels, augment, ahead)
        pixels = torch.cat([torch.from_numpy(np.stack(arrays)), further.pixels])
        gain, lift = pictures.light(random, own.images, augment)
        # The pictures that are asked about come first, and their patches are asked nothing.
        silent: list[tuple[Mark, ...]] = [()] * len(arrays)
        offsets = [(0, 0)] * len(arrays) + further.offsets
        classes = marks.wanted(self._tower.shape, silent + further.marks, offsets)
        made, beside = self._run(*(it.to(self._device) for it in (pixels, gain, lift, classes)))
        loss, report = self._answered(made[: len(arrays)], kinds, prompts)
        targets = self._captions(further.captions)
        with numerics.products(self._settings.run):
            slots, _ = self._slots(
                made[len(arrays) :],
                targets.tokens.to(self._device),
                targets.weights.to(self._device),
            )
        torch.autograd.backward(loss + own.slots_weight * (slots + beside))
        report.losses |= {"slots": float(slots.detach()), "marks": float(beside.detach())}
        report.images = own.images
        return report

    @torch.no_grad()
    def measure(self, worker: int, workers: int) -> Report:
        """Return how this worker's part of the questions that are never trained on goes."""
        report, losses = Report(), []
        for kind in self.kinds:
            for index in range(worker, self._settings.run.held_out, workers):
                lesson = self._asked(pictures.kept_lesson(kind, index))
                if not lesson.asked:
                    continue
                random = examples.seeded("questions", "train", pictures.HELD_OUT, index)
                prompt = self._prompts.write(lesson, random, self._settings.language.questions)
                pixels = torch.from_numpy(np.stack(_arrays([lesson], random, 0)))
                with numerics.products(self._settings.run):
                    made = self._tower(pixels.to(self._device))
                loss, part = self._answered(made, [kind], [prompt])
                losses.append(float(loss))
                report.images += len(pixels)
                for name, score in part.scores.items():
                    report.score(name).add(score)
        report.losses = {"loss": sum(losses) / max(1, len(losses))}
        return report

    def _forward(
        self, pixels: torch.Tensor, gain: torch.Tensor, lift: torch.Tensor, classes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the image tokens, and the loss of what patches say."""
        with numerics.products(self._settings.run):
            made, said = self._tower.asked(pixels, gain, lift, self._settings.marks.layers)
            return made, self._beside(said, classes)

    def _lessons(
        self, random: Random, weights: Mapping[str, float], levels: Mapping[str, float]
    ) -> list[tuple[str, Lesson]]:
        """Return lessons, one at the least, that leave room for pictures without questions."""
        own = self._settings.language
        found: list[tuple[str, Lesson]] = []
        room = own.images - own.slots_only
        while not found:
            for kind in pictures.chosen(random, weights, own.lessons):
                lesson = self._asked(examples.lesson(kind, random, levels[kind]))
                if random.random() >= own.premises:
                    lesson = _without_premises(lesson)
                if lesson.asked and len(lesson.images) <= room:
                    room -= len(lesson.images)
                    found.append((kind, lesson))
        return found

    def _asked(self, lesson: Lesson) -> Lesson:
        """Return a lesson with the questions of those tasks only that the settings name."""
        wanted = self._settings.language.tasks
        return replace(lesson, asked=tuple(one for one in lesson.asked if one.task in wanted))

    def _answered(
        self, made: torch.Tensor, kinds: Sequence[str], prompts: Sequence[Prompt]
    ) -> tuple[torch.Tensor, Report]:
        """Return the loss of the answers, and which were wholly right.

        Args:
            made: (pictures of all lessons, places, width), image tokens.
            kinds: of the lessons.
            prompts: one a lesson.
        """
        starts, at = [], 0
        for prompt in prompts:
            starts.append(at)
            at += len(prompt.tokens)
        ids = torch.cat([prompt.tokens for prompt in prompts]).to(self._device)
        places = torch.cat(
            [prompt.pictures + start for prompt, start in zip(prompts, starts, strict=True)]
        )
        embedded = F.embedding(ids, self._text.embedding)
        inputs = embedded.index_copy(
            0, places.to(self._device), made.flatten(0, 1).to(embedded.dtype)
        )
        rows = [prompt.row.to(self._device) for prompt in prompts]
        hidden = self._text(inputs, rows)
        wanted = [
            (start + answer.start + offset, token)
            for prompt, start in zip(prompts, starts, strict=True)
            for answer in prompt.answers
            for offset, token in enumerate(answer.tokens)
        ]
        where, tokens = torch.tensor(wanted).T.to(self._device)
        logits = self._text.logits(hidden[where])
        loss = F.cross_entropy(logits, tokens)
        right = (logits.detach().argmax(-1) == tokens).tolist()
        return loss, _report(float(loss.detach()), kinds, prompts, right)


def _without_premises(lesson: Lesson) -> Lesson:
    """Return a lesson that does not ask for what there is not, where it asks anything else."""
    rest = tuple(one for one in lesson.asked if one.task != "premise")
    return replace(lesson, asked=rest) if rest else lesson


def _report(
    loss: float, kinds: Sequence[str], prompts: Sequence[Prompt], right: Sequence[bool]
) -> Report:
    """Return how answers went, by kind and by task.

    Args:
        loss: of all answers.
        kinds: of the lessons.
        prompts: one a lesson.
        right: of each token of each answer, in order.
    """
    report, at = Report({"loss": loss}), 0
    for kind, prompt in zip(kinds, prompts, strict=True):
        for answer in prompt.answers:
            whole = all(right[at : at + len(answer.tokens)])
            at += len(answer.tokens)
            for name in (kind, f"task/{answer.task}"):
                score = report.score(name)
                score.count += 1
                score.right += whole
                score.whole += whole
    return report


def _arrays(lessons: Sequence[Lesson], random: Random, shift: int) -> list[Pixels]:
    """Return the pixels of all pictures, those of one lesson moved alike."""
    found: list[Pixels] = []
    for lesson in lessons:
        offset = pictures.offset(random, shift)
        found += [pictures.moved(pictures.pixels(image), offset) for image in lesson.images]
    return found
