"""One conversation and the queue before it: what the chat screen shows, without the screen.

The session asks the engine, one question at a time, and tells a `SessionView` what happens. The
view only draws; everything that must not be lost lives here.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Protocol

from vlmchat.chat.messages import Detail, Media
from vlmchat.client.protocol import Finished, Sampling, TextDelta
from vlmchat.errors import EngineError, VlmchatError
from vlmchat.text import visible_line
from vlmchat.tui.engine_keeper import EngineKeeper
from vlmchat.tui.turns import Answer, Exchange, NoticeKind, Question, history


class SessionView(Protocol):
    """Who draws the session. Awaited calls hold the stream back until they are drawn."""

    async def exchange_started(self, exchange: Exchange) -> None:
        """A question left the queue; its answer is awaited."""

    async def answer_grew(self, exchange: Exchange, piece: str) -> None:
        """`piece` was added to the answer's text."""

    async def exchange_ended(self, exchange: Exchange) -> None:
        """The answer is complete, stopped or failed."""

    async def conversation_cleared(self) -> None:
        """Nothing that was said counts any more."""

    def queue_changed(self) -> None:
        """The queue or the session's busyness is not what it was."""

    def give_back(self, question: Question) -> bool:
        """Take a question back into the composer; false when there is something in it."""

    def notice(self, text: str, kind: NoticeKind) -> None:
        """Show one sentence in the transcript."""


class Recorder(Protocol):
    """Who is told what happens in a conversation."""

    def started(self, exchange: Exchange, system: str) -> None:
        """A question went out."""

    def grew(self, exchange: Exchange) -> None:
        """The answer has more text."""

    def ended(self, exchange: Exchange, sampling: Sampling, system: str) -> None:
        """The answer is complete, stopped or failed."""

    def cleared(self) -> None:
        """What follows is another conversation."""

    async def close(self) -> None:
        """Have everything on the disk."""


class NoRecorder:
    """Keeps nothing."""

    def started(self, exchange: Exchange, system: str) -> None:
        """Keep nothing."""

    def grew(self, exchange: Exchange) -> None:
        """Keep nothing."""

    def ended(self, exchange: Exchange, sampling: Sampling, system: str) -> None:
        """Keep nothing."""

    def cleared(self) -> None:
        """Keep nothing."""

    async def close(self) -> None:
        """Keep nothing."""


@dataclass(slots=True)
class Context:
    """How full the model's context is; zeros while unknown."""

    used: int = 0
    limit: int = 0


@dataclass(slots=True)
class ChatSession:
    """A conversation with one engine.

    Attributes:
        engine: what answers.
        view: what draws.
        sampling: parameters of the next answer.
        system: system prompt of the conversation; empty for none.
        detail: how finely the model looks at the pictures of the next question.
        recorder: what saves it.
        exchanges: what was said.
        queue: what waits to be said, in order.
    """

    engine: EngineKeeper
    view: SessionView
    sampling: Sampling = field(default_factory=Sampling)
    system: str = ""
    detail: Detail = "auto"
    recorder: Recorder = field(default_factory=NoRecorder)
    exchanges: list[Exchange] = field(default_factory=list)
    queue: list[Question] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _task: asyncio.Task[None] | None = None
    _current: Exchange | None = None
    _stopping: bool = False
    _numbers: int = 0

    @property
    def answering(self) -> bool:
        """Whether an answer is awaited or arriving."""
        return self._current is not None

    @property
    def context(self) -> Context:
        """Exact token counts as of the last answer."""
        model = self.engine.model
        context = Context(limit=model.context if model else 0)
        for exchange in reversed(self.exchanges):
            finished = exchange.answer.finished
            if finished is not None and finished.usage is not None:
                context.used = finished.usage.prompt_tokens + finished.usage.completion_tokens
                break
        return context

    def submit(self, text: str, media: tuple[Media, ...] = ()) -> bool:
        """Queue a question; false when there is nothing in it (only spaces, no pictures)."""
        if not text.strip() and not media:
            return False
        self._numbers += 1
        self.queue.append(Question(text, media, self._numbers, detail=self.detail))
        self._wake.set()
        if self.engine.kind == "remote" and self.engine.status.stage == "failed":
            # A server may have come up meanwhile; our own engine is restarted on demand only.
            self.engine.restart()
        self.view.queue_changed()
        return True

    def withdraw(self, number: int) -> Question | None:
        """Take a question out of the queue and return it; none when it was sent already."""
        for index, question in enumerate(self.queue):
            if question.number == number:
                del self.queue[index]
                self.view.queue_changed()
                return question
        return None

    def stop(self) -> bool:
        """Stop the answer; what arrived of it stays. False when there is none."""
        if self._current is None:
            return False
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
        return True

    async def use_engine(self, engine: EngineKeeper) -> None:
        """Go on with another engine; an answer that is arriving is stopped, and stays."""
        self.stop()
        async with self._one_at_a_time:
            self.engine = engine

    async def reset(self) -> None:
        """Begin a new conversation; queued questions stay queued."""
        self.stop()
        # Nothing queued may begin before the view is cleared too.
        async with self._one_at_a_time:
            self.exchanges.clear()
            self.recorder.cleared()
            await self.view.conversation_cleared()

    async def restore(self, exchanges: list[Exchange], system: str) -> None:
        """Show a conversation that was saved, to go on with it."""
        async with self._one_at_a_time:
            self.system = system
            self.exchanges[:] = exchanges
            for exchange in exchanges:
                await self.view.exchange_started(exchange)
                if exchange.answer.text:
                    await self.view.answer_grew(exchange, exchange.answer.text)
                await self.view.exchange_ended(exchange)

    async def close(self) -> None:
        """Stop what is being answered and wait until its end is noted."""
        self.queue.clear()
        self.stop()
        async with self._one_at_a_time:
            pass

    async def run(self) -> None:
        """Answer what is queued, in order, until cancelled."""
        while True:
            engine = self.engine
            await engine.wait_ready()
            if engine is not self.engine:
                continue  # it was replaced meanwhile
            question = next((item for item in self.queue if not item.held), None)
            if question is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            async with self._one_at_a_time:
                if question not in self.queue or engine is not self.engine:
                    continue
                self.queue.remove(question)
                model = self.engine.model
                self._current = Exchange(question, Answer(model.title if model else "Model"))
                try:
                    await self._ask(self._current)
                finally:
                    self._current = self._task = None
                    self._stopping = False
            self.view.queue_changed()

    async def _ask(self, exchange: Exchange) -> None:
        """Carry one exchange through to its end, whatever that is."""
        self.exchanges.append(exchange)
        self.recorder.started(exchange, self.system)
        self.view.queue_changed()
        await self.view.exchange_started(exchange)
        deaths = self.engine.deaths
        self._task = asyncio.create_task(self._stream(exchange))
        if self._stopping:
            self._task.cancel()
        try:
            await asyncio.wait((self._task,))
        except asyncio.CancelledError:
            # The chat is being closed: what was said so far is what there is.
            self._task.cancel()
            exchange.answer.state = "stopped"
            self.recorder.ended(exchange, self.sampling, self.system)
            raise
        if self._task.cancelled():
            exchange.answer.state = "stopped"
            await self._end(exchange, None, deaths)
            return
        error = self._task.exception()
        exchange.answer.state = "failed" if error else "done"
        if error is not None and not isinstance(error, VlmchatError):
            # Servers that nobody vouches for can break any assumption of the client's.
            what = f"{type(error).__name__}: {visible_line(str(error))}"
            error = EngineError(f"The engine's answer could not be understood ({what}).")
        await self._end(exchange, error, deaths)

    async def _end(self, exchange: Exchange, error: VlmchatError | None, deaths: int) -> None:
        """Draw the end, tell an error once, and return what was never taken."""
        unanswered = error is not None and not exchange.answer.text
        exchange.dropped = unanswered
        self.recorder.ended(exchange, self.sampling, self.system)
        await self.view.exchange_ended(exchange)
        if error is None:
            return
        # When the process died, its keeper tells that, and better.
        if not isinstance(error, EngineError) or not await self.engine.died_since(deaths):
            self.view.notice(str(error), "error")
        if unanswered and not self.view.give_back(exchange.question):
            exchange.question.held = True
            self.queue.insert(0, exchange.question)

    async def _stream(self, exchange: Exchange) -> None:
        answer = exchange.answer
        began = time.perf_counter()
        first = began
        model = self.engine.model
        messages = history(self.system, self.exchanges)
        # A model is named only to servers that have several; ours has one.
        name = model.id if model and self.engine.kind == "remote" else ""
        stream = self.engine.client.chat(messages, self.sampling, name)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                now = time.perf_counter()
                if isinstance(event, TextDelta):
                    if answer.first_token_seconds is None:
                        first = now
                        answer.first_token_seconds = now - began
                        answer.state = "streaming"
                    answer.text += event.text
                    answer.seconds = now - first
                    self.recorder.grew(exchange)
                    await self.view.answer_grew(exchange, event.text)
                elif isinstance(event, Finished):
                    answer.finished = event
                    answer.seconds = now - first
