"""What the maker asks of a model, and the engine that answers it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from vlmchat.chat.messages import Detail, ImagePart, Media, Message, TextPart
from vlmchat.errors import NotOurEngineError

if TYPE_CHECKING:
    from vlmchat.client.api import EngineClient
    from vlmchat.client.protocol import ModelInfo, Sampling


@dataclass(frozen=True, slots=True)
class Said:
    """An answer.

    Attributes:
        text: without the space around it.
        whole: it was not cut off.
        provenance: what produced it, as far as the engine said.
    """

    text: str
    whole: bool = True
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely an answer is: `total`, the log-probability of its `tokens` tokens together."""

    total: float
    tokens: int

    @property
    def mean(self) -> float:
        """Of a token."""
        return self.total / max(1, self.tokens)


class Asker(Protocol):
    """Answers questions, mostly about a picture."""

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
        """Return an answer to `text` about the picture, if there is one, of `most` tokens at most.

        `adapter` is the name of one that the engine has; empty asks the model without any.
        """
        ...

    async def likelihoods(
        self, picture: Media | None, text: str, answers: Sequence[str]
    ) -> list[Likelihood] | None:
        """Return how likely these answers are, without a picture if there is none.

        ``None`` if the engine cannot say.
        """
        ...


class EngineAsker:
    """Asks an engine.

    Args:
        client: of the engine.
        info: the model that it serves.
        model: the name to ask for; empty for what the engine began with.
        sampling: the settings' own; temperature, seed and length are the recipe's.
        detail: how finely pictures are looked at.

    Attributes:
        scores: whether the engine says how likely answers are; ``None`` before it was asked.
    """

    def __init__(
        self,
        client: "EngineClient",
        info: "ModelInfo",
        model: str,
        sampling: "Sampling",
        detail: Detail,
    ) -> None:
        self._client, self._info, self._model = client, info, model
        self._sampling, self._detail = sampling, detail
        self.scores: bool | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What the engine answers with, as far as it says, before any answer."""
        info = self._info
        names = ("revision", "quantization", "adapter")
        told = {name: getattr(info, name) for name in names}
        return {"model": self._model or info.id, **{k: v for k, v in told.items() if v}}

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
        """Return an answer (see `Asker.say`).

        Raises:
            UsageError: the engine refused the request.
            EngineError: it is unreachable, or broke off.
        """
        from dataclasses import replace

        from vlmchat.client.protocol import Finished, TextDelta

        how = replace(self._sampling, temperature=temperature, seed=seed, max_tokens=most)
        pieces: list[str] = []
        finished: Finished | None = None
        model = "" if adapter is not None else self._model
        events = self._client.chat(self._asked(picture, text), how, model, adapter=adapter)
        async for event in events:
            if isinstance(event, TextDelta):
                pieces.append(event.text)
            elif isinstance(event, Finished):
                finished = event
        assert finished is not None
        names = ("model", "revision", "quantization", "adapter", "device", "dtype")
        told = {name: finished.provenance[name] for name in names if finished.provenance.get(name)}
        whole = finished.finish_reason != "length"
        return Said("".join(pieces).strip(), whole, {**self.identity, **told})

    async def likelihoods(
        self, picture: Media | None, text: str, answers: Sequence[str]
    ) -> list[Likelihood] | None:
        """Return how likely these answers are (see `Asker.likelihoods`)."""
        if self.scores is False:
            return None
        try:
            found = await self._client.score(
                self._asked(picture, text), list(answers), model=self._model
            )
        except NotOurEngineError:
            self.scores = False
            return None
        self.scores = True
        return [Likelihood(score.logprob, score.tokens) for score in found]

    def _asked(self, picture: Media | None, text: str) -> list[Message]:
        seen = () if picture is None else (ImagePart(picture, self._detail),)
        return [Message("user", (*seen, TextPart(text)))]
