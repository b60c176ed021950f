"""Another model, quantization, device or adapter in the middle of a conversation.

A new keeper takes the place of the present one; the conversation and the queue stay. Another
adapter alone is laid over the model that runs.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from vlmchat.errors import NoAdaptersError, UsageError, VlmchatError
from vlmchat.models.adapter import OFF
from vlmchat.talk.engine_keeper import EngineEvent, EngineFailed, EngineKeeper, StatusChanged
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from vlmchat.settings import EngineSettings, Settings
    from vlmchat.talk.question import NoticeKind
    from vlmchat.talk.session import ChatSession

AUTO = "auto"
_DOWN = ("failed", "unloaded")
REMOTE_REASON = "the server at the other end decides that: restart it there with other options"


class EngineChanger:
    """Changes which engine a session has.

    Args:
        session: whose engine it is.
        notice: shows one sentence.
        spawn: runs a coroutine in the background.

    Attributes:
        settings: what the present engine was made from; none until it is known.
        make: makes a keeper from settings.
    """

    def __init__(
        self,
        session: "ChatSession",
        notice: "Callable[[str, NoticeKind], None]",
        spawn: "Callable[[Coroutine[Any, Any, None]], object]",
    ) -> None:
        self._session = session
        self._notice = notice
        self._spawn = spawn
        self._one_at_a_time = asyncio.Lock()
        self._saved: EngineSettings | None = None
        self._pending: dict[str, object] = {}
        self._good: EngineSettings | None = None
        self._wanted: Settings | None = None
        self.settings: Settings | None = None
        self.make: Callable[[Settings], EngineKeeper] | None = None

    def begin(self, settings: "Settings") -> None:
        """Note what the first engine was made from."""
        self.settings = settings
        self._saved = settings.engine
        self._watch(self._session.engine, settings.engine)

    @property
    def model(self) -> str:
        """The model that was asked for; ``auto`` when the hardware decides."""
        return (self.settings.engine.model if self.settings else None) or AUTO

    def change(
        self,
        *,
        model: str | None = None,
        quant: str | None = None,
        device: str | None = None,
        adapter: str | None = None,
    ) -> None:
        """Replace the engine by one with these options; ``None`` keeps an option.

        What is being answered is stopped, and stays; where only the adapter is another one, it
        goes on with the one it was begun with. The work is done in the background; what goes wrong
        there is told as a notice.

        Args:
            model: as in the settings, or ``auto``; with a remote engine one of its models.
            quant: ``auto``, ``none``, ``8bit`` or ``4bit``.
            device: ``auto``, ``cpu`` or ``cuda``.
            adapter: its name on the shelf, or its folder; empty for none but the model's own;
                ``off`` takes off what is on: first what was laid over the model, then its own.

        Raises:
            UsageError: an option has no such value, or the engine is not ours to change.
        """
        if self._session.engine.kind == "remote" and (quant or device or adapter is not None):
            what = "quantization" if quant else "device" if device else "adapter"
            raise UsageError(f"The {what} cannot be changed from here: {REMOTE_REASON}.")
        changes: dict[str, object] = {}
        if model:
            changes["model"] = None if model.lower() == AUTO else model
        if quant:
            changes["quant"] = quant
        if device:
            changes["device"] = device
        if adapter is not None:
            changes["adapter"] = self._taken_off() if adapter == OFF else adapter or None
        self._use(changes)

    def _taken_off(self) -> str | None:
        """Return what the adapter becomes when the one that is on is taken off."""
        present, model = self._wanted or self.settings, self._session.engine.model
        laid = present.engine.adapter if present else None
        if laid:
            return OFF if laid == OFF else None
        if model is None or not model.own_adapter:
            return None
        own = visible_line(model.own_adapter)
        self._notice(
            f"Without its adapter “{own}”, {visible_line(model.title)} cannot read pictures: "
            f"/adapter {own} lays it on again.",
            "note",
        )
        return OFF

    def saved(self, settings: "Settings") -> bool:
        """Take note of settings that were changed in the configuration.

        Returns:
            Whether the next restart of the engine will be with other options.
        """
        before = self._saved
        self._saved = settings.engine
        if before is not None:
            for name in type(before).model_fields:
                if getattr(before, name) != getattr(settings.engine, name):
                    self._pending[name] = getattr(settings.engine, name)
        return bool(self._pending)

    def restart(self) -> None:
        """Bring the engine up again, with what was changed in the settings meanwhile."""
        pending, self._pending = self._pending, {}
        try:
            replaced = self._use(pending, quietly=True) if pending else False
        except VlmchatError:
            self._pending = pending
            raise
        if not replaced:
            self._session.stop()
            self._session.engine.restart()

    def _use(self, changes: dict[str, object], quietly: bool = False) -> bool:
        if self.settings is None:
            raise UsageError("The settings are still being read: try again in a moment.")
        present = self._wanted or self.settings
        wanted = with_engine(present, changes)
        dropped = ""
        old = present.engine
        if wanted.engine.model != old.model and old.adapter and "adapter" not in changes:
            # An adapter fits the model it was trained on, and no other.
            wanted = with_engine(wanted, {"adapter": None})
            dropped = "" if old.adapter == OFF else old.adapter
        if wanted.engine == old and self._session.engine.status.stage not in _DOWN:
            if not quietly:
                self._notice("That is what the engine runs with already.", "note")
            return False
        if dropped:
            self._notice(
                f"The adapter {visible_line(dropped)} belongs to the model before: "
                "this one runs without it.",
                "note",
            )
        self._wanted = wanted
        only_adapter = wanted.engine.model_copy(update={"adapter": old.adapter}) == old
        ready = self._session.engine.status.stage == "ready"
        # What a model brings along is on or off from its beginning.
        own = OFF in (old.adapter, wanted.engine.adapter)
        in_place = only_adapter and ready and present is self.settings and not own
        self._spawn(self._lay(wanted) if in_place else self._replace(wanted))
        return True

    async def _lay(self, wanted: "Settings") -> None:
        """Lay another adapter over the running model; where that cannot be, replace the engine."""
        from vlmchat.models.adapter import find_adapter

        name = wanted.engine.adapter
        async with self._one_at_a_time:
            if wanted is not self._wanted:
                return  # something else was asked for meanwhile
            try:
                folder = await asyncio.to_thread(find_adapter, name) if name else None
                remark = await self._session.engine.use_adapter(folder)
            except NoAdaptersError:
                pass
            except VlmchatError as error:
                self._wanted = None
                self._notice(str(error), "error")
                return
            else:
                self.settings, self._good = wanted, wanted.engine
                shown = visible_line(folder.name) if folder else ""
                with_it = f"with the adapter “{shown}”" if shown else "without an adapter"
                self._notice(f"The model answers {with_it} from here on.", "note")
                if remark:
                    self._notice(remark, "note")
                return
        await self._replace(wanted)

    async def _replace(self, wanted: "Settings") -> None:
        assert self.make is not None
        async with self._one_at_a_time:
            session, old = self._session, self._session.engine
            if wanted is not self._wanted:
                return  # something else was asked for meanwhile
            try:
                await self._check_served(old, wanted.engine)
                new = self.make(wanted)
            except VlmchatError as error:
                self._wanted = None
                self._notice(str(error), "error")
                return
            await session.use_engine(new)
            self.settings = wanted
            for listener in old.release():
                new.listen(listener)
                listener(StatusChanged(new.status))
            self._watch(new, wanted.engine)
            # Two models at once may not fit into memory.
            await old.close()
            new.start()

    async def _check_served(self, engine: EngineKeeper, wanted: "EngineSettings") -> None:
        """Refuse a model that the server does not have, before the present one is given up."""
        present = self.settings.engine if self.settings else None
        if engine.kind != "remote" or wanted.model is None:
            return
        if present is not None and wanted.url != present.url:
            return  # another server: it is asked when it is greeted
        names = await self.served()
        if wanted.model not in names:
            raise UsageError(
                f"The server does not have “{visible_line(wanted.model)}”: "
                f"it has {', '.join(map(visible_line, names)) or 'none'}."
            )

    async def list_models(self) -> None:
        """Say which model answers and which others there are."""
        engine = self._session.engine
        answering = f"{visible_line(engine.model.title)} answers. " if engine.model else ""
        if engine.kind == "local":
            from vlmchat.models.catalogue import CATALOGUE

            names = ", ".join(entry.id for entry in CATALOGUE)
            self._notice(
                f"{answering}model: {visible_line(self.model)}. There are {names}; a Hub id "
                "(owner/name) or a folder does too, and auto leaves it to the hardware.",
                "note",
            )
            return
        try:
            names = ", ".join(map(visible_line, await self.served())) or "none"
        except VlmchatError as error:
            self._notice(str(error), "error")
            return
        self._notice(f"{answering}The server has {names}.", "note")

    async def served(self) -> list[str]:
        """Return the names of the models of the server.

        Raises:
            EngineError: it does not answer.
        """
        return [model.id for model in await self._session.engine.client.models()]

    def _watch(self, engine: EngineKeeper, begun: "EngineSettings") -> None:
        """Remember what came up, and say how to go back when something did not."""
        told = False

        def listen(event: EngineEvent) -> None:
            nonlocal told
            if self._session.engine is not engine:
                return
            options = self.settings.engine if self.settings else begun
            if isinstance(event, EngineFailed):
                good = self._good
                if not event.died and not told and good is not None and good != options:
                    told = True
                    self._notice(_way_back(good, options), "note")
            elif event.status.stage == "ready":
                self._good = options

        engine.listen(listen)


def _way_back(good: "EngineSettings", options: "EngineSettings") -> str:
    ways = [
        f"/{name} {visible_line(getattr(good, name) or AUTO)}"
        for name in ("model", "quant")
        if getattr(good, name) != getattr(options, name)
    ]
    if good.adapter != options.adapter:
        ways.append(f"/adapter {visible_line(good.adapter or OFF)}")
    if good.device != options.device:
        ways.append("the device in /parameters")
    return f"Back to the engine before: {' and '.join(ways) or '/settings'}."


def with_engine(settings: "Settings", changes: dict[str, object]) -> "Settings":
    """Return the settings with other options of the engine.

    Raises:
        UsageError: an option has no such value.
    """
    from pydantic import ValidationError

    from vlmchat.settings import EngineSettings
    from vlmchat.settings_faults import reason_of

    values = {name: getattr(settings.engine, name) for name in EngineSettings.model_fields}
    try:
        engine = EngineSettings(**{**values, **changes})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"“{visible_line(str(first['input']))}” is no value for {first['loc'][0]}: "
            f"{reason_of(first['msg'])}."
        ) from None
    return settings.model_copy(update={"engine": engine})
