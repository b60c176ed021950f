"""Keeps an engine for the chat: brings it up, says how it stands, restarts it when it dies.

Changes are told through one callback, so that tests and other fronts can listen too.
"""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from vlmchat.client.protocol import EngineStatus, ModelInfo
from vlmchat.errors import EngineError, NoAdaptersError, VlmchatError
from vlmchat.models.adapter import OFF
from vlmchat.text import visible_line

if TYPE_CHECKING:
    # The HTTP library is imported once the screen stands.
    from vlmchat.client.api import EngineClient
    from vlmchat.client.supervisor import LocalEngine

# An engine that dies again so soon after it was restarted would only go on dying.
RESTART_WINDOW_SECONDS = 60.0
_KEPT_ADAPTERS = 4


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The engine stands elsewhere than before."""

    status: EngineStatus


@dataclass(frozen=True, slots=True)
class EngineFailed:
    """The engine cannot answer any more, or yet.

    Attributes:
        sentence: what a person should read.
        died: the process ended, rather than the model failing to load.
        restarting: it is being restarted without being asked.
    """

    sentence: str
    died: bool
    restarting: bool


EngineEvent: TypeAlias = StatusChanged | EngineFailed
Listener: TypeAlias = Callable[[EngineEvent], None]
Kind: TypeAlias = Literal["local", "remote"]


class EngineKeeper(Protocol):
    """What the chat needs of whatever answers."""

    kind: Kind
    status: EngineStatus
    deaths: int

    @property
    def client(self) -> "EngineClient":
        """The client to ask; raises `EngineError` when there is none."""

    @property
    def model(self) -> ModelInfo | None:
        """The model that answers, once known."""

    @property
    def adapter(self) -> str | None:
        """The adapter to ask for; empty asks for none, ``None`` leaves it to the engine."""

    async def use_adapter(self, folder: Path | None) -> str:
        """Have questions from here on answered with another adapter, or with none.

        Returns:
            A sentence that the person should see; may be empty.

        Raises:
            NoAdaptersError: the engine cannot do that while it runs.
            VlmchatError: the adapter does not fit; nothing has changed.
        """

    @property
    def whereabouts(self) -> Mapping[str, str]:
        """What must be known to find the engine again: its address, an adapter's folder."""

    @property
    def pid(self) -> int | None:
        """The process that is kept, while it runs; none when it is not ours."""

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of every `EngineEvent` from now on."""

    def release(self) -> list[Listener]:
        """Tell nobody any more, and return who was told."""

    def start(self) -> None:
        """Begin to keep the engine."""

    async def close(self) -> None:
        """End the engine and whatever keeps it."""

    async def wait_ready(self) -> None:
        """Wait until questions are taken."""

    async def died_since(self, deaths: int) -> bool:
        """Say whether the process died after the count `deaths`, waiting a moment for the news."""

    def restart(self) -> None:
        """Bring the engine up again, now."""

    async def unload(self, sentence: str) -> None:
        """End the engine until it is asked to restart, if it is ours; `sentence` says why."""

    def log_tail(self) -> str:
        """Return the last lines of the engine's log."""


class _Keeper(ABC):
    """What all kinds share: the status, the listeners, the task and the wish to restart."""

    def __init__(self) -> None:
        self.status = EngineStatus("starting", "Starting the engine")
        self.deaths = 0
        self._listeners: list[Listener] = []
        self._ready = asyncio.Event()
        self._again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def run(self) -> None:
        """Keep the engine until cancelled, then end it."""

    def start(self) -> None:
        """Begin to keep the engine."""
        self._task = asyncio.create_task(self._run_and_tell())

    async def _run_and_tell(self) -> None:
        try:
            await self.run()
        except Exception as error:
            # Nobody awaits this task while the chat runs: a fault must not pass in silence.
            what = f"{type(error).__name__}: {visible_line(str(error))}"
            self._fail(f"The engine cannot be kept any more ({what}).", died=True, restarting=False)

    async def close(self) -> None:
        """End the engine and whatever keeps it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        # Whoever waits for this engine shall look for another.
        self._ready.set()

    @property
    def model(self) -> ModelInfo | None:
        return self.status.model

    @property
    def adapter(self) -> str | None:
        return None

    async def use_adapter(self, folder: Path | None) -> str:
        raise NoAdaptersError("This engine cannot change adapters while it runs.")

    @property
    def whereabouts(self) -> Mapping[str, str]:
        return {}

    @property
    def pid(self) -> int | None:
        return None

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def release(self) -> list[Listener]:
        listeners, self._listeners = self._listeners, []
        return listeners

    async def wait_ready(self) -> None:
        await self._ready.wait()

    def restart(self) -> None:
        self._again.set()

    async def unload(self, sentence: str) -> None:  # noqa: B027 - there is no process of ours
        """Do nothing."""

    def _tell(self, event: EngineEvent) -> None:
        for listener in self._listeners:
            listener(event)

    def _stand(self, status: EngineStatus) -> None:
        self.status = status
        if status.stage == "ready":
            self._ready.set()
        else:
            self._ready.clear()
        self._tell(StatusChanged(status))

    def _fail(self, sentence: str, *, died: bool, restarting: bool) -> None:
        if restarting:
            self._stand(EngineStatus("starting", "Restarting the engine"))
        else:
            self._stand(EngineStatus("failed", sentence))
        self._tell(EngineFailed(sentence, died, restarting))

    async def _asked_again(self) -> None:
        await self._again.wait()
        self._again.clear()


class NoEngine(_Keeper):
    """Stands in until it is known which engine there will be."""

    kind: Kind = "local"

    @property
    def client(self) -> "EngineClient":
        """Raise: there is none yet."""
        raise EngineError("The engine has not been started yet: wait a moment.")

    def log_tail(self) -> str:
        """Return nothing."""
        return ""

    async def died_since(self, deaths: int) -> bool:
        """Return false."""
        return False

    async def run(self) -> None:
        """Keep nothing."""


class LocalKeeper(_Keeper):
    """Keeps the engine process of this machine.

    Args:
        engine: the process, not yet started.
        clock: seconds, monotonic; for tests.
    """

    kind: Kind = "local"

    def __init__(self, engine: "LocalEngine", clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.engine = engine
        self._clock = clock
        self._last_restart = float("-inf")
        self._unload = asyncio.Event()
        self._unloaded = asyncio.Event()
        self._why_unloaded = ""
        self._adapter: str | None = None
        self._loaded: list[str] = []

    @property
    def adapter(self) -> str | None:
        """The adapter to ask for; empty asks for none, ``None`` is what the engine began with."""
        return self._adapter

    async def use_adapter(self, folder: Path | None) -> str:
        """Have questions from here on answered with another adapter, or with none.

        It is loaded beside the model while answers go on, and a restarted engine begins with it.
        """
        model, client = self.status.model, self.client
        if model is None:
            raise NoAdaptersError("The engine is not ready yet: wait a moment.")
        adapter, remark, name = "", "", ""
        if folder is not None:
            name = folder.name
            made = await client.load_adapter(name, folder, replace=True)
            adapter, remark = made.model.adapter, made.remark
        elif model.adapter or self.engine.options.adapter:
            # Only where adapters have names of their own, the model's name means it without one.
            named = [row for row in await client.models() if row.parent]
            if not named:
                raise NoAdaptersError("The engine cannot change adapters while it runs.")
        if client is not self.engine.client:
            raise NoAdaptersError("The engine was restarted meanwhile: try again.")
        self._adapter = name
        self.engine.options = replace(
            self.engine.options, adapter=None if folder is None else str(folder)
        )
        self._stand(replace(self.status, model=replace(model, adapter=adapter)))
        await self._forget_others(name)
        return remark

    async def _forget_others(self, name: str) -> None:
        """Keep the adapter and those used before it, so that going back costs nothing."""
        self._loaded = [
            *(other for other in self._loaded if other != name),
            *([name] if name else []),
        ]
        while len(self._loaded) > _KEPT_ADAPTERS:
            with contextlib.suppress(VlmchatError):
                await self.client.unload_adapter(self._loaded.pop(0))

    @property
    def client(self) -> "EngineClient":
        """The client of the running engine."""
        return self.engine.client

    @property
    def whereabouts(self) -> Mapping[str, str]:
        """The adapter's folder; the engine itself tells only its name."""
        adapter = self.engine.options.adapter
        if not adapter or adapter == OFF:
            return {}
        return {"adapter_path": str(Path(adapter).absolute())}

    @property
    def pid(self) -> int | None:
        """The engine's process, while it runs."""
        return self.engine.pid

    def log_tail(self) -> str:
        """Return the last lines of the engine's log."""
        return self.engine.log_tail()

    async def died_since(self, deaths: int) -> bool:
        """Say whether the process died after the count `deaths`.

        A broken connection is noticed a moment before the process's end is.
        """
        for _ in range(10):
            if self.deaths != deaths:
                return True
            await asyncio.sleep(0.05)
        return False

    async def unload(self, sentence: str) -> None:
        """End the engine, so that its memory is free, until it is asked to restart."""
        if self.engine.pid is None:
            return
        self._why_unloaded = sentence
        self._unloaded.clear()
        self._unload.set()
        await self._unloaded.wait()

    async def run(self) -> None:
        """Keep the engine until cancelled, then end it."""
        try:
            while True:
                if await self._one_life():
                    continue
                if self._unload.is_set():
                    await self.engine.stop()
                    self._stand(EngineStatus("unloaded", self._why_unloaded))
                self._unloaded.set()
                await self._asked_again()
        finally:
            await self.engine.stop()

    async def _one_life(self) -> bool:
        """Start the engine and stay until it fails or is to be restarted.

        Returns:
            Whether to start it again at once.
        """
        self._again.clear()
        self._unload.clear()
        self._adapter, self._loaded = None, []
        self._stand(EngineStatus("starting", "Starting the engine"))
        try:
            await self.engine.start()
        except (VlmchatError, OSError) as error:
            self._fail(str(error), died=False, restarting=False)
            return False
        watching = asyncio.create_task(self._watch())
        dying = asyncio.create_task(self.engine.exited())
        asked = asyncio.create_task(self._asked_again())
        leaving = asyncio.create_task(self._unload.wait())
        try:
            await asyncio.wait((dying, asked, leaving), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return True
            return not leaving.done() and self._died(dying.result())
        finally:
            for task in (watching, dying, asked, leaving):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _watch(self) -> None:
        try:
            async for status in self.engine.watch():
                if status.stage != "failed":
                    self._stand(status)
                elif self.engine.pid is not None:
                    self._fail(status.text, died=False, restarting=False)
        except VlmchatError as error:
            # When the process is gone, `exited` tells.
            if self.engine.pid is not None:
                self._fail(str(error), died=False, restarting=False)

    def _died(self, sentence: str) -> bool:
        self.deaths += 1
        now = self._clock()
        restarting = now - self._last_restart > RESTART_WINDOW_SECONDS
        if restarting:
            self._last_restart = now
        self._fail(sentence, died=True, restarting=restarting)
        return restarting


class RemoteKeeper(_Keeper):
    """Stands for a server that someone else keeps.

    Args:
        url: its address.
        api_key: bearer token, when it wants one.
        model: which of its models to ask; its first one by default.
    """

    kind: Kind = "remote"

    def __init__(self, url: str, api_key: str | None = None, model: str | None = None) -> None:
        from vlmchat.client.api import EngineClient

        super().__init__()
        self._client = EngineClient(url, api_key)
        self._wanted = model

    @property
    def client(self) -> "EngineClient":
        """The client of the server."""
        return self._client

    @property
    def whereabouts(self) -> Mapping[str, str]:
        """The server's address, without a name or password that may stand in it."""
        parts = urlsplit(self._client.root)
        host = parts.netloc.rpartition("@")[2]
        return {"url": urlunsplit((parts.scheme, host, parts.path, "", ""))}

    def log_tail(self) -> str:
        """Return nothing: the server's log is the server's."""
        return ""

    async def died_since(self, deaths: int) -> bool:
        """Return false: the server is not our process."""
        return False

    async def run(self) -> None:
        """Ask the server for its models, and again whenever a restart is asked for."""
        try:
            while True:
                await self._greet()
                await self._asked_again()
        finally:
            await self._client.close()

    async def _greet(self) -> None:
        where = self._client.root
        self._stand(EngineStatus("starting", f"Asking {where} for its models"))
        try:
            models = await self._client.models()
            found = [model for model in models if self._wanted in (None, model.id)]
            if not found:
                names = ", ".join(model.id for model in models) or "none"
                raise EngineError(
                    f"The server at {where} does not serve “{self._wanted or 'any model'}”: "
                    f"it has {names}."
                )
            model = await self._client.more(found[0])
        except VlmchatError as error:
            self._fail(str(error), died=False, restarting=False)
            return
        self._stand(EngineStatus("ready", "Ready", model=model))
