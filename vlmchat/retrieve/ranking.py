"""Ranks pictures for a sentence, and sentences for a picture, by how likely the model finds them.

The score is how much likelier the picture makes the sentence, a token: the mean log-probability of
the sentence's tokens as the answer to `PROMPT` about the picture, minus the same without knowledge
of the picture. Among sentences this takes away that some are likely whatever is seen (the language
prior that Lin et al. correct for, arXiv:2306.01879). Among pictures it takes away nothing, being
the same for all of them; there, what some pictures make of any sentence is taken away: how much
likelier they make the sentences of `ANY`, in the mean. What both bring is measured in
``benchmarks/retrieval.py``.
"""

import asyncio
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import mean
from typing import Literal, TypeAlias

from vlmchat.batch.flight import in_order
from vlmchat.chat.messages import Attachment, Detail, ImagePart, Message, user_message
from vlmchat.client.api import EngineClient
from vlmchat.client.protocol import Score
from vlmchat.errors import UsageError
from vlmchat.media.attaching import attach, video_kind, within
from vlmchat.media.rules import rules
from vlmchat.media.sending import as_sent
from vlmchat.retrieve.index import FolderIndex

PROMPT = "Describe the picture."
ANY = (
    "A person.",
    "An animal.",
    "A plant.",
    "A landscape with trees and a sky.",
    "A building on a street.",
    "Food on a table.",
    "A drawing of some shapes.",
    "A page of text.",
    "A chart with numbers.",
    "A car on a road.",
    "The inside of a room.",
    "Something red.",
    "Something blue.",
)
"""Sentences about anything, by which pictures are told apart that make every sentence likely."""
FRAMES = 4
SENTENCES_AT_ONCE = 32
_IN_FLIGHT = 2  # the engine computes one, while the next is read and sent
_BLANK_SIDE = 512

Prior: TypeAlias = Literal["blank", "text"]
"""What is asked without knowledge of the picture: about a grey one, or about none."""
Tell: TypeAlias = Callable[[int, int], None]
"""Is told how many of how many are done."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Whom to ask, and how.

    Attributes:
        client: of an engine that can score.
        model: or adapter; empty for what the engine answers with.
        prompt: what the sentences are answers to.
        detail: how finely pictures are looked at.
        frames: the most that are taken of a video.
        videos: the model has learned videos.
        prior: what is subtracted.
        index: where it is noted what was looked at; ``None`` for nowhere.
    """

    client: EngineClient
    model: str = ""
    prompt: str = PROMPT
    detail: Detail = "low"
    frames: int = FRAMES
    videos: bool = False
    prior: Prior = "text"
    index: FolderIndex | None = None

    async def scores(self, message: Message, sentences: Sequence[str]) -> list[Score]:
        """Return how likely each sentence is as the answer to a message."""
        return await self.client.score([message], sentences, model=self.model, videos=self.videos)

    def about(self, path: Path) -> Message:
        """Return the question about a picture or video, ready for sending; blocking.

        Raises:
            MediaError: it cannot be read.
        """
        sampling = within(rules().sampling, self.frames) if video_kind(path) else None
        message = self._question(attach(path, self.detail, sampling).part)
        if self.index is not None:
            self.index.note(path, (media.sha256 for media in message.media))
        return message

    def about_nothing(self) -> Message:
        """Return the question without knowledge of a picture."""
        return self._question(_blank(self.detail)) if self.prior == "blank" else self._question()

    def _question(self, *attached: Attachment) -> Message:
        message = user_message(self.prompt, attached)
        return as_sent([message], number_images=False, videos=self.videos)[0]


@dataclass(frozen=True, slots=True)
class Found:
    """A picture or a sentence with its score.

    Attributes:
        what: the picture's path, or the sentence.
        with_picture: of the sentence, when the picture is seen.
        without: of the sentence, when it is not.
        any_sentence: how much likelier the picture makes any sentence, nats a token; 0 where one
            picture's sentences are ranked.
    """

    what: Path | str
    with_picture: Score
    without: Score
    any_sentence: float = 0.0

    @property
    def score(self) -> float:
        """How much likelier the picture makes this sentence than any: nats a token."""
        return self.with_picture.mean - self.without.mean - self.any_sentence


@dataclass(slots=True)
class Ranking:
    """What was found.

    Attributes:
        found: the best first.
        skipped: what could not be looked at, and why.
    """

    found: list[Found] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """How many were ranked."""
        return len(self.found)


async def pictures_for(
    asker: Asker,
    sentence: str,
    paths: Sequence[Path],
    tell: Tell = lambda *_: None,
    ranking: Ranking | None = None,
) -> Ranking:
    """Rank pictures and videos for a sentence.

    Args:
        asker: whom to ask.
        sentence: what they are to fit.
        paths: of the pictures and videos.
        tell: is told how far it is; what it raises ends the work.
        ranking: is filled meanwhile, for whoever wants to see what there is before the end.

    Returns:
        The ranking that was given, or a new one.

    Raises:
        VlmchatError: the engine cannot do it at all.
    """
    asked = [sentence, *ANY]
    nothing = await asyncio.to_thread(asker.about_nothing)
    without, *any_without = await asker.scores(nothing, asked)
    ranking = Ranking() if ranking is None else ranking

    async def work(path: Path) -> tuple[Path, Found | UsageError]:
        try:
            message = await asyncio.to_thread(asker.about, path)
            score, *others = await asker.scores(message, asked)
        except UsageError as error:  # the file's fault: the engine took the sentence just before
            return path, error
        pairs = zip(others, any_without, strict=True)
        usual = mean(seen.mean - unseen.mean for seen, unseen in pairs)
        return path, Found(path, score, without, usual)

    tell(0, len(paths))
    async with aclosing(in_order(work, paths, _IN_FLIGHT)) as results:
        async for path, result in results:
            if isinstance(result, Found):
                insort(ranking.found, result, key=lambda one: -one.score)
            else:
                ranking.skipped.append((path, str(result)))
            tell(ranking.seen + len(ranking.skipped), len(paths))
    return ranking


async def sentences_for(
    asker: Asker, path: Path, sentences: Sequence[str], tell: Tell = lambda *_: None
) -> Ranking:
    """Rank sentences for a picture or a video.

    Raises:
        MediaError: it cannot be read.
        VlmchatError: the engine cannot do it at all.
    """
    message = await asyncio.to_thread(asker.about, path)
    nothing = await asyncio.to_thread(asker.about_nothing)
    # Those that begin alike share the engine's work, if they are in one request.
    ordered = sorted(sentences)
    pieces = [
        (asked, ordered[begin : begin + SENTENCES_AT_ONCE])
        for asked in (message, nothing)
        for begin in range(0, len(ordered), SENTENCES_AT_ONCE)
    ]
    scores: list[Score] = []
    tell(0, len(sentences))

    async def work(piece: tuple[Message, list[str]]) -> list[Score]:
        return await asker.scores(*piece)

    async with aclosing(in_order(work, pieces, _IN_FLIGHT)) as results:
        async for result in results:
            scores += result
            tell(len(scores) // 2, len(sentences))
    count = len(ordered)
    found = map(Found, ordered, scores[:count], scores[count:])
    return Ranking(best_first(found))


def best_first(found: Iterable[Found]) -> list[Found]:
    """Return what was found in the order of the scores."""
    return sorted(found, key=lambda one: -one.score)


def _blank(detail: Detail) -> ImagePart:
    from PIL import Image

    from vlmchat.media.images import media_from_bytes

    buffer = BytesIO()
    Image.new("RGB", (_BLANK_SIDE, _BLANK_SIDE), (128, 128, 128)).save(buffer, "PNG")
    return ImagePart(media_from_bytes(buffer.getvalue(), "a grey picture"), detail)
