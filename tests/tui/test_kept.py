"""What survives the program: hosts, the default theme, folders; and what applies at once."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.fake_engine import FakeEngine, running
from tests.media.test_fetch import Page, Web
from tests.pictures import encoded, saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.config_file import set_value
from vlmchat.settings import load_settings
from vlmchat.tui.motion import is_reduced
from vlmchat.tui.screens.allow_fetch import AllowFetch
from vlmchat.tui.screens.picker import Picker
from vlmchat.tui.screens.theme_picker import ThemePicker


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.pages["/one.png"] = Page(encoded())
        yield server
        server.shutdown()


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with running(FakeEngine()) as engine:
        yield engine


def _config() -> str:
    path = paths.config_file()
    return path.read_text("utf-8") if path.exists() else ""


async def test_a_host_is_allowed_for_good(web: Web, engine: FakeEngine) -> None:
    set_value("media.allowed_hosts", ("Example.org",))
    async with chatting(overrides=remote(engine.url)) as chat:
        await chat.ready()
        assert chat.screen.permissions.allowed("example.org")
        await chat.ask(f"/attach {web.url}/one.png")
        await chat.until(lambda: isinstance(chat.app.screen, AllowFetch))
        await chat.pilot.press("a")
        await chat.until(lambda: chat.screen.attachments.media)
        await chat.until(lambda: web.host in _config())
    assert load_settings().media.allowed_hosts == ("Example.org", web.host)
    async with chatting(overrides=remote(engine.url)) as chat:
        await chat.ready()
        await chat.ask(f"/attach {web.url}/one.png")
        await chat.until(lambda: chat.screen.attachments.media)
        set_value("media.allowed_hosts", ())
        chat.screen.apply_settings(load_settings())
        assert not chat.screen.permissions.allowed(web.host)


async def test_a_host_that_cannot_be_kept_is_allowed_until_the_end(engine: FakeEngine) -> None:
    async with chatting(overrides=remote(engine.url)) as chat:
        await chat.ready()
        paths.config_dir().mkdir(parents=True, exist_ok=True)
        paths.config_file().write_text("not [toml")
        chat.screen.permissions.allow("example.org")
        await chat.until(chat.errors)
        assert "is not valid TOML" in chat.errors()[0]
        assert chat.screen.permissions.allowed("example.org")
    assert _config() == "not [toml"


async def _default(chat: Chat) -> None:
    await chat.ask("/theme")
    await chat.until(lambda: isinstance(chat.app.screen, ThemePicker))
    await chat.until(lambda: "Ctrl+S" in chat.text())
    await chat.pilot.press(*"moss", "ctrl+s")
    await chat.until(lambda: chat.app.screen is chat.screen)
    assert chat.app.theme == "moss"
    assert load_settings().ui.theme == "moss" or "moss" in _config()


async def test_the_default_theme(engine: FakeEngine) -> None:
    async with chatting(overrides=remote(engine.url)) as chat:
        await chat.ready()
        await _default(chat)
        assert chat.notices() == []
        # Whoever then wears another one for now keeps it when a setting is changed.
        await chat.ask("/theme dusk")
        chat.screen.apply_settings(load_settings())
        assert chat.app.theme == "dusk"
    async with chatting(overrides=remote(engine.url)) as chat:
        assert chat.app.theme == "moss"


async def test_a_default_theme_that_something_stands_above(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {**remote(engine.url), "ui": {"theme": "ember"}}
    async with chatting(overrides=overrides) as chat:
        await chat.ready()
        await _default(chat)
        await chat.until(lambda: any("The command line gave a theme" in x for x in chat.notices()))
    monkeypatch.setenv("VLMCHAT_UI__THEME", "ember")
    async with chatting(overrides=remote(engine.url)) as chat:
        await chat.ready()
        await _default(chat)
        await chat.until(lambda: any("VLMCHAT_UI__THEME stands above" in x for x in chat.notices()))


def _moves(chat: Chat) -> tuple[bool, bool]:
    return not is_reduced(chat.app), chat.composer.cursor_blink


async def test_motion_applies_at_once(engine: FakeEngine) -> None:
    async with chatting(overrides=remote(engine.url)) as chat:
        await chat.ready()
        assert _moves(chat) == (True, True)
        chat.screen.apply_settings(load_settings({"ui": {"motion": "reduced"}}))
        assert _moves(chat) == (False, False)
        chat.screen.apply_settings(load_settings())
        assert _moves(chat) == (True, True)


async def test_the_folders_of_the_picker(engine: FakeEngine, tmp_path: Path) -> None:
    pictures, gone = tmp_path / "my pictures", tmp_path / "gone"
    for folder in (pictures, gone):
        folder.mkdir()
        saved(folder / "one.png")
    async with chatting(overrides=remote(engine.url)) as chat:
        await chat.ready()
        for folder in (gone, pictures):
            await chat.pilot.press("ctrl+o")
            await chat.until(lambda: isinstance(chat.app.screen, Picker))
            chat.app.screen.query_one("#picker-path", Input).value = str(folder / "one.png")
            await chat.pilot.press("enter")
            await chat.until(lambda: chat.app.screen is chat.screen)
    (gone / "one.png").unlink()
    gone.rmdir()
    async with chatting(overrides=remote(engine.url)) as chat:
        await chat.ready()
        await chat.until(lambda: list(chat.screen._folders) == [pictures])
        await chat.pilot.press("ctrl+o")
        await chat.until(lambda: isinstance(chat.app.screen, Picker))
        picker = chat.app.screen
        assert isinstance(picker, Picker) and picker.folder == pictures
