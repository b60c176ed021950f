"""The panel of parameters: checked while typing, taken at once, the engine on confirmation."""

from pathlib import Path

import pytest
from textual.widgets import Button, Input

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.tui.driving import Chat, chatting, remote, scripted, shown
from tests.tui.test_engine_change import _scripts, by_model
from vlmchat.client.protocol import Sampling
from vlmchat.tui.screens.parameters import ParametersPanel
from vlmchat.tui.widgets.field import FieldRow
from vlmchat.tui.widgets.transcript import Transcript


async def _open(chat: Chat) -> ParametersPanel:
    await chat.ready()
    await chat.pilot.press("f4")
    await chat.until(lambda: isinstance(chat.app.screen, ParametersPanel))
    panel = chat.app.screen
    assert isinstance(panel, ParametersPanel)
    await chat.pilot.pause()
    return panel


def _row(panel: ParametersPanel, name: str) -> FieldRow:
    return next(row for row in panel.query(FieldRow) if row.field.name == name)


async def _write(chat: Chat, row: FieldRow, text: str) -> None:
    assert isinstance(row.editor, Input)
    row.editor.focus()
    await chat.pilot.pause()
    row.editor.value = text
    await chat.pilot.pause()


async def test_what_is_set_goes_with_the_next_question(tmp_path: Path) -> None:
    with running(FakeEngine(Script([Reply(["Yes."])]))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            panel = await _open(chat)
            await _write(chat, _row(panel, "temperature"), "0.3")
            await chat.pilot.press("enter")
            await _write(chat, _row(panel, "top_p"), "1.5")
            assert "less than or equal to 1" in shown(_row(panel, "top_p"))
            await chat.pilot.press("tab")
            assert chat.session.sampling == Sampling(temperature=0.3, max_tokens=512)
            await _write(chat, _row(panel, "top_p"), "0.5")
            await _write(chat, _row(panel, "top_k"), "many")
            assert "integer" in shown(_row(panel, "top_k"))
            await _write(chat, _row(panel, "top_k"), "40")
            await _write(chat, _row(panel, "stop"), '"END", "###"')
            await _write(chat, _row(panel, "seed"), "7")
            _row(panel, "detail").editor.focus()
            await chat.pilot.press("right")
            await chat.pilot.press("escape")
            await chat.until(lambda: chat.app.screen is chat.screen)
            assert chat.session.detail == "high"
            await chat.ask("Hi")
            await chat.answered()
    body = engine.requests[0]
    assert body["temperature"] == 0.3
    assert (body["top_p"], body["top_k"], body["seed"]) == (0.5, 40, 7)
    assert body["stop"] == ["END", "###"]


async def test_every_parameter_has_its_line_and_goes_back(tmp_path: Path) -> None:
    overrides = {"sampling": {"temperature": 0.5}}
    async with chatting(scripted(Script(), tmp_path), overrides) as chat:
        panel = await _open(chat)
        names = [row.field.name for row in panel.query(FieldRow)]
        assert names == [
            "model", "quant", "device", "temperature", "top_p", "top_k", "min_p",
            "repetition_penalty", "max_tokens", "seed", "stop", "repeat_guard",
            "prompt_lookup", "detail",
        ]  # fmt: skip
        assert all(row.field.description in shown(row) for row in panel.query(FieldRow))
        row = _row(panel, "temperature")
        assert row.text == "0.5"
        assert "changed" in shown(row)
        row.editor.focus()
        await chat.pilot.press("ctrl+r")
        assert chat.session.sampling.temperature is None
        assert "the engine's default" in chat.text()
        tokens = _row(panel, "max_tokens")
        await _write(chat, tokens, "")
        await chat.pilot.press("enter")
        assert chat.session.sampling.max_tokens is None
        await chat.pilot.press("ctrl+r")
        assert chat.session.sampling.max_tokens == 512


async def test_the_engine_changes_on_confirmation_only(tmp_path: Path) -> None:
    async with chatting(by_model(tmp_path, **_scripts())) as chat:
        panel = await _open(chat)
        button = panel.query_one(Button)
        assert button.has_pseudo_class("disabled")
        await chat.pilot.press(*"second", "enter")
        assert not button.has_pseudo_class("disabled")
        assert str(button.label) == "Apply model: restarts the engine"
        _row(panel, "quant").editor.focus()
        await chat.pilot.press("right", "right")
        assert str(button.label) == "Apply model and quant: restarts the engine"
        before = chat.local
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        assert chat.local is before
        await chat.until(lambda: any("was not changed" in note for note in chat.notices()))

        panel = await _open(chat)
        await chat.pilot.press(*"second", "enter", "tab", "tab", "tab", "enter")
        await chat.until(lambda: chat.local is not before)
        await chat.ready()
        assert chat.local.engine.options.model == "second"
        assert chat.app.screen is chat.screen
        panel = await _open(chat)
        assert _row(panel, "model").text == "second"
        assert "now Title of second" in shown(_row(panel, "model"))


async def test_a_server_decides_quantization_and_device_itself(tmp_path: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            panel = await _open(chat)
            for name in ("quant", "device"):
                assert _row(panel, name).editor.disabled
                assert "Not available: the server" in shown(_row(panel, name))
            await chat.until(lambda: "The server has fake-vlm." in shown(_row(panel, "model")))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_conversation_stays_in_sight_where_there_is_room(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with chatting(scripted(Script(), tmp_path), size=size) as chat:
        panel = await _open(chat)
        region = panel.query_one(".dialog").region
        assert region.height == size[1]
        if size[0] < 100:
            assert region.width == size[0]
        else:
            assert region.right == size[0]
            assert region.x > chat.screen.query_one(Transcript).region.x + 40
