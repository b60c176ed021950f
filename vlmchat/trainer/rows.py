"""From a job's examples to token ids, and to which pictures stand in them.

Rows hold no pixels: a picture is decoded when its features are made or, where the tower is
trained, whenever its row is.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlmchat.chat.messages import ImagePart, Message
from vlmchat.engine.prompt import PlannedImage
from vlmchat.errors import UsageError
from vlmchat.finetune.examples import Example
from vlmchat.finetune.rendering import Rendered, Renderer
from vlmchat.media.rules import rules
from vlmchat.media.sending import as_sent


@dataclass(frozen=True, slots=True)
class Tokens:
    """One sequence that the model is run on.

    Attributes:
        ids: token ids, image tokens expanded.
        trained: for each id, whether the loss is taken on it.
        pictures: names of the pictures in the order of their image tokens (`picture_key`).
        image_tokens: how many ids stand for each picture.
    """

    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    pictures: tuple[str, ...]
    image_tokens: tuple[int, ...]
    image_id: int

    @property
    def answer_start(self) -> int:
        """Where the first answer begins that is trained on."""
        return self.trained.index(True)

    def question(self) -> "Tokens":
        """Return what comes before the last answer that is trained on."""
        end = len(self.trained) - self.trained[::-1].index(True)
        start = end
        while start and self.trained[start - 1]:
            start -= 1
        left = self.ids[:start].count(self.image_id)
        count = 0
        while count < len(self.pictures) and left >= self.image_tokens[count]:
            left -= self.image_tokens[count]
            count += 1
        return Tokens(
            self.ids[:start],
            (False,) * start,
            self.pictures[:count],
            self.image_tokens[:count],
            self.image_id,
        )


@dataclass(frozen=True, slots=True)
class Row:
    """An example as the trainer takes it.

    Attributes:
        branches: one sequence; chosen and rejected for a preference.
        label: of a KTO row, else ``None``.
        example: what it was made of.
    """

    branches: tuple[Tokens, ...]
    label: bool | None
    example: Example


def picture_key(image: PlannedImage, sha256: str) -> str:
    """Return a name for a picture as the tower sees it: content, tile plan and background."""
    plan = image.plan
    text = f"1 {sha256} {plan.rows}x{plan.cols} {plan.tile} {plan.tokens_per_tile}"
    return hashlib.sha256(f"{text} {rules().background}".encode()).hexdigest()


def pictures_of(
    messages: Sequence[Message], rendered: Rendered
) -> Iterator[tuple[str, PlannedImage]]:
    """Yield the pictures of messages that were made ready for sending, each with its name."""
    parts = [part for m in messages for part in m.parts if isinstance(part, ImagePart)]
    for part, plan in zip(parts, rendered.plans, strict=True):
        image = PlannedImage(part.media.data, part.media.name, plan)
        yield picture_key(image, part.media.sha256), image


class Rows:
    """Makes rows for one model; blocking, as it reads pictures and decodes videos.

    Args:
        renderer: of the model.
        context: tokens that a sequence may have.
    """

    def __init__(self, renderer: Renderer, *, context: int) -> None:
        self._renderer = renderer
        self._context = context

    def make(self, example: Example) -> tuple[Row, dict[str, PlannedImage]]:
        """Return the row of an example, and its pictures by name.

        Raises:
            MediaError: a picture or video cannot be read any more.
            UsageError: it is longer than the context. It is never cut.
        """
        images: dict[str, PlannedImage] = {}
        branches: list[Tokens] = []
        for messages, trained in example.branches():
            sent = as_sent(messages, videos=self._renderer.videos)
            rendered = self._renderer.render(sent, trained, sent=True)
            if len(rendered.ids) > self._context:
                raise UsageError(
                    f"{example.source} has {len(rendered.ids)} tokens and {self._context} fit: "
                    "prepare the job again without it."
                )
            named = list(pictures_of(sent, rendered))
            images.update(named)
            branches.append(
                Tokens(
                    rendered.ids,
                    rendered.trained,
                    tuple(name for name, _ in named),
                    tuple(image.plan.image_tokens for _, image in named),
                    rendered.image_id,
                )
            )
        return Row(tuple(branches), example.label, example), images

    def images(self, row: Row) -> dict[str, PlannedImage]:
        """Return the pictures of a row again, by name.

        Raises:
            MediaError: one cannot be read any more.
        """
        return self.make(row.example)[1]
