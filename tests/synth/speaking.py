"""A model that only plays one, and pictures to ask it about."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.pictures import saved
from vlmchat.chat.messages import Media
from vlmchat.media.images import load_media
from vlmchat.synth.asking import Likelihood, Said


@dataclass
class Speaker:
    """Answers as it is told, in place of an engine.

    Attributes:
        says: what it answers to a text, given the picture, the temperature and the seed.
        likely: log-probability of an answer to a text; ``None`` if it cannot say.
        asked: every text that it was asked.
    """

    says: Callable[[Media | None, str, float, int], str | Said]
    likely: Callable[[Media | None, str, str], float] | None = None
    asked: list[str] = field(default_factory=list)

    async def say(
        self,
        picture: Media | None,
        text: str,
        *,
        temperature: float,
        seed: int,
        most: int,
        adapter: str | None = None,
    ) -> Said:
        self.asked.append(text)
        said = self.says(picture, text, temperature, seed)
        about = {"model": "speaker", **({} if adapter is None else {"adapter": adapter})}
        return said if isinstance(said, Said) else Said(said, True, about)

    async def likelihoods(
        self, picture: Media | None, text: str, answers: Sequence[str]
    ) -> list[Likelihood] | None:
        if self.likely is None:
            return None
        return [Likelihood(self.likely(picture, text, answer), 1) for answer in answers]


def photo(folder: Path, colour: str = "red") -> Media:
    """Return a picture of one colour in `folder`."""
    return load_media(saved(folder / f"{colour}.png", colour=colour))
