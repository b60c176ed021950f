"""Reduced motion: nothing moves by itself."""

from pathlib import Path

import pytest
from textual import constants
from textual.widgets import Input, ProgressBar

from tests.fake_engine import Script
from tests.tui.driving import chatting, remote, scripted, shown
from vlmchat.settings import load_settings
from vlmchat.tui.motion import apply_motion, is_reduced
from vlmchat.tui.screens.picker import Picker
from vlmchat.tui.widgets.status import LoadingLine

REDUCED = {"ui": {"motion": "reduced"}}
LOADING = {"stage": "loading", "text": "Loading the model"}


async def test_the_setting_stills_animations_and_cursors() -> None:
    async with chatting(overrides=remote("http://127.0.0.1:9") | REDUCED) as chat:
        await chat.until(lambda: is_reduced(chat.app))
        assert chat.app.animation_level == "none"
        assert not chat.composer.cursor_blink
        # Fields of screens that open later too.
        await chat.pilot.press("ctrl+o")
        await chat.until(lambda: isinstance(chat.app.screen, Picker))
        field = chat.app.screen.query_one(Input)
        await chat.until(lambda: not field.cursor_blink)
        await chat.pilot.press("escape")

        # And it can be changed while the chat runs.
        apply_motion(chat.app, load_settings({"ui": {"motion": "full"}}))
        assert chat.app.animation_level == constants.TEXTUAL_ANIMATIONS
        assert chat.composer.cursor_blink


async def test_motion_is_full_unless_said_otherwise() -> None:
    async with chatting(overrides=remote("http://127.0.0.1:9")) as chat:
        await chat.until(lambda: "paper" in chat.app.available_themes)
        assert not is_reduced(chat.app)
        assert chat.composer.cursor_blink


async def test_textuals_variable_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "TEXTUAL_ANIMATIONS", "none")
    async with chatting(overrides=remote("http://127.0.0.1:9")) as chat:
        await chat.until(lambda: not chat.composer.cursor_blink)
        assert is_reduced(chat.app)


@pytest.mark.parametrize("motion", ["full", "reduced"])
async def test_a_bar_without_an_end_becomes_words(tmp_path: Path, motion: str) -> None:
    go = tmp_path / "go"
    script = Script(loading=[LOADING], hold_loading=str(go))
    settings = {"ui": {"motion": motion}}
    async with chatting(scripted(script, tmp_path), settings) as chat:
        await chat.until(lambda: chat.session.engine.status.stage == "loading")
        line = chat.screen.query_one(LoadingLine)
        await chat.until(lambda: "Loading the model" in shown(line))
        assert chat.screen.query_one(ProgressBar).display == (motion == "full")
        go.touch()
        await chat.ready()


async def test_a_bar_with_an_end_stays(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = Script(loading=[LOADING | {"done": 1, "total": 4}], hold_loading=str(go))
    async with chatting(scripted(script, tmp_path), REDUCED) as chat:
        await chat.until(lambda: chat.session.engine.status.total)
        await chat.until(lambda: chat.screen.query_one(ProgressBar).display)
        go.touch()
        await chat.ready()
