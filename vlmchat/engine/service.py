"""The engine's state: one model with its adapters, and the answers that are asked of it."""

import asyncio
import contextlib
import importlib
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vlmchat.engine.caching.limits import CacheLimits
from vlmchat.engine.events import Answer, Reading
from vlmchat.errors import ModelError, UsageError, VlmchatError
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Message
    from vlmchat.engine.batching import Batcher
    from vlmchat.engine.caching.caches import Caches
    from vlmchat.engine.loading import LoadedModel
    from vlmchat.engine.prompt import Prompt
    from vlmchat.engine.sampling import SamplingParams

log = logging.getLogger(__name__)
_IDLE_SECONDS = 1.0

T = TypeVar("T")


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
        limits: how much is kept of pictures and conversations.

    Attributes:
        loaded: the model that answers whoever names none; with an adapter if it began with one.
        adapters: the model with each of its adapters, by name.
        also: folders of adapters to begin with beside the first, by name.
    """

    def __init__(
        self,
        load: Callable[[ProgressSink], "LoadedModel"],
        limits: CacheLimits | None = None,
    ) -> None:
        self._load = load
        self._limits = limits or CacheLimits()
        self._caches: Caches | None = None
        self._batcher: Batcher | None = None
        # One thread for all of torch: what uses the model queues up in it.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._state = State()
        self.on_state: Callable[[State], None] | None = None
        self.loaded: LoadedModel | None = None
        self.adapters: dict[str, LoadedModel] = {}
        self.also: Mapping[str, Path] = {}
        self._one_at_a_time = asyncio.Lock()
        self._answering = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._warming: asyncio.Task[None] | None = None

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
            if self.loaded.base is not None:
                self.adapters[self.loaded.adapter.rpartition("@")[0]] = self.loaded
            for name, folder in self.also.items():
                self.state = State("loading", f"Loading the adapter “{visible_line(name)}”")
                await self.load_adapter(name, folder, replace=False)
            self.state = State("ready", "Ready")
            self._warming = asyncio.create_task(self._warm())
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

    async def _warm(self) -> None:
        """Load what somebody may soon wait for: the plain text model, and what adapters need."""
        from vlmchat.engine.views import changeable
        from vlmchat.models.adapter import any_on_shelf

        await asyncio.sleep(_IDLE_SECONDS)
        await self._idle.wait()
        await asyncio.to_thread(self.require().answering, ())
        if await asyncio.to_thread(any_on_shelf):
            await asyncio.to_thread(importlib.import_module, "peft")
            await asyncio.to_thread(changeable, self.require().model)

    def _progress(self, step: Progress) -> None:
        self.state = State(step.stage, step.text, step.done, step.total)

    def require(self, name: str | None = None) -> "LoadedModel":
        """Return the model.

        Args:
            name: of an adapter, or of the model without any; by default what it began with.

        Raises:
            NotReadyError: it is still being loaded.
            ModelError: loading failed.
            UsageError: nothing here has this name.
        """
        if self.loaded is not None:
            if not name:
                return self.loaded
            if name in self.loaded.names:
                return self.loaded.base or self.loaded
            if name in self.adapters:
                return self.adapters[name]
            names = "”, “".join(map(visible_line, (self.loaded.id, *self.adapters)))
            raise UsageError(
                f"The model “{visible_line(name)}” is not served here; this engine has “{names}”."
            )
        if self.state.stage == "failed":
            raise ModelError(self.state.text)
        raise NotReadyError(f"The model is not ready yet ({self.state.text}): ask again soon.")

    async def load_adapter(self, name: str, path: Path, *, replace: bool) -> "LoadedModel":
        """Lay an adapter over the model, beside those there are; answers go on meanwhile.

        Args:
            name: what requests will call it.
            path: its folder.
            replace: whether another adapter of that name gives way, once this one is loaded.

        Raises:
            VlmchatError: the name is taken, or the adapter does not fit; nothing has changed.
        """
        from vlmchat.engine.adapters import wear

        loaded = self.require()
        base = loaded.base or loaded
        if not name.strip() or name in base.names:
            raise UsageError(f"An adapter cannot be called “{visible_line(name)}”: name it anew.")
        async with self._one_at_a_time:
            if name in self.adapters and not replace:
                raise UsageError(
                    f"There is an adapter “{visible_line(name)}” already: unload it first, or send "
                    "load_inplace."
                )
            new, old = await asyncio.to_thread(wear, base, name, path), self.adapters.get(name)
            if old is not None and old.adapter == new.adapter:
                return old
            self.adapters[name] = new
            if old is not None and old is self.loaded:
                self.loaded = new
            return new

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; an answer that is made with it goes on with it.

        Raises:
            UsageError: there is none of that name.
        """
        if name not in self.adapters:
            there = ", ".join(map(visible_line, self.adapters)) or "none"
            raise UsageError(f"There is no adapter “{visible_line(name)}” here: there are {there}.")
        gone = self.adapters.pop(name)
        if gone is self.loaded:
            self.loaded = gone.base

    async def answer(
        self,
        messages: list["Message"],
        params: "SamplingParams",
        cancel: threading.Event,
        *,
        going_on: bool = False,
        drop_oldest: bool = False,
        loaded: "LoadedModel | None" = None,
        priority: int = 0,
    ) -> AsyncGenerator[str | Reading | Answer, None]:
        """Yield how far the prompt is read, the pieces of the answer's text, and its end.

        Setting `cancel`, or closing the iterator, stops the generation within one token. With
        `going_on` the last message is continued rather than answered. With `drop_oldest` turns are
        left out that do not fit. `loaded` is what answers, as `require` gave it. Of those who wait,
        the lowest `priority` is answered first.

        Raises:
            VlmchatError: the request cannot be answered; nothing was computed.
        """
        model = await asyncio.to_thread((loaded or self.require()).answering, messages)
        from vlmchat.engine.batching import Wanted
        from vlmchat.engine.fitting import check_fits, shortened

        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[str | Reading | Answer | Exception] = asyncio.Queue()

        def put(item: str | Reading | Answer | Exception) -> None:
            if item != "":
                with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits
                    loop.call_soon_threadsafe(queue.put_nowait, item)

        dropped = 0

        def build() -> "Prompt":
            nonlocal dropped
            if drop_oldest:
                prompt, dropped = shortened(model, messages, params, going_on=going_on)
            else:
                prompt = model.builder.build(messages, going_on=going_on)
            check_fits(prompt, model.context)
            return prompt

        def tell(item: str | Reading | Answer | Exception) -> None:
            put(replace(item, dropped_turns=dropped) if isinstance(item, Answer) else item)

        self._batches().add(Wanted(model, build, params, cancel, tell, priority))
        self._answering += 1
        self._idle.clear()
        try:
            while True:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                if isinstance(item, Answer):
                    return
        finally:
            self._answering -= 1
            if not self._answering:
                self._idle.set()
            cancel.set()

    def _batches(self) -> "Batcher":
        """Return what makes the answers."""
        if self._batcher is None:
            from vlmchat.engine.batching import Batcher

            self._batcher = Batcher(self._worker.submit, self._kept)
        return self._batcher

    async def compute(
        self, model: "LoadedModel", work: Callable[["Caches"], T], cancel: threading.Event
    ) -> T:
        """Return what `work` makes of the engine's caches, in the thread that may use models.

        Whoever ends the waiting sets `cancel`; `work` looks at it between pieces of what it does.
        """
        loop = asyncio.get_running_loop()
        self._answering += 1
        self._idle.clear()
        try:
            return await loop.run_in_executor(self._worker, lambda: work(self._kept(model)))
        finally:
            cancel.set()
            self._answering -= 1
            if not self._answering:
                self._idle.set()

    def _kept(self, model: "LoadedModel") -> "Caches":
        """Return the caches, made when there is something to keep."""
        if self._caches is None:
            from vlmchat.engine.caching.caches import Caches

            self._caches = Caches(self._limits, model.hardware.device)
        return self._caches

    def kept_bytes(self) -> dict[str, int]:
        """Return what is kept for later, in bytes of memory."""
        caches = self._caches
        if caches is None:
            return {"pictures": 0, "conversations": 0}
        return {"pictures": caches.features.nbytes, "conversations": caches.prefixes.nbytes}

    def close(self) -> None:
        """Stop taking work."""
        if self._warming is not None:
            self._warming.cancel()
        if self._batcher is not None:
            self._batcher.close()
        self._worker.shutdown(wait=False, cancel_futures=True)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300].rstrip(".") if lines else type(error).__name__
