"""Long work beside the chat: one piece at a time, stopped when the person says so.

What is asked of the engine for it comes in small pieces, so that a question in the chat waits for
no more than one of them.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmchat.errors import VlmchatError

if TYPE_CHECKING:
    from vlmchat.client.protocol import ModelInfo
    from vlmchat.talk.front import Front
    from vlmchat.talk.session import ChatSession

_LOOK_SECONDS = 0.25
_GIVEN_UP = ("failed", "unloaded")


class ModelChangedError(VlmchatError):
    """The model that the work was begun with does not answer any more."""


class LongWork:
    """One piece of long work at a time.

    Args:
        front: whose engine does it.

    Attributes:
        changed: told when there is something new to show.
        failure: why the last work ended before its end, as a sentence; empty if it did not.
    """

    def __init__(self, front: "Front") -> None:
        self._front = front
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.failure = ""
        self.changed: Callable[[], None] = lambda: None

    @property
    def active(self) -> bool:
        """Whether it is under way."""
        return self._task is not None

    def stop(self) -> bool:
        """End it after the piece that is under way; false when there is none."""
        self._stopping = self._stopping or self.active
        return self.active

    async def ended(self) -> None:
        """Wait until nothing is under way any more."""
        while (task := self._task) is not None:
            await asyncio.wait((task,))

    async def close(self) -> None:
        """End it at once, because the program ends."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, which says its own sentence when it succeeds."""
        self._stopping, self.failure = False, ""
        self._task = asyncio.create_task(self._guarded(work))
        self._task.add_done_callback(self._ended)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except VlmchatError as error:
            self.failure = str(error)
            self._front.notice(self.failure, "error")

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            self._task = None
            self._tell()

    def _tell(self) -> None:
        self._front.session.view.queue_changed()
        self.changed()

    async def _ready(self) -> "ModelInfo":
        """Return the model that answers, once it is loaded.

        Raises:
            ModelChangedError: there is none.
        """
        engine = self._front.session.engine
        while (stage := engine.status.stage) != "ready" and stage not in _GIVEN_UP:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._front.session.engine.wait_ready(), _LOOK_SECONDS)
            engine = self._front.session.engine
        if engine.model is None or stage != "ready":
            raise ModelChangedError("There is no model that answers: /restart loads it.")
        return engine.model

    def _check_still(self, model: "ModelInfo", what: str) -> None:
        """Check that the model that the work was begun with answers still.

        Raises:
            ModelChangedError: another one does.
        """
        now = self._front.session.engine.model
        if now is None or (now.id, now.adapter) != (model.id, model.adapter):
            raise ModelChangedError(f"Another model answers now: {what}.")


def own_file(folder: str, title: str, *asked: str) -> Path:
    """Return the file for what comes of a wish, the same each time it is wished; blocking.

    Args:
        folder: in the folder of data; made if it is not there.
        title: that the name begins with.
        asked: all that decides what comes of it.
    """
    from vlmchat import paths
    from vlmchat.finetune.files import safe_name

    digest = hashlib.sha256("\0".join(asked).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    above = paths.data_dir() / folder
    above.mkdir(mode=0o700, exist_ok=True)
    return above / f"{safe_name(title)}-{digest}.jsonl"


def spoken_to(session: "ChatSession") -> str:
    """Return whom requests beside the answers are for; empty for whoever the engine answers with.

    A server is told its model, as for questions; ours an adapter, or its model where none is
    wanted.
    """
    engine = session.engine
    bare = engine.kind == "remote" or engine.adapter == ""
    return engine.adapter or (engine.model.id if engine.model and bare else "")


class StoppedError(Exception):
    """The person has stopped it; raised by the work between two of its pieces."""
