"""The theme picker: try on, keep, go back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Input, OptionList, Static

from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.errors import VlmchatError
from vlmchat.tui import theme_watch
from vlmchat.tui.screens import theme_picker
from vlmchat.tui.screens.theme_picker import ThemePicker


@asynccontextmanager
async def _chat(size: tuple[int, int] = (80, 24)) -> AsyncIterator[Chat]:
    async with chatting(overrides=remote("http://127.0.0.1:9"), size=size) as chat:
        await chat.until(lambda: "paper" in chat.app.available_themes)
        yield chat


async def _open(chat: Chat) -> ThemePicker:
    await chat.ask("/theme")
    await chat.until(lambda: isinstance(chat.app.screen, ThemePicker))
    picker = chat.app.screen
    assert isinstance(picker, ThemePicker)
    await chat.until(lambda: _names(picker))
    return picker


def _names(picker: ThemePicker) -> list[str]:
    return [option.id or "" for option in picker.query_one(OptionList).options]


def _about(picker: ThemePicker) -> str:
    return str(picker.query_one("#theme-about", Static).render())


async def _closed(chat: Chat) -> None:
    await chat.until(lambda: len(chat.app.screen_stack) == 1)


async def test_moving_through_the_list_tries_on_and_escape_goes_back() -> None:
    async with _chat() as chat:
        picker = await _open(chat)
        names = _names(picker)
        start = names.index("harbour")
        await chat.pilot.press("down")
        await chat.until(lambda: chat.app.theme == names[start + 1])
        await chat.pilot.press("up", "up")
        await chat.until(lambda: chat.app.theme == names[start - 1])
        await chat.until(lambda: "snow" in _about(picker))
        await chat.pilot.press("escape")
        await _closed(chat)
        assert chat.app.theme == "harbour"
        assert chat.composer.has_focus


async def test_enter_keeps_what_is_under_the_cursor() -> None:
    async with _chat() as chat:
        await _open(chat)
        await chat.pilot.press("down", "enter")
        await _closed(chat)
        assert chat.app.theme == "moss"


async def test_the_conversation_stays_in_sight() -> None:
    async with _chat() as chat:
        chat.screen.notice("Can you still read this?")
        picker = await _open(chat)
        await chat.until(lambda: "Can you still read this?" in chat.text())
        dialog = picker.query_one(".dialog").region
        assert dialog.right == 80
        assert dialog.width <= 40
        lines = chat.text().splitlines()
        assert "Enter keeps · Esc goes back" in lines[-1]
        # Names and kinds stand in columns.
        kinds = {"ember": "dark", "frost": "light", "contrast-light": "light", "ansi ": "terminal"}
        at = {
            line.rindex(kind)
            for line in lines
            for name, kind in kinds.items()
            if f"  {name}" in line
        }
        assert len(at) == 1


async def test_typing_filters_by_name_kind_and_description() -> None:
    async with _chat() as chat:
        picker = await _open(chat)
        await chat.pilot.press(*"contrast light")
        await chat.until(lambda: _names(picker) == ["contrast-light"])
        await chat.until(lambda: chat.app.theme == "contrast-light")
        picker.query_one(Input).value = "cherry"
        await chat.until(lambda: _names(picker) == ["blossom"])
        picker.query_one(Input).value = "no such thing [/x]"
        await chat.until(lambda: not _names(picker))
        assert _about(picker) == "No theme matches."
        await chat.pilot.press("enter", "down", "ctrl+s")
        assert chat.app.screen is picker
        await chat.pilot.press("escape")
        await _closed(chat)
        assert chat.app.theme == "harbour"


async def test_a_click_tries_on_and_a_second_one_keeps() -> None:
    async with _chat() as chat:
        picker = await _open(chat)
        row = (5, _names(picker).index("ember"))
        await chat.pilot.click("#theme-list", offset=row)
        await chat.until(lambda: chat.app.theme == "ember")
        assert chat.app.screen is picker
        await chat.pilot.click("#theme-list", offset=row)
        await _closed(chat)
        assert chat.app.theme == "ember"


async def test_ones_own_come_first_and_new_ones_appear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theme_watch, "INTERVAL", 0.02)
    monkeypatch.setattr(theme_picker, "_LOOK_AGAIN", 0.02)
    folder = paths.config_dir() / "themes"
    folder.mkdir(parents=True)
    odd = "[bold]\u202e"
    (folder / f"{odd}.toml").write_text('primary = "#ff0000"\ndescription = "[/red] mine"')
    async with _chat(size=(80, 50)) as chat:
        await chat.until(lambda: odd in chat.app.available_themes)
        picker = await _open(chat)
        assert _names(picker)[0] == odd
        await chat.pilot.press("pageup", "pageup")
        await chat.until(lambda: chat.app.theme == odd)
        await chat.until(lambda: "[/red] mine" in _about(picker))
        assert "\u202e" not in chat.text()
        (folder / "another.toml").write_text('primary = "#00ff00"')
        await chat.until(lambda: "another" in _names(picker))
        assert chat.app.theme == odd
        (folder / "another.toml").unlink()
        await chat.until(lambda: "another" not in _names(picker))


class _Config:
    """Where a default is written to."""

    def __init__(self, error: str = "") -> None:
        self.kept: list[str] = []
        self.error = error

    async def keep(self, name: str) -> None:
        if self.error:
            raise VlmchatError(self.error)
        self.kept.append(name)


async def test_ctrl_s_makes_it_the_default() -> None:
    async with _chat() as chat:
        config = _Config()
        picker = ThemePicker(config.keep)
        await chat.app.push_screen(picker)
        await chat.until(lambda: "Ctrl+S" in chat.text())
        await chat.pilot.press("down", "ctrl+s")
        await _closed(chat)
        assert config.kept == ["moss"]
        assert chat.app.theme == "moss"


async def test_a_default_that_cannot_be_kept_is_told() -> None:
    async with _chat() as chat:
        picker = ThemePicker(_Config("The disk [is] full.").keep)
        await chat.app.push_screen(picker)
        await chat.until(lambda: _names(picker))
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: _about(picker) == "The disk [is] full.")
        assert chat.app.screen is picker


async def test_a_name_behind_the_command_needs_no_list(tmp_path: Path) -> None:
    async with _chat() as chat:
        await chat.ask("/theme dusk")
        await chat.until(lambda: chat.app.theme == "dusk")
        await chat.ask("/theme nothing")
        await chat.until(lambda: [text for text in chat.errors() if "“nothing”" in text])
