"""Watching: the newest frame of a live source put to the model, again and again.

Each exchange is an ordinary turn of the conversation. A question is sent only while the model is
idle and nothing waits, so that none ever queues up: what was not asked about is gone.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from vlmchat.chat.messages import ImagePart
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.talk.turns.tree import Turn

if TYPE_CHECKING:
    from vlmchat.media.live import LiveSource, Seen
    from vlmchat.talk.front import Front
    from vlmchat.talk.turns.tree import Tree

EVERY = 5.0
PROMPT = "Describe what you see in one sentence."
_LOOK = 0.1  # seconds between looks at whether the model is idle
_NEWER = 0.25  # seconds to wait for a newer frame before looking round again
_ROOM = 8  # the share of the context that is left free: one in so many
_LONGEST = 86400  # seconds between questions
_SECONDS = re.compile(r"(\d{1,6}(?:\.\d+)?)\s*s?(?=\s|\Z)", re.ASCII)
_SHORT = 24  # characters of a source's name in the status bar


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched, and how.

    Attributes:
        source: as the person named it.
        every: seconds from question to question.
        prompt: asked about each frame.
    """

    source: str
    every: float = EVERY
    prompt: str = PROMPT


class Watcher:
    """Watches one source at a time for a front.

    Args:
        front: whose conversation the questions go to.
    """

    def __init__(self, front: "Front") -> None:
        self._front = front
        self._task: asyncio.Task[None] | None = None
        self._source: LiveSource | None = None
        self._title = ""
        self._sent = ""

    @property
    def active(self) -> bool:
        """Whether something is watched."""
        return self._task is not None

    @property
    def label(self) -> str:
        """What stands in the status bar; empty while nothing is watched."""
        if not self.active:
            return ""
        title = self._title
        # The status bar leaves the name out where there is no room for it.
        return f"watching {title if len(title) <= _SHORT else title[: _SHORT - 1] + '…'}"

    def asked(self, turn: Turn) -> bool:
        """Return whether a question is the watcher's last one."""
        return bool(self._sent) and any(item.sha256 == self._sent for item in turn.media)

    def start(self, watch: Watch) -> None:
        """Watch; something else that is watched is left.

        Raises:
            UsageError: nothing can be called this.
        """
        from vlmchat.media.live_names import opening

        # Of Windows alone the cameras' names have to be looked up, which the thread does.
        opening(watch.source, cameras=lambda: [""] * 100)
        self.stop()
        self._title, self._sent = watch.source, ""
        self._task = asyncio.create_task(self._run(watch))
        self._task.add_done_callback(self._done)
        self._changed()

    def stop(self) -> bool:
        """Watch no more; an answer that is arriving goes on. False when nothing is watched."""
        task, self._task = self._task, None
        if task is None:
            return False
        task.cancel()
        self._leave()
        self._front.notice(f"Watching {self._title} stopped.")
        self._changed()
        return True

    async def ended(self) -> None:
        """Wait until nothing is watched any more."""
        while (task := self._task) is not None:
            await asyncio.wait((task,))

    async def close(self) -> None:
        """Watch no more, because the program ends."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            self._leave()
            await asyncio.gather(task, return_exceptions=True)

    def _done(self, task: "asyncio.Task[None]") -> None:
        if task is self._task:
            self._task = None
            self._changed()

    def _leave(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _changed(self) -> None:
        self._front.session.view.queue_changed()

    # Watching ---------------------------------------------------------------------------------

    async def _run(self, watch: Watch) -> None:
        notice = self._front.notice
        try:
            source = await self._opened(watch)
            notice(f"Watching {self._title}: {self._front.key_or_command('stop')} stops.")
            reason = await self._ask_on(source, watch)
            notice(f"Watching {self._title} ended: {reason}")
        except VlmchatError as error:
            notice(str(error), "error")
        finally:
            self._leave()

    async def _opened(self, watch: Watch) -> "LiveSource":
        from vlmchat.media.live import LiveSource, cameras, longest_edge
        from vlmchat.media.live_names import opening

        loop = asyncio.get_running_loop()

        def say(sentence: str) -> None:
            with contextlib.suppress(RuntimeError):  # the program has ended meanwhile
                loop.call_soon_threadsafe(self._front.notice, sentence)

        plan = await asyncio.to_thread(partial(opening, watch.source, cameras=cameras))
        source = LiveSource(plan, longest_edge(self._front.session.detail), say)
        self._source, self._title = source, plan.title
        self._changed()
        if plan.kind != "file":
            await asyncio.to_thread(source.start)
            return source
        await asyncio.to_thread(source.open)
        await self._idle()  # a film begins when there is somebody to look at it
        source.start()
        return source

    async def _ask_on(self, source: "LiveSource", watch: Watch) -> str:
        """Ask until the source or something else ends it; return why, as one sentence."""
        session, loop = self._front.session, asyncio.get_running_loop()
        number, due = 0, loop.time()
        tree = session.tree
        while True:
            # A thread ends the source, and nobody tells of all that keeps the model busy.
            while loop.time() < due and not source.ended:  # noqa: ASYNC110
                await asyncio.sleep(min(_NEWER, due - loop.time()))
            await self._idle()
            if source.ended and (number or source.error is not None):
                if source.error is not None:
                    raise source.error
                return "there is no more to see."
            if not session.tree.roots:
                tree = session.tree
            if session.tree is not tree:
                return "another conversation was opened."
            seen = await asyncio.to_thread(source.newest, number, _NEWER)
            if seen is None or self._busy():
                number = number or int(source.ended)
                continue
            number, due = seen.number, loop.time() + watch.every
            tree = await self._room(tree)
            if not await self._ask(source, seen, watch.prompt):
                return "a question was not answered."

    async def _ask(self, source: "LiveSource", seen: "Seen", prompt: str) -> bool:
        """Ask about a frame and wait for the answer; false when it came to nothing."""
        session = self._front.session
        picture = await asyncio.to_thread(seen.as_media, source.opening.title)
        before, self._sent = session.tree.tip, picture.sha256
        session.submit(prompt, (ImagePart(picture),))
        await self._idle()
        turn = session.tree.tip
        return turn is not before and turn is not None and turn.state not in ("stopped", "failed")

    async def _room(self, tree: "Tree") -> "Tree":
        """Begin a new conversation when the present one is nearly as long as the model can read."""
        session = self._front.session
        context = session.context
        if context.limit and context.used > context.limit - context.limit // _ROOM:
            await self._front.new_conversation()
            self._front.notice("The conversation was full: watching goes on in a new one.")
            return session.tree
        return tree

    def _busy(self) -> bool:
        session = self._front.session
        waits = any(not question.held for question in session.queue)
        return session.answering or waits or session.engine.status.stage != "ready"

    async def _idle(self) -> None:
        """Wait until the model has nothing to do."""
        while self._busy():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)


def parse(argument: str) -> Watch:
    """Return what ``/watch SOURCE [SECONDS] [PROMPT]`` says.

    Raises:
        UsageError: no source, or seconds that make no sense.
    """
    from vlmchat.talk.desktop.pasted import first_word

    source, rest = first_word(argument)
    match = _SECONDS.match(rest)
    every = float(match.group(1)) if match else EVERY
    if every > _LONGEST:
        raise UsageError(f"Seconds between questions go from 0 to {_LONGEST}.")
    return Watch(source, every, (rest[match.end() :] if match else rest).strip() or PROMPT)
