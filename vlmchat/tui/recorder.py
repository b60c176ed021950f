"""Saves the conversation as it happens, and brings the last one back.

All writing is done by one thread of its own, in order, so that the screen never waits for the
disk. Text is at most `SAVE_SECONDS` and one write behind what is seen.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TypeVar

from vlmchat.chat.messages import Message, TextPart, user_message
from vlmchat.client.protocol import Finished, Sampling, Usage
from vlmchat.errors import VlmchatError
from vlmchat.store.records import Node, Provenance, State
from vlmchat.store.store import Store
from vlmchat.text import visible_line
from vlmchat.tui.turns import Answer, AnswerState, Exchange, Question

_T = TypeVar("_T")
SAVE_SECONDS = 0.2
_TITLE = 60
_STATES: dict[AnswerState, State] = {
    "waiting": "stopped",
    "streaming": "stopped",
    "done": "complete",
    "stopped": "stopped",
    "failed": "failed",
}


@dataclass(slots=True)
class _Rows:
    """Where an exchange lies in the store: what came before it, and its reply."""

    before: int | None
    reply: int


class StoreRecorder:
    """Saves to a `Store`.

    Args:
        store: open; closed by `close`.
        trouble: told, once, the sentence of the first error; the chat then goes on unsaved.
    """

    def __init__(self, store: Store, trouble: Callable[[str], None]) -> None:
        self._store = store
        self._trouble = trouble
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._broken = False
        # Only the writer's thread looks at these.
        self._thread: int | None = None
        self._tip: int | None = None
        self._rows: dict[int, _Rows] = {}

    def started(self, exchange: Exchange, system: str) -> None:
        """Save the question, and the place of its answer."""
        self._write(lambda: self._begin(exchange, system))

    def grew(self, exchange: Exchange) -> None:
        """Save the text so far, soon."""
        if self._timer is None:
            self._timer = self._loop.call_later(SAVE_SECONDS, self._save_text, exchange)

    def ended(self, exchange: Exchange, sampling: Sampling, system: str) -> None:
        """Save how the answer ended and what produced it."""
        self._stop_timer()
        made = _provenance(exchange.answer, sampling, system)
        text, state = exchange.answer.text, _STATES[exchange.answer.state]
        dropped = exchange.dropped
        self._write(lambda: self._end(id(exchange), text, state, made, dropped))

    def cleared(self) -> None:
        """Begin another conversation with the next question."""

        def forget() -> None:
            self._thread = self._tip = None

        self._write(forget)

    async def last(self) -> tuple[list[Exchange], str]:
        """Return the conversation that was used last, and its system prompt, to go on with it.

        Raises:
            StoreError: it cannot be read.
        """
        return await self._loop.run_in_executor(self._writer, self._load_last)

    async def ask(self, work: Callable[[Store], _T]) -> _T:
        """Return what `work` reads from the store, after all that is still to be written.

        Raises:
            StoreError: `work` raised it.
        """
        return await self._loop.run_in_executor(self._writer, work, self._store)

    async def close(self) -> None:
        """Write what is still to be written and close the store."""
        self._stop_timer()
        await asyncio.to_thread(self._writer.shutdown)
        self._store.close()

    # In the writer's thread -------------------------------------------------------------------

    def _begin(self, exchange: Exchange, system: str) -> None:
        question = exchange.question
        if self._thread is None:
            title = visible_line(" ".join(question.text.split()))[:_TITLE]
            names = ", ".join(visible_line(media.name) for media in question.media)
            self._thread = self._store.new_thread(title or names[:_TITLE])
        self._store.change_thread(self._thread, system=system)
        before = self._tip
        asked = self._store.add(
            self._thread, before, user_message(question.text, question.media), author="person"
        )
        empty = Message("assistant", (TextPart(""),))
        reply = self._store.add(self._thread, asked, empty, author="model", state="streaming")
        self._rows[id(exchange)] = _Rows(before, reply)
        self._tip = reply

    def _end(self, key: int, text: str, state: State, made: Provenance, dropped: bool) -> None:
        rows = self._rows.pop(key)
        self._store.finish(rows.reply, text, state, made)
        if dropped and self._thread is not None:
            # The question went back to the person: the conversation goes on before it.
            self._tip = rows.before
            self._store.change_thread(self._thread, tip=rows.before)

    def _load_last(self) -> tuple[list[Exchange], str]:
        for thread in self._store.threads(limit=1_000):
            if thread.tip is not None:
                self._thread, self._tip = thread.id, thread.tip
                nodes = self._store.path(thread.id)
                made = {node.id: self._store.provenance(node.id) for node in nodes}
                return exchanges_of(nodes, made), thread.system
        return [], ""

    # In the loop's thread ---------------------------------------------------------------------

    def _save_text(self, exchange: Exchange) -> None:
        self._timer = None
        text = exchange.answer.text
        self._write(lambda: self._store.grow(self._rows[id(exchange)].reply, text))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write(self, work: Callable[[], None]) -> None:
        def carefully() -> None:
            if self._broken:
                return
            try:
                work()
            except VlmchatError as error:
                self._broken = True
                self._loop.call_soon_threadsafe(
                    self._trouble,
                    f"{error} From here on this conversation is not saved; it goes on in memory.",
                )

        self._writer.submit(carefully)


def _provenance(answer: Answer, sampling: Sampling, system: str) -> Provenance:
    finished = answer.finished
    usage = finished.usage if finished else None
    seen = {"first_token_seconds": answer.first_token_seconds, "seconds": answer.seconds}
    return Provenance(
        engine={"title": answer.speaker, **(finished.provenance if finished else {})},
        sampling=sampling.as_fields(),
        system=system,
        finish_reason=finished.finish_reason if finished else None,
        timings={**seen, **(finished.timings if finished else {})},
        **(asdict(usage) if usage else {}),
    )


def exchanges_of(nodes: list[Node], provenance: dict[int, Provenance | None]) -> list[Exchange]:
    """Return a path of the tree as questions and answers.

    Args:
        nodes: from the first message to the tip.
        provenance: of each reply, where it is known.
    """
    found: list[Exchange] = []
    for node in nodes:
        if node.message.role == "user":
            question = Question(node.message.text, node.message.media)
            found.append(Exchange(question, Answer("Model", state="stopped")))
        elif node.message.role == "assistant" and found:
            _fill(found[-1].answer, node, provenance.get(node.id))
    return found


def _fill(answer: Answer, node: Node, made: Provenance | None) -> None:
    answer.text = node.message.text
    answer.state = "done" if node.state == "complete" else "stopped"
    if node.state == "failed":
        answer.state = "failed"
    if made is None:
        return
    answer.speaker = str(made.engine.get("title", "Model"))
    first = made.timings.get("first_token_seconds")
    answer.first_token_seconds = float(first) if isinstance(first, int | float) else None
    answer.seconds = float(made.timings.get("seconds", 0.0))
    if made.finish_reason is not None:
        usage = None
        if made.prompt_tokens is not None and made.completion_tokens is not None:
            usage = Usage(made.prompt_tokens, made.completion_tokens, made.cached_tokens or 0)
        numbers = {k: v for k, v in made.timings.items() if isinstance(v, int | float)}
        answer.finished = Finished(made.finish_reason, usage, numbers, dict(made.engine))
