"""The settings screen: drawn from the schema, saved as it is changed."""

from pathlib import Path

import pytest
from textual.widgets import Input

from tests.fake_engine import Script
from tests.tui.driving import Chat, chatting, scripted, shown
from vlmchat import paths
from vlmchat.errors import UsageError
from vlmchat.settings import Settings, load_settings
from vlmchat.settings_fields import setting_fields
from vlmchat.tui.screens.settings import SettingsScreen
from vlmchat.tui.widgets.field import ChoiceLine, FieldRow


async def _open(chat: Chat) -> SettingsScreen:
    await chat.ready()
    await chat.pilot.press("f5")
    await chat.until(lambda: isinstance(chat.app.screen, SettingsScreen))
    screen = chat.app.screen
    assert isinstance(screen, SettingsScreen)
    await chat.until(lambda: "Takes effect" in shown(_row(screen, "ui.enter")))
    return screen


def _row(screen: SettingsScreen, key: str) -> FieldRow:
    return next(row for row in screen.query(FieldRow) if row.field.key == key)


async def _write(chat: Chat, row: FieldRow, text: str) -> None:
    assert isinstance(row.editor, Input)
    row.editor.focus()
    await chat.pilot.pause()
    row.editor.value = text
    await chat.pilot.pause()


def _config(text: str) -> None:
    path = paths.config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _text() -> str:
    try:
        return paths.config_file().read_text("utf-8")
    except FileNotFoundError:
        return ""


async def test_every_setting_is_there_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _config('# mine\n[sampling]\n\ntop_k = 40 # few\ntop_p = 0.5\n[ui]\nenter = "newline"\n')
    monkeypatch.setenv("VLMCHAT_SAMPLING__TOP_P", "0.9")
    async with chatting(scripted(Script(), tmp_path), {"ui": {"theme": "paper"}}) as chat:
        screen = await _open(chat)
        keys = [row.field.key for row in screen.query(FieldRow)]
        wanted = [
            f"{group}.{name}"
            for group, info in Settings.model_fields.items()
            if group != "keys"
            for name in getattr(info.annotation, "model_fields", {})
        ]
        assert keys == wanted
        for row in screen.query(FieldRow):
            assert row.field.description in shown(row)
        assert "config.toml line 4" in shown(_row(screen, "sampling.top_k"))
        assert "default" in shown(_row(screen, "sampling.seed"))
        top_p = shown(_row(screen, "sampling.top_p"))
        assert "Environment variable VLMCHAT_SAMPLING__TOP_P: 0.9" in top_p
        assert "takes effect only without it" in top_p
        assert _row(screen, "sampling.top_p").text == "0.5"
        theme = shown(_row(screen, "ui.theme"))
        assert "Command line: paper" in theme
        assert "The command line gives paper" in theme
        assert _row(screen, "ui.theme").text == "harbour"


async def test_what_is_typed_is_checked_at_once_and_saved_on_enter(tmp_path: Path) -> None:
    _config("# mine\n[sampling]\n# heat\ntemperature = 0.5 # mild\n")
    async with chatting(scripted(Script(), tmp_path)) as chat:
        screen = await _open(chat)
        row = _row(screen, "sampling.temperature")
        await _write(chat, row, "3")
        assert "less than or equal to 2" in shown(row)
        await chat.pilot.press("enter")
        assert "0.5" in _text()
        # Leaving the screen with a wrong value puts the right one back first.
        await chat.pilot.press("escape")
        assert row.text == "0.5"
        assert chat.app.screen is screen
        await _write(chat, row, "0.25")
        assert "✗" not in shown(row)
        await chat.pilot.press("enter")
        await chat.until(lambda: "0.25" in _text())
        assert _text() == "# mine\n[sampling]\n# heat\ntemperature = 0.25 # mild\n"
        await chat.until(lambda: "line 4" in shown(row))
        await chat.pilot.press("ctrl+r")
        await chat.until(lambda: "0.25" not in _text())
        assert _text() == "# mine\n[sampling]\n# heat\n"
        await chat.until(lambda: "default" in shown(row))
        assert row.text == ""


async def test_leaving_a_field_saves_it(tmp_path: Path) -> None:
    async with chatting(scripted(Script(), tmp_path)) as chat:
        screen = await _open(chat)
        await _write(chat, _row(screen, "sampling.stop"), '"END", "[/red]\\n"')
        await chat.pilot.press("tab")
        await chat.until(lambda: load_settings().sampling.stop == ("END", "[/red]\n"))
        await _write(chat, _row(screen, "chat.system"), "Be [brief].")
        await chat.pilot.press("escape")
        await chat.until(lambda: chat.app.screen is chat.screen)
        assert load_settings().chat.system == "Be [brief]."
        # It is for new conversations.
        assert chat.session.system == ""
        await chat.ask("/new")
        await chat.until(lambda: chat.session.system == "Be [brief].")
        assert chat.session.sampling.stop == ("END", "[/red]\n")


async def test_what_applies_at_once_is_applied(tmp_path: Path) -> None:
    async with chatting(scripted(Script(), tmp_path)) as chat:
        screen = await _open(chat)
        theme = _row(screen, "ui.theme")
        await _write(chat, theme, "no such")
        await chat.pilot.press("enter")
        assert "There is no theme “no such”" in shown(theme)
        assert theme.text == "no such"
        assert _text() == ""
        await _write(chat, theme, "paper")
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.app.theme == "paper")
        row = _row(screen, "ui.enter")
        assert isinstance(row.editor, ChoiceLine)
        row.editor.focus()
        await chat.pilot.press("right")
        await chat.until(lambda: not chat.composer.enter_sends)
        assert load_settings().ui.enter == "newline"
        assert "● newline" in shown(row)
        save = _row(screen, "chat.save")
        save.scroll_visible(animate=False)
        await chat.pilot.pause()
        await chat.pilot.click(save.editor, offset=(10, 0))
        await chat.until(lambda: not load_settings().chat.save)
        assert "started again" in shown(save)


async def test_the_filter_leaves_what_fits(tmp_path: Path) -> None:
    async with chatting(scripted(Script(), tmp_path)) as chat:
        screen = await _open(chat)
        await chat.pilot.press(*"penal")
        visible = [row.field.key for row in screen.query(FieldRow) if row.display]
        assert visible == ["sampling.repetition_penalty"]
        assert "[engine]" not in chat.text()
        assert "[sampling]" in chat.text()
        await chat.pilot.press("enter")
        assert screen.focused is _row(screen, "sampling.repetition_penalty").editor


async def test_a_key_is_never_shown(tmp_path: Path) -> None:
    _config('[engine]\napi_key = "hunter2"\n')
    async with chatting(scripted(Script(), tmp_path)) as chat:
        screen = await _open(chat)
        row = _row(screen, "engine.api_key")
        row.editor.focus()
        await chat.until(lambda: "•••••••" in chat.text())
        assert "hunter2" not in chat.text()


async def test_a_file_that_went_bad_is_told_and_left_alone(tmp_path: Path) -> None:
    async with chatting(scripted(Script(), tmp_path)) as chat:
        screen = await _open(chat)
        _config("[ui\n")
        row = _row(screen, "sampling.seed")
        await _write(chat, row, "7")
        await chat.pilot.press("enter")
        await chat.until(lambda: "not valid TOML" in shown(row))
        assert _text() == "[ui\n"


def test_texts_are_read_as_they_are_written() -> None:
    stop = next(field for field in setting_fields() if field.key == "sampling.stop")
    for text, value in (
        ("END", ("END",)),
        (' "a", "b\\n"', ("a", "b\n")),
        ("['a']", ("a",)),
        ("[/red]", ("[/red]",)),
        ("  ", ()),
    ):
        assert stop.parse(text) == value
        assert stop.parse(stop.written(value)) == value
    for text in ('"a', '"a", 3'):
        with pytest.raises(UsageError, match="no list of texts"):
            stop.parse(text)


def test_any_text_can_be_written_and_read_back() -> None:
    fields = {field.key: field for field in setting_fields()}
    for text in ("a\nb", "\\n", "tab\t\\", 'a "b"', "[x", "'", "é", " x "):
        stop, system = fields["sampling.stop"], fields["chat.system"]
        assert system.parse(system.written(text)) == text
        assert stop.parse(stop.written((text,))) == (text,)
        assert stop.parse(stop.written((text, "b"))) == (text, "b")
