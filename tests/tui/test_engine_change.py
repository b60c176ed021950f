"""Another model in mid-conversation: what was said and what waits stays."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine import MODEL, FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.tui.driving import FAKE, Chat, chatting, remote
from vlmchat import paths
from vlmchat.client.supervisor import EngineOptions, LocalEngine
from vlmchat.config_file import set_value
from vlmchat.errors import UsageError
from vlmchat.settings import Settings
from vlmchat.talk.engine_keeper import EngineKeeper, LocalKeeper


def _named(name: str) -> dict[str, Any]:
    return {"id": name, "meta": {**MODEL["meta"], "title": f"Title of {name}"}}


def by_model(folder: Path, **scripts: Script) -> Callable[[Settings], EngineKeeper]:
    """Return a maker of keepers whose engine follows the script of the model that is asked for."""
    for name, script in scripts.items():
        (folder / f"{name}.json").write_text(script.to_json(), "utf-8")

    def make(settings: Settings) -> EngineKeeper:
        engine = settings.engine
        options = EngineOptions(engine.model, engine.quant, engine.device, engine.adapter)
        path = folder / f"{engine.model or 'auto'}.json"
        return LocalKeeper(
            LocalEngine(options, command=(sys.executable, str(FAKE), "--script", str(path)))
        )

    return make


def _scripts() -> dict[str, Script]:
    return {
        "auto": Script([Reply(["From auto."])], model=_named("auto")),
        "second": Script([Reply(["From second."])], model=_named("second")),
        "broken": Script(failed="The model “broken” cannot be loaded [/x]: choose another."),
    }


def _answers(chat: Chat) -> list[str]:
    return [turn.text for turn in chat.replies]


async def test_the_conversation_goes_on_with_another_model(tmp_path: Path) -> None:
    async with chatting(by_model(tmp_path, **_scripts())) as chat:
        await chat.ready()
        await chat.ask("One")
        await chat.answered()
        old = chat.local
        await chat.ask("/model second")
        await chat.ask("Two")
        await chat.answered(2)
        assert _answers(chat) == ["From auto.", "From second."]
        assert chat.local is not old
        assert chat.local.engine.options == EngineOptions("second")
        assert old.engine.pid is None
        assert "Title of second" in chat.text()
        assert chat.errors() == []
        await chat.ask("/quant 8bit")
        await chat.until(lambda: chat.local.engine.options.quant == "8bit")
        await chat.ready()
        assert chat.local.engine.options.model == "second"
        await chat.ask("/model AUTO")
        await chat.until(lambda: chat.local.engine.options.model is None)
        await chat.ask("Three")
        await chat.answered(3)
        assert _answers(chat)[2] == "From auto."


async def test_an_answer_is_stopped_and_the_queue_waits(tmp_path: Path) -> None:
    scripts = _scripts()
    scripts["auto"].replies = [Reply(["On ", "and "], delay=0.03, forever=True)]
    async with chatting(by_model(tmp_path, **scripts)) as chat:
        await chat.ready()
        await chat.ask("Long")
        await chat.until(lambda: any(_answers(chat)))
        await chat.ask("Queued")
        await chat.ask("/model second")
        await chat.answered(2)
        assert _answers(chat)[0].startswith("On ")
        assert chat.replies[0].state == "stopped"
        assert _answers(chat)[1] == "From second."
        assert chat.errors() == []


async def test_while_the_first_model_loads(tmp_path: Path) -> None:
    scripts = _scripts()
    scripts["auto"].loading = [{"stage": "loading", "text": "Loading"}]
    scripts["auto"].hold_loading = str(tmp_path / "never")
    async with chatting(by_model(tmp_path, **scripts)) as chat:
        await chat.until(lambda: chat.session.engine.status.stage == "loading")
        await chat.ask("Waiting")
        await chat.ask("/model second")
        await chat.answered()
        assert _answers(chat) == ["From second."]


async def test_a_model_that_does_not_load_says_the_way_back(tmp_path: Path) -> None:
    async with chatting(by_model(tmp_path, **_scripts())) as chat:
        await chat.ready()
        await chat.ask("/model broken")
        await chat.until(chat.errors)
        assert "cannot be loaded [/x]" in chat.errors()[0]
        await chat.until(lambda: any("/model auto" in note for note in chat.notices()))
        await chat.ask("Still here?")
        await chat.ask("/model auto")
        await chat.answered()
        assert _answers(chat) == ["From auto."]


async def test_commands_say_what_there_is_and_refuse_the_rest(tmp_path: Path) -> None:
    async with chatting(by_model(tmp_path, **_scripts())) as chat:
        await chat.ready()
        await chat.ask("/model")
        await chat.until(lambda: any("smolvlm2-500m" in note for note in chat.notices()))
        assert "Title of auto answers. model: auto." in chat.notices()[-1]
        await chat.ask("/quant")
        assert "There are auto, none, 8bit, 4bit." in chat.notices()[-1]
        before = chat.local
        await chat.ask("/quant 3bit")
        await chat.until(chat.errors)
        assert "“3bit” is no value for quant" in chat.errors()[0]
        await chat.ask("/quant auto")
        await chat.until(lambda: "already" in chat.notices()[-1])
        await chat.ask("/detail")
        assert "detail: auto." in chat.notices()[-1]
        await chat.ask("/detail huge")
        await chat.until(lambda: len(chat.errors()) == 2)
        await chat.ask("/detail LOW")
        await chat.until(lambda: chat.session.detail == "low")
        assert chat.local is before


async def test_an_adapter_stays_with_its_model(tmp_path: Path) -> None:
    overrides = {"engine": {"adapter": "/some/adapter"}}
    async with chatting(by_model(tmp_path, **_scripts()), overrides) as chat:
        await chat.ready()
        await chat.ask("/quant 4bit")
        await chat.until(lambda: chat.local.engine.options.quant == "4bit")
        assert chat.local.engine.options.adapter == "/some/adapter"
        await chat.ask("/model second")
        await chat.until(lambda: chat.local.engine.options == EngineOptions("second", "4bit"))
        assert any("/some/adapter" in note for note in chat.notices())


async def test_a_restart_takes_what_was_set_meanwhile(tmp_path: Path) -> None:
    async with chatting(by_model(tmp_path, **_scripts())) as chat:
        await chat.ready()
        await chat.pilot.press("f5")
        await chat.until(lambda: chat.app.screen is not chat.screen)
        await chat.pilot.press(*"catalogue", "enter", *"second", "enter")
        await chat.until(lambda: "second" in _config())
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        assert chat.local.engine.options == EngineOptions()
        await chat.ask("/restart")
        await chat.until(lambda: chat.local.engine.options.model == "second")
        await chat.ready()
        keeper = chat.local
        before = keeper.pid
        await chat.ask("/restart")
        # Not its stages: the engine may be through them before one looks.
        await chat.until(lambda: keeper.pid not in (None, before))
        await chat.ready()
        assert chat.local is keeper


def _config() -> str:
    path = paths.config_file()
    return path.read_text("utf-8") if path.exists() else ""


async def test_a_server_offers_its_own_models(tmp_path: Path) -> None:
    with running(FakeEngine(Script([Reply(["Yes."])]))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            old = chat.session.engine
            await chat.ask("/model")
            await chat.until(lambda: any("The server has fake-vlm." in n for n in chat.notices()))
            await chat.ask("/model other")
            await chat.until(chat.errors)
            assert "does not have “other”: it has fake-vlm." in chat.errors()[0]
            assert chat.session.engine is old
            await chat.ask("/quant 8bit")
            await chat.until(lambda: len(chat.errors()) == 2)
            assert "server" in chat.errors()[1]
            with pytest.raises(UsageError, match="device"):
                chat.screen.change_engine(device="cpu")
            await chat.ask("/model fake-vlm")
            await chat.until(lambda: chat.session.engine is not old)
            await chat.ask("Hi")
            await chat.answered()
    assert engine.requests[0]["model"] == "fake-vlm"


async def test_many_changes_end_with_the_last_and_no_engine_too_many(tmp_path: Path) -> None:
    async with chatting(by_model(tmp_path, **_scripts())) as chat:
        await chat.ready()
        keepers = {id(chat.local): chat.local}
        for name in ("second", "auto", "second"):
            chat.screen.change_engine(model=name)
            await asyncio.sleep(0)
            keepers[id(chat.local)] = chat.local
        await chat.ask("Who?")
        await chat.answered()
        keepers[id(chat.local)] = chat.local
        running_ones = [keeper for keeper in keepers.values() if keeper.engine.pid is not None]
        assert running_ones == [chat.local]


async def test_detail_goes_with_the_question(tmp_path: Path) -> None:
    set_value("media.detail", "high")
    photo = saved(tmp_path / "photo.png")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url), attach=[photo]) as chat:
            await chat.ready()
            await chat.until(lambda: chat.screen.attachments.media)
            await chat.ask("One")
            await chat.answered()
            await chat.ask("/detail low")
            await chat.until(lambda: chat.session.detail == "low")
            chat.screen.attach([photo])
            await chat.until(lambda: chat.screen.attachments.media)
            await chat.ask("Two")
            await chat.answered(2)
    messages = engine.requests[1]["messages"]
    details = [
        row["content"][0]["image_url"]["detail"] for row in messages if row["role"] == "user"
    ]
    assert details == ["high", "low"]
