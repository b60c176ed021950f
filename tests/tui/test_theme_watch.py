"""Theme files that are edited while the chat runs."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.tui.driving import Chat, chatting, remote
from tests.tui.painted import painted
from vlmchat import paths
from vlmchat.tui import theme_watch
from vlmchat.tui.theme_watch import Changes, ThemeFiles

RED = 'primary = "#ff5555"\nbackground = "#101010"\n'
GREEN = 'primary = "#55ff55"\nbackground = "#102010"\n'
BROKEN = 'primary = "#55ff55"\nbackground = "#10201"\n'


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(theme_watch, "INTERVAL", 0.02)
    path = paths.config_dir() / "themes"
    path.mkdir(parents=True)
    return path


def _save(path: Path, text: str) -> None:
    """Write as careful editors do: beside it, then over it."""
    aside = path.with_suffix(".part")
    aside.write_text(text, "utf-8")
    aside.replace(path)


def _names(changes: Changes) -> set[str]:
    return {theme.name for theme in changes.loaded}


def test_only_what_changed_is_read_again(folder: Path) -> None:
    files = ThemeFiles()
    assert {"harbour", "paper", "ansi"} <= _names(files.look())
    assert files.look() == Changes()
    _save(folder / "mine.toml", RED)
    assert _names(files.look()) == {"mine"}
    _save(folder / "mine.toml", GREEN)
    assert _names(files.look()) == {"mine"}
    assert files.look() == Changes()


def test_the_same_size_and_time_in_another_file_is_a_change(folder: Path) -> None:
    files = ThemeFiles()
    _save(folder / "mine.toml", RED)
    files.look()
    stat = (folder / "mine.toml").stat()
    _save(folder / "mine.toml", RED.replace("ff5555", "ff6666"))
    os.utime(folder / "mine.toml", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert _names(files.look()) == {"mine"}


def test_a_file_that_is_being_written_is_not_called_wrong(folder: Path) -> None:
    files = ThemeFiles()
    _save(folder / "mine.toml", RED)
    files.look()
    (folder / "mine.toml").write_text("")
    assert files.look() == Changes()
    (folder / "mine.toml").write_text(GREEN)
    assert _names(files.look()) == {"mine"}
    (folder / "mine.toml").unlink()
    assert files.look() == Changes()
    _save(folder / "mine.toml", RED)
    assert _names(files.look()) == {"mine"}
    assert files.look() == Changes()


def test_a_mistake_is_told_once_and_its_end_too(folder: Path) -> None:
    files = ThemeFiles()
    _save(folder / "mine.toml", BROKEN)
    first = files.look()
    assert "line 2" in first.wrong["mine"]
    assert files.look() == Changes()
    _save(folder / "mine.toml", BROKEN + "x")
    assert files.look() == Changes()
    assert "line 3" in files.look().wrong["mine"]
    assert files.look() == Changes()
    _save(folder / "mine.toml", GREEN)
    assert files.look().mended == ["mine"]
    _save(folder / "mine.toml", RED)
    assert files.look().mended == []


def test_ones_own_file_hides_the_shipped_one_until_it_goes(folder: Path) -> None:
    files = ThemeFiles()
    files.look()
    _save(folder / "paper.toml", RED)
    assert [theme.own for theme in files.look().loaded] == [True]
    (folder / "paper.toml").unlink()
    assert [theme.own for theme in files.look().loaded] == [False]


@asynccontextmanager
async def _wearing(name: str) -> AsyncIterator[Chat]:
    settings = remote("http://127.0.0.1:9") | {"ui": {"theme": name}}
    async with chatting(overrides=settings) as chat:
        await chat.until(lambda: "paper" in chat.app.available_themes)
        yield chat


def _grounds(chat: Chat) -> set[str]:
    colours = [item.ground.triplet for item in painted(chat.app) if item.ground]
    return {triplet.hex for triplet in colours if triplet}


async def test_saving_shows_at_once(folder: Path) -> None:
    _save(folder / "mine.toml", RED)
    async with _wearing("mine") as chat:
        await chat.until(lambda: "#101010" in _grounds(chat))
        _save(folder / "mine.toml", GREEN)
        await chat.until(lambda: "#102010" in _grounds(chat))
        assert "#101010" not in _grounds(chat)


async def test_a_mistake_keeps_the_last_good_colours(folder: Path) -> None:
    _save(folder / "mine.toml", RED)
    async with _wearing("mine") as chat:

        def said(part: str) -> list[str]:
            return [text for text in chat.notices() if part in text]

        _save(folder / "mine.toml", BROKEN)
        await chat.until(lambda: said("mine.toml, line 2: “background” is no colour"))
        assert said("the colours stay as they were")
        assert "#101010" in _grounds(chat)
        _save(folder / "mine.toml", GREEN)
        await chat.until(lambda: said("The theme “mine” is in order again."))
        await chat.until(lambda: "#102010" in _grounds(chat))
        assert len(said("mine.toml, line")) == 1


async def test_a_theme_that_was_wrong_at_the_start_is_put_on_when_mended(folder: Path) -> None:
    _save(folder / "mine.toml", BROKEN)
    async with _wearing("mine") as chat:
        await chat.until(lambda: [text for text in chat.errors() if "of “harbour”" in text])
        assert chat.app.theme == "harbour"
        _save(folder / "mine.toml", GREEN)
        await chat.until(lambda: chat.app.theme == "mine")


async def test_mending_does_not_take_away_what_was_chosen_meanwhile(folder: Path) -> None:
    _save(folder / "mine.toml", BROKEN)
    async with _wearing("mine") as chat:
        await chat.until(chat.errors)
        chat.app.theme = "paper"
        _save(folder / "mine.toml", GREEN)
        await chat.until(lambda: "mine" in chat.app.available_themes)
        assert chat.app.theme == "paper"


async def test_files_come_and_go(folder: Path) -> None:
    _save(folder / "nord.toml", RED)
    _save(folder / "mine.toml", RED)
    async with _wearing("mine") as chat:
        app = chat.app
        await chat.until(lambda: app.available_themes["nord"].primary == "#ff5555")
        _save(folder / "other.toml", GREEN)
        await chat.until(lambda: "other" in app.available_themes)
        for name in ("other", "nord", "mine"):
            (folder / f"{name}.toml").unlink()
        await chat.until(lambda: "other" not in app.available_themes)
        # Textual's own comes back; the one that is worn stays until another is chosen.
        await chat.until(lambda: app.available_themes["nord"].primary != "#ff5555")
        await chat.until(lambda: [text for text in chat.notices() if "“mine” is gone" in text])
        assert app.theme == "mine"
        app.theme = "paper"
        await chat.until(lambda: "mine" not in app.available_themes)
