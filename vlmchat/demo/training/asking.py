"""Lessons with questions, and how their answers go: what phases 2 and 3 have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import TypeAlias

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - as everywhere

from vlmchat.demo.drawing import examples
from vlmchat.demo.drawing.examples import Lesson
from vlmchat.demo.training import numerics, pictures
from vlmchat.demo.training.adapter import Adapter
from vlmchat.demo.training.curriculum import Wanted
from vlmchat.demo.training.frozen import FrozenText
from vlmchat.demo.training.pictures import Pixels
from vlmchat.demo.training.prompts import Prompt, Prompts
from vlmchat.demo.training.reports import Report
from vlmchat.demo.training.settings import Settings
from vlmchat.demo.training.words import Words

See: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


class Asking:
    """Chooses what is asked, and has the text model answer.

    Args:
        words: the text model's vocabulary.
        places: image tokens of a picture.
        settings: all of them.
        adapter: what is laid over the text model, on its device.

    Attributes:
        prompts: writes questions as the text model reads them.
    """

    def __init__(
        self, words: Words, places: int, settings: Settings, adapter: Adapter | None = None
    ) -> None:
        self._settings = settings
        self._device = torch.device(settings.run.device)
        self.prompts = Prompts(words, places)
        self._text = FrozenText(
            *(words, self.prompts.beginning, self._device, numerics.dtype(settings.run)),
            compiled=settings.run.compile,
            adapter=adapter,
        )

    def lessons(
        self,
        random: Random,
        wanted: Wanted,
        count: int,
        room: float,
    ) -> list[tuple[str, Lesson]]:
        """Return kinds and lessons, one at the least.

        Args:
            random: decides what is drawn and asked.
            wanted: how often and how hard.
            count: lessons at the most.
            room: pictures of all of them at the most.
        """
        found: list[tuple[str, Lesson]] = []
        while not found:
            for kind in pictures.chosen(random, wanted.weights, count):
                lesson = self.asked(examples.lesson(kind, random, wanted.levels[kind]))
                if random.random() >= self._settings.language.premises:
                    lesson = _without_premises(lesson)
                lesson = _needed(lesson, random, wanted.needs)
                if lesson.asked and len(lesson.images) <= room:
                    room -= len(lesson.images)
                    found.append((kind, lesson))
        return found

    def asked(self, lesson: Lesson) -> Lesson:
        """Return a lesson with the questions of those tasks only that the settings name."""
        wanted = self._settings.language.tasks
        return replace(lesson, asked=tuple(one for one in lesson.asked if one.task in wanted))

    @torch.no_grad()
    def measured(self, kinds: Sequence[str], see: See, worker: int, workers: int) -> Report:
        """Return how this worker's part of the questions that are never trained on goes.

        Args:
            kinds: of lessons.
            see: returns the image tokens of pictures, (pictures, side, side, 3), uint8.
            worker: number of this one.
            workers: how many there are.
        """
        report, losses = Report(), []
        for kind in kinds:
            for index in range(worker, self._settings.run.held_out, workers):
                lesson = self.asked(pictures.kept_lesson(kind, index))
                if not lesson.asked:
                    continue
                random = examples.seeded("questions", "train", pictures.HELD_OUT, index)
                prompt = self.prompts.write(lesson, random, self._settings.language.questions)
                pixels = torch.from_numpy(np.stack(arrays([lesson], random, 0)))
                loss, part = self.answered(see(pixels.to(self._device)), [kind], [prompt])
                losses.append(float(loss))
                report.images += len(pixels)
                for name, score in part.scores.items():
                    report.score(name).add(score)
        report.losses = {"loss": sum(losses) / max(1, len(losses))}
        return report

    def answered(
        self,
        made: torch.Tensor,
        kinds: Sequence[str],
        prompts: Sequence[Prompt],
        prefixes: Sequence[str] | None = None,
    ) -> tuple[torch.Tensor, Report]:
        """Return the loss of the answers, and which were wholly right.

        Args:
            made: (pictures of all lessons, places, width), image tokens.
            kinds: of the lessons.
            prompts: one a lesson.
            prefixes: what the names of each lesson's scores begin with.
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
        prefixes = prefixes or [""] * len(prompts)
        return loss, _report(float(loss.detach()), kinds, prompts, prefixes, right)


def _without_premises(lesson: Lesson) -> Lesson:
    """Return a lesson that does not ask for what there is not, where it asks anything else."""
    rest = tuple(one for one in lesson.asked if one.task != "premise")
    return replace(lesson, asked=rest) if rest else lesson


def _needed(lesson: Lesson, random: Random, needs: Mapping[str, float]) -> Lesson:
    """Return a lesson with a share of its questions of each task, one at the least if it has any.

    Args:
        lesson: with all of its questions.
        random: chooses.
        needs: the shares, by ``task/`` and the task; the others are kept.
    """
    shares = [needs.get(f"task/{one.task}", 1.0) for one in lesson.asked]
    kept = [one for one, share in zip(lesson.asked, shares, strict=True) if random.random() < share]
    if not kept and lesson.asked:
        kept = random.choices(lesson.asked, shares)
    return replace(lesson, asked=tuple(kept))


def _report(
    loss: float,
    kinds: Sequence[str],
    prompts: Sequence[Prompt],
    prefixes: Sequence[str],
    right: Sequence[bool],
) -> Report:
    """Return how answers went, by kind and by task.

    Args:
        loss: of all answers.
        kinds: of the lessons.
        prompts: one a lesson.
        prefixes: of the names of their scores.
        right: of each token of each answer, in order.
    """
    report, at = Report({"loss": loss}), 0
    for kind, prompt, prefix in zip(kinds, prompts, prefixes, strict=True):
        for answer in prompt.answers:
            whole = all(right[at : at + len(answer.tokens)])
            at += len(answer.tokens)
            for name in (kind, f"task/{answer.task}"):
                score = report.score(f"{prefix}{name}")
                score.count += 1
                score.right += whole
                score.whole += whole
    return report


def arrays(lessons: Sequence[Lesson], random: Random, shift: int) -> list[Pixels]:
    """Return the pixels of all pictures, those of one lesson moved alike."""
    found: list[Pixels] = []
    for lesson in lessons:
        offset = pictures.offset(random, shift)
        found += [pictures.moved(pictures.pixels(image), offset) for image in lesson.images]
    return found
