"""The engine's state: one model, one answer at a time, the others waiting in order."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlmchat.errors import ModelError, VlmchatError
from vlmchat.models.progress import Progress, ProgressSink

if TYPE_CHECKING:
    from vlmchat.chat.messages import Message
    from vlmchat.engine.generate import Answer
    from vlmchat.engine.loading import LoadedModel
    from vlmchat.engine.sampling import SamplingParams

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """Where the engine stands; the same words as `vlmchat.client.protocol.EngineStatus`."""

    stage: str = "starting"
    text: str = "Starting"
    done: int = 0
    total: int = 0


class NotReadyError(VlmchatError):
    """The model is still being loaded, or could not be."""

    code = "loading"


class EngineService:
    """Holds the model and hands out the one thread that may use it.

    Args:
        load: brings the model up, reporting what it does; runs in the worker thread.
    """

    def __init__(self, load: Callable[[ProgressSink], "LoadedModel"]) -> None:
        self._load = load
        # One thread for all of torch: answers queue up in it in the order they were asked for.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._state = State()
        self.on_state: Callable[[State], None] | None = None
        self.loaded: LoadedModel | None = None

    @property
    def state(self) -> State:
        """Where the engine stands; whoever set `on_state` is told of every change."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        if self.on_state is not None:
            self.on_state(state)

    async def load(self) -> None:
        """Load the model; what goes wrong is kept in `state`, not raised."""
        loop = asyncio.get_running_loop()
        try:
            self.loaded = await loop.run_in_executor(self._worker, self._load, self._progress)
            self.state = State("ready", "Ready")
        except VlmchatError as error:
            log.exception("the model could not be loaded")
            self.state = State("failed", str(error))
        except MemoryError:
            log.exception("the model could not be loaded")
            self.state = State(
                "failed", "The model does not fit into memory: choose a smaller one."
            )
        except Exception as error:
            log.exception("the model could not be loaded")
            self.state = State("failed", f"The model could not be loaded ({_first_line(error)}).")

    def _progress(self, step: Progress) -> None:
        self.state = State(step.stage, step.text, step.done, step.total)

    def require(self) -> "LoadedModel":
        """Return the model.

        Raises:
            NotReadyError: it is still being loaded.
            ModelError: loading failed.
        """
        if self.loaded is not None:
            return self.loaded
        if self.state.stage == "failed":
            raise ModelError(self.state.text)
        raise NotReadyError(f"The model is not ready yet ({self.state.text}): ask again soon.")

    async def answer(
        self,
        messages: list["Message"],
        params: "SamplingParams",
        cancel: threading.Event,
        *,
        going_on: bool = False,
    ) -> AsyncIterator["str | Answer"]:
        """Yield the pieces of the answer's text, then what is known about it.

        Setting `cancel`, or closing the iterator, stops the generation within one token. With
        `going_on` the last message is continued rather than answered.

        Raises:
            VlmchatError: the request cannot be answered; nothing was computed.
        """
        loaded = self.require()
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[str | Answer | Exception] = asyncio.Queue()

        def put(item: "str | Answer | Exception") -> None:
            if item != "":
                loop.call_soon_threadsafe(queue.put_nowait, item)

        def work() -> None:
            from vlmchat.engine.generate import check_fits, generate

            try:
                prompt = loaded.builder.build(messages, going_on=going_on)
                check_fits(prompt, loaded.context)
                put(generate(loaded, prompt, params, cancel, put))
            except Exception as error:  # handed to the one who asked
                put(error)

        future = loop.run_in_executor(self._worker, work)
        try:
            while True:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                if not isinstance(item, str):
                    return
        finally:
            cancel.set()
            future.cancel()  # if it still waits in the queue; a running one sees the event

    def close(self) -> None:
        """Stop taking work."""
        self._worker.shutdown(wait=False, cancel_futures=True)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300].rstrip(".") if lines else type(error).__name__
