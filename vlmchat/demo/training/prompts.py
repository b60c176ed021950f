"""Questions about pictures as the engine's prompt builder writes them, several in one row.

A row is what all its questions share (the pictures, and the sentences of a film), followed by the
questions with their answers as branches that do not see each other: each has the places in the
text that it would have alone. Or the questions follow each other, as turns of one conversation.
"""

from dataclasses import dataclass
from datetime import timedelta
from random import Random

import torch
from num2words import num2words

from vlmchat.demo.drawing.examples import Lesson
from vlmchat.demo.drawing.facts import Asked, Facts, Lettering
from vlmchat.demo.training.frozen import Row
from vlmchat.demo.training.words import Words

_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
_USER = "<|im_start|>user\n"
_SPEEDS = (0.5, 1.0, 1.0, 2.0)  # seconds between two frames of a film


@dataclass(frozen=True, slots=True)
class Answered:
    """One question of a row.

    Attributes:
        task: what it is of.
        start: first place in the row whose next token is the answer's.
        tokens: of the answer with its end, each the next of a place from `start` on.
    """

    task: str
    start: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A row as tokens.

    Attributes:
        tokens: (n,), int64; those of pictures have the image token.
        row: where they stand and what they see.
        pictures: (image tokens of all pictures,), their places in `tokens`.
        answers: of the questions.
    """

    tokens: torch.Tensor
    row: Row
    pictures: torch.Tensor
    answers: tuple[Answered, ...]


class Prompts:
    """Writes prompts for one model.

    Args:
        words: its vocabulary.
        places: image tokens of a picture.
    """

    def __init__(self, words: Words, places: int) -> None:
        self._words = words
        self._image = words.special("<image>")
        fake, whole = words.special("<fake_token_around_image>"), words.special("<global-img>")
        self._block = (fake, whole, *[self._image] * places, fake)
        start = f"<|im_start|>system\n{_SYSTEM}<|im_end|>\n{_USER}"
        self.beginning = words.ids(start)
        self._end = words.special("<|im_end|>")
        self._ask = words.ids("<|im_end|>\n<|im_start|>assistant\n")
        self._next = words.ids(f"<|im_end|>\n{_USER}")

    def write(
        self, lesson: Lesson, random: Random, questions: int, *, turns: bool = False
    ) -> Prompt:
        """Return some questions about the pictures of a lesson as a row.

        Args:
            lesson: pictures with everything that can be asked about them.
            random: chooses the questions, and how fast a film runs.
            questions: how many at the most.
            turns: they are asked one after the other in one conversation.
        """
        shared, behind = self._shared(lesson, random)
        asked = list(lesson.asked)
        if len(asked) > questions:
            asked = random.sample(asked, questions)
        tokens, branches = list(shared), [0] * len(shared)
        places = list(range(len(shared)))
        answers = []
        for branch, one in enumerate(asked, 1):
            # A further turn stands behind the answer before, and without what a film begins with.
            further = turns and branch > 1
            ask = (*self._next, *self._words.ids(one.question)) if further else None
            question = (*(ask or self._words.ids(behind + one.question)), *self._ask)
            answer = (*self._answer(one, lesson.facts), self._end)
            # Nothing follows the end of an answer, so it is no input.
            whole = (*question, *answer[:-1])
            answers.append(Answered(one.task, len(tokens) + len(question) - 1, answer))
            first = places[-1] + 1 if turns else len(shared)
            tokens += whole
            branches += [0 if turns else branch] * len(whole)
            places += range(first, first + len(whole))
        ids = torch.tensor(tokens)
        before = len(self.beginning)
        row = Row(torch.tensor(places) + before, _seen(torch.tensor(branches), before))
        return Prompt(ids, row, (ids == self._image).nonzero()[:, 0], tuple(answers))

    def _answer(self, asked: Asked, facts: Facts) -> tuple[int, ...]:
        """Return the tokens of an answer, those of a text that is read letter by letter."""
        if asked.task != "text" or not isinstance(facts, Lettering):
            return self._words.ids(asked.answer)
        before, read, behind = asked.answer.rpartition(facts.text)
        return (*self._words.ids(before), *self._words.spelled(read), *self._words.ids(behind))

    def _shared(self, lesson: Lesson, random: Random) -> tuple[tuple[int, ...], str]:
        """Return the tokens before the questions, and text that stands before each of them."""
        if not lesson.frames:
            return self._block * len(lesson.images), ""
        step = random.choice(_SPEEDS)
        count = len(lesson.images)
        tokens: tuple[int, ...] = ()
        for number, text in enumerate(film_texts(count, step)):
            tokens += self._words.ids(text) if number < count else ()
            tokens += self._block if number < count else ()
        return tokens, film_texts(count, step)[-1]


def film_texts(frames: int, step: float) -> list[str]:
    """Return the texts before each frame of a film, and behind the last.

    Source: `vlmchat.media.video_prompt`, whose words these are.

    Args:
        frames: how many.
        step: seconds between two of them.
    """
    whole = timedelta(seconds=int((frames - 1) * step))
    texts = [
        f"You are provided the following series of {num2words(frames)} frames "
        f"from a {whole} [H:MM:SS] video.\n"
    ]
    for number in range(frames):
        seconds = int(number * step)
        stamp = f"\nFrame from {seconds // 60:02d}:{seconds % 60:02d}:"
        if number:
            texts.append(stamp)
        else:
            texts[0] += stamp
    return [*texts, "\n\n"]


def _seen(branches: torch.Tensor, before: int) -> torch.Tensor:
    """Return what each token of a row sees: (n, before + n), bool.

    Args:
        branches: (n,), of each token; 0 of those that all branches share.
        before: tokens of the beginning, which all see.
    """
    count = len(branches)
    same = (branches[:, None] == branches) | (branches == 0)
    earlier = torch.ones(count, count, dtype=torch.bool).tril()
    return torch.cat([torch.ones(count, before, dtype=torch.bool), same & earlier], 1)
