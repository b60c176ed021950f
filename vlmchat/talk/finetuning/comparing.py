"""An adapter against the model without it: the answers of both, from the engine that runs."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from vlmchat.client.protocol import TextDelta
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.finetune.compare import Contest, Pick, Prompt, Verdict, Who
    from vlmchat.finetune.reading import ExampleReader
    from vlmchat.finetune.shelf import Adapter
    from vlmchat.talk.front import Front

_LOOK_SECONDS = 0.25
_GIVEN_UP = ("failed", "unloaded")
Choice: TypeAlias = Literal["left", "right", "tie", "bad"]


@dataclass(frozen=True, slots=True)
class Both:
    """Two answers to one prompt."""

    base: str
    adapter: str

    def of(self, who: "Who") -> str:
        """Return one of them."""
        return self.adapter if who == "adapter" else self.base


class Comparing:
    """What is being compared; `begin` makes one, `close` ends it.

    Attributes:
        contest: the prompts, and what was said.
        blind: whether the person does not see which is which.
        name: of the adapter, for a person.
    """

    def __init__(
        self, front: "Front", contest: "Contest", reader: "ExampleReader | None", ours: bool
    ) -> None:
        self.contest = contest
        self.blind = True
        self.name = visible_line(contest.adapter.name)
        self._front = front
        self._reader = reader
        self._ours = ours
        self._answers: dict[str, asyncio.Task[Both]] = {}
        self._judged = False
        self._lost = False

    @classmethod
    async def begin(cls, front: "Front", name: str, files: Sequence[Path]) -> "Comparing":
        """Read the prompts, and lay the adapter over the model beside what answers now.

        Args:
            front: whose engine answers.
            name: of an adapter on the shelf; empty for the one that is on, else the newest.
            files: logs whose questions are asked; without any, what the adapter's run held back.

        Raises:
            VlmchatError: there is no such adapter, no prompt, or the adapter does not fit.
        """
        await _ready(front)
        engine = front.session.engine
        model = engine.model
        if model is None:
            raise UsageError("There is no model that answers: /restart loads it.")
        contest, reader = await asyncio.to_thread(_contest, name, files, model.adapter)
        try:
            adapter = contest.adapter
            there = {row.id for row in await engine.client.models()}
            await engine.client.load_adapter(adapter.name, adapter.folder, replace=True)
        except BaseException:
            if reader is not None:
                reader.close()
            raise
        return cls(front, contest, reader, ours=adapter.name not in there)

    @property
    def place(self) -> str:
        """Which of how many prompts comes next."""
        total = len(self.contest.prompts)
        return f"{min(total, total - len(self.contest.waiting) + 1)} of {total}"

    async def answers(self, prompt: "Prompt") -> Both:
        """Return the answers to a prompt; those to the next one are asked for meanwhile.

        Raises:
            VlmchatError: the engine did not answer; asking again may help.
        """
        task = self._asked(prompt)
        try:
            both = await asyncio.shield(task)
        except VlmchatError:
            self._answers.clear()
            self._lost = True  # it may have been restarted, without the adapter
            raise
        for other in self.contest.waiting[:2]:
            if other.key != prompt.key:
                self._asked(other)
        return both

    def _asked(self, prompt: "Prompt") -> asyncio.Task[Both]:
        if prompt.key not in self._answers:
            task = asyncio.create_task(self._both(prompt))
            task.add_done_callback(_seen)
            self._answers[prompt.key] = task
        return self._answers[prompt.key]

    async def _both(self, prompt: "Prompt") -> Both:
        if self._lost:
            adapter, client = self.contest.adapter, self._front.session.engine.client
            await client.load_adapter(adapter.name, adapter.folder, replace=True)
            self._lost = False
        return Both(
            await self._answer(prompt, ""), await self._answer(prompt, self.contest.adapter.name)
        )

    async def _answer(self, prompt: "Prompt", adapter: str) -> str:
        session = self._front.session
        model = session.engine.model
        stream = session.engine.client.chat(
            list(prompt.messages),
            session.sampling,
            model.id if model else "",
            videos=bool(model and model.video),
            adapter=adapter,
        )
        pieces: list[str] = []
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    pieces.append(event.text)
        return "".join(pieces).strip()

    def sides(self, prompt: "Prompt") -> "tuple[Who, Who]":
        """Return whose answers stand on the left and on the right."""
        left = self.contest.left(prompt)
        return (left, "base") if left == "adapter" else (left, "adapter")

    async def judge(self, prompt: "Prompt", both: Both, choice: Choice) -> "Pick":
        """Write a judgement down.

        Raises:
            VlmchatError: it cannot be written.
        """
        left, right = self.sides(prompt)
        verdict: Verdict
        if choice == "left" or choice == "right":  # noqa: PLR1714 - the type checker follows this
            verdict = left if choice == "left" else right
        else:
            verdict = choice
        pick = await asyncio.to_thread(
            self.contest.judge,
            *(prompt, both.base, both.adapter, verdict),
            blind=self.blind,
        )
        self._judged = True
        return pick

    async def close(self) -> str:
        """End it, keep the result on the adapter's card, and return what to say."""
        for task in self._answers.values():
            task.cancel()
        if self._reader is not None:
            await asyncio.to_thread(self._reader.close)
        engine = self._front.session.engine
        if self._ours and engine.adapter != self.contest.adapter.name:
            with contextlib.suppress(VlmchatError):
                await engine.client.unload_adapter(self.contest.adapter.name)
        said = self.contest.tally.sentence()
        if self._judged:
            try:
                await asyncio.to_thread(self.contest.note)
            except VlmchatError as error:
                return f"{said} {error}"
        return f"{said}{_left_words(self)}"


async def _ready(front: "Front") -> None:
    """Wait until the model is loaded, or cannot be."""
    told = False
    while (stage := front.session.engine.status.stage) != "ready" and stage not in _GIVEN_UP:
        if not told:
            told = True
            front.notice("Judging begins when the model is ready.")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(front.session.engine.wait_ready(), _LOOK_SECONDS)


def _left_words(comparing: Comparing) -> str:
    left, contest = len(comparing.contest.waiting), comparing.contest
    more = f" {left} wait: /judge {comparing.name} goes on." if left else ""
    if contest.preferences.exists():
        more += f" What was better is in {visible_line(str(contest.preferences))}, to learn from."
    return more


def _seen(task: "asyncio.Task[Both]") -> None:
    if not task.cancelled():
        task.exception()  # told when its turn comes, if ever


def _contest(name: str, files: Sequence[Path], on: str) -> "tuple[Contest, ExampleReader | None]":
    from vlmchat.finetune.compare import Contest, held_out, in_files
    from vlmchat.finetune.reading import ExampleReader

    adapter = _adapter(name, on)
    if not files:
        return Contest(adapter, held_out(adapter)), None
    reader = ExampleReader()
    try:
        return Contest(adapter, in_files(reader, files)), reader
    except BaseException:
        reader.close()
        raise


def _adapter(name: str, on: str) -> "Adapter":
    """Return the adapter of that name, else the one that is on, else the newest."""
    from vlmchat.finetune.shelf import list_adapters, open_adapter, with_digest

    if name:
        return open_adapter(name)
    found = with_digest(on.rpartition("@")[2]) if "@" in on else None
    if found is None:
        found = next(iter(list_adapters()), None)
    if found is None:
        raise UsageError("There is no adapter to judge yet: /finetune makes one.")
    return found
