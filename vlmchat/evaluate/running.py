"""Asking the questions of a set, several at a time, each answer kept when it is there."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from vlmchat.batch.flight import in_order
from vlmchat.chat.messages import Message
from vlmchat.client.api import EngineClient
from vlmchat.client.protocol import Finished, Sampling, TextDelta
from vlmchat.errors import EngineError, UsageError
from vlmchat.evaluate.items import Item, Wording
from vlmchat.evaluate.rows import Journal, Row

_WAITS = (1.0, 5.0)  # seconds before an engine that failed is asked again
_HOPELESS = 5  # questions that are refused one after the other from the beginning end the run


@dataclass(frozen=True, slots=True)
class Said:
    """One answer.

    Attributes:
        text: what was said.
        finish: why it ended.
        prompt_tokens: of the prompt, where the engine tells.
        completion_tokens: of the answer, where the engine tells.
        seconds: that the engine worked on it, without waiting; 0 where it does not tell.
    """

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Asker:
    """Puts questions to an engine.

    Attributes:
        client: of the engine.
        sampling: how tokens are chosen.
        model: the name to ask for; empty for what the engine began with.
        adapter: as `EngineClient.chat` takes it.
        videos: whether the model has learned videos.
    """

    client: EngineClient
    sampling: Sampling
    model: str = ""
    adapter: str | None = None
    videos: bool = False

    async def __call__(self, messages: list[Message]) -> Said:
        """Return the answer to one question.

        Raises:
            UsageError: the engine refused the question.
            EngineError: the engine failed.
        """
        pieces: list[str] = []
        end: Finished | None = None
        stream = self.client.chat(
            messages, self.sampling, self.model, videos=self.videos, adapter=self.adapter
        )
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    pieces.append(event.text)
                elif isinstance(event, Finished):
                    end = event
        usage = end.usage if end else None
        tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        timings = end.timings if end else {}
        worked = (timings.get("prompt_ms", 0.0) + timings.get("predicted_ms", 0.0)) / 1000
        reason = end.finish_reason if end else "stop"
        return Said("".join(pieces).strip(), reason, *tokens, worked)


@dataclass(slots=True)
class Run:
    """One model and the questions of a set; what was answered stays when it is stopped.

    Attributes:
        items: the questions.
        wording: how they are put.
        ask: answers one.
        in_flight: questions that are under way at once.
        journal: that answers are written to; ``None`` keeps them in memory only.
        step: told each row when it is there, also those that were there before.
        rows: what was answered, by key.
    """

    items: Sequence[Item]
    wording: Wording
    ask: Callable[[list[Message]], Awaitable[Said]]
    in_flight: int = 1
    journal: Journal | None = None
    step: Callable[[Row], None] = lambda row: None
    rows: dict[str, Row] = field(default_factory=dict)
    _answered: bool = False
    _refused: int = 0

    async def run(self) -> None:
        """Ask what has not been answered.

        Raises:
            EngineError: the engine failed, again and again.
            UsageError: each question is refused, or the journal cannot be written.
        """
        known = self.journal.rows if self.journal is not None else {}
        waiting: list[Item] = []
        for item in self.items:
            row = known.get(item.key(self.wording))
            if row is None or row.error:
                waiting.append(item)
            else:
                self._answered = True
                self._keep(row)
        answers = in_order(self._row, waiting, self.in_flight)
        async with contextlib.aclosing(answers) as found:
            async for row in found:
                if self.journal is not None:
                    await asyncio.to_thread(self.journal.add, row)
                self._keep(row)
                self._check(row)

    def answered(self) -> list[Row]:
        """Return the rows that are there, in the order of the questions."""
        keys = (item.key(self.wording) for item in self.items)
        return [self.rows[key] for key in keys if key in self.rows]

    def _keep(self, row: Row) -> None:
        self.rows[row.key] = row
        self.step(row)

    def _check(self, row: Row) -> None:
        if not row.error:
            self._answered = True
        self._refused += bool(row.error)
        if not self._answered and self._refused >= min(_HOPELESS, len(self.items)):
            raise UsageError(f"Not one question could be asked: {row.error}")

    async def _row(self, item: Item) -> Row:
        row = Row(
            item.key(self.wording),
            item.id,
            item.text(self.wording),
            item.answers,
            options=item.options,
            category=item.category,
            group=item.group,
            pictures=item.names,
        )
        began = time.perf_counter()
        try:
            said = await self._said(await asyncio.to_thread(item.asked, self.wording))
        except UsageError as error:  # of this question: its picture, its length
            return replace(row, error=str(error), seconds=round(time.perf_counter() - began, 4))
        return replace(
            row,
            said=said.text,
            finish=said.finish,
            prompt_tokens=said.prompt_tokens,
            completion_tokens=said.completion_tokens,
            seconds=round(said.seconds or time.perf_counter() - began, 4),
        )

    async def _said(self, messages: list[Message]) -> Said:
        for wait in _WAITS:
            try:
                return await self.ask(messages)
            except EngineError:
                await asyncio.sleep(wait)
        return await self.ask(messages)
