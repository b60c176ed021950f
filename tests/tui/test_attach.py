"""Pictures: by command, paste, start-up and picker; chips; files that cannot be read."""

import os
from functools import partial
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input, Static

from tests.fake_engine import FakeEngine, Script, running
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote, shown
from vlmchat.tui.screens.picker import Picker, complete_path
from vlmchat.tui.widgets.chips import Chip
from vlmchat.tui.widgets.file_list import FileList


def _chips(chat: Chat) -> list[str]:
    return [str(chip.render()) for chip in chat.screen.query(Chip)]


def _paste(chat: Chat, text: str) -> None:
    chat.composer.post_message(events.Paste(text))


async def _attached(chat: Chat, count: int) -> None:
    await chat.until(lambda: len(_chips(chat)) == len(chat.screen.attachments.media) == count)


def _more_errors(chat: Chat, before: int) -> bool:
    return len(chat.errors()) > before


async def test_the_command_the_chips_and_the_question(tmp_path: Path) -> None:
    one = saved(tmp_path / "my [red] photo.jpg", 640, 480)
    two = saved(tmp_path / "b.png")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask(f"/attach '{one}' {two}")
            await _attached(chat, 2)
            # Several have room for their names only.
            assert ["my [red] photo.jpg" in _chips(chat)[0], "×480" in _chips(chat)[0]] == [1, 0]
            await chat.ask("/detach 2")
            await _attached(chat, 1)
            assert "my [red] photo.jpg  640×480 · " in _chips(chat)[0]
            await chat.ask("What is it?")
            await chat.answered()
            await _attached(chat, 0)
            assert "my [red] photo.jpg  640×480" in chat.questions()[0]
            await chat.ask("And now?")
            await chat.answered(2)
    parts = engine.requests[0]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image_url", "text"]
    # The picture stays with its own turn.
    assert engine.requests[1]["messages"][0]["content"] == parts
    assert engine.requests[1]["messages"][2]["content"] == "And now?"


async def test_pasted_paths_become_chips_and_other_text_stays_text(tmp_path: Path) -> None:
    one, two = saved(tmp_path / "a b.png"), saved(tmp_path / "c.png", colour="blue")
    (tmp_path / "notes.txt").write_text("x")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.type("about ")
            _paste(chat, f"'{one}' {two.as_uri()}\n")
            await _attached(chat, 2)
            assert chat.composer.text == "about "
            _paste(chat, str(tmp_path / "notes.txt"))
            await chat.until(lambda: "notes.txt" in chat.composer.text)
            chat.composer.clear_draft()
            await chat.pilot.press("backspace")
            await _attached(chat, 1)
            await chat.pilot.click(Chip)
            await _attached(chat, 0)


async def test_a_typed_path_is_an_attachment_and_no_command(tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png")
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask(str(photo))
            await _attached(chat, 1)
            assert chat.composer.text == ""
            chat.screen.attachments.items = []
            await chat.ask(f"{photo} what is it?")
            await chat.answered()
    content = engine.requests[0]["messages"][0]["content"]
    assert content[1] == {"type": "text", "text": "what is it?"}


async def test_a_question_waits_for_its_pictures(tmp_path: Path) -> None:
    photo = saved(tmp_path / "large.png", 3000, 2000)
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask(f"/attach {photo}")
            await chat.ask("What is it?")
            await chat.answered()
    assert engine.requests[0]["messages"][0]["content"][0]["type"] == "image_url"


async def test_files_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture")
    whole = saved(tmp_path / "whole.jpg", 400, 300).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            names = ("empty.png", "text.png", "cut.jpg", "missing.png", ".")
            for name in names:
                before = len(chat.errors())
                await chat.ask(f"/attach {tmp_path / name}")
                await chat.until(partial(_more_errors, chat, before))
            said = ("0 bytes", "not a picture", "cut off", "does not exist", "is a folder")
            for error, part in zip(chat.errors(), said, strict=True):
                assert part in error
            assert chat.screen.attachments.media == []
            await chat.ask("Still there?")
            await chat.answered()


async def test_a_model_without_eyes_refuses(tmp_path: Path) -> None:
    script = Script()
    script.model["meta"]["images"] = False
    with running(FakeEngine(script)) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask(f"/attach {saved(tmp_path / 'a.png')}")
            assert "takes no pictures" in chat.errors()[0]


async def test_the_picker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    saved(folder / "boat.png", 320, 200)
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.pilot.press("ctrl+o")
            await chat.until(lambda: isinstance(chat.app.screen, Picker))
            picker = chat.app.screen
            field = picker.query_one("#picker-path", Input)

            field.value = str(folder / "none.png")
            await chat.pilot.press("enter")
            facts = picker.query_one("#picker-facts", Static)
            assert "There is no file" in str(facts.render())

            field.value = str(folder)
            await chat.pilot.press("enter")
            files = picker.query_one(FileList)
            await chat.until(lambda: [item.label for item in files.entries] == ["..", "boat.png"])
            await chat.pilot.press("down")
            await chat.until(lambda: "boat.png  320×200 · " in str(facts.render()))
            await chat.pilot.press("enter")
            await _attached(chat, 1)

            await chat.pilot.press("ctrl+o")
            await chat.until(lambda: isinstance(chat.app.screen, Picker))
            await chat.pilot.press("escape")
            await chat.until(lambda: chat.app.screen is chat.screen)
            assert chat.composer.has_focus


def test_typed_paths_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "boat.png")
    (tmp_path / "boat.txt").write_text("x")
    (tmp_path / "deep").mkdir()
    assert complete_path(f"{tmp_path}/bo") == f"{tmp_path}/boat.png"
    assert complete_path(f"{tmp_path}/de") == f"{tmp_path}/deep/"
    assert complete_path(f"{tmp_path}/x") is None
    assert complete_path(f"{tmp_path}/none/x") is None
    monkeypatch.chdir(tmp_path)
    assert complete_path("bo") == "boat.png"
    assert complete_path("") is None
    monkeypatch.setenv("HOME", str(tmp_path))
    assert complete_path("~/bo") == "~/boat.png"


async def test_files_named_at_the_start(tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png")
    with running(FakeEngine()) as engine:
        paths = [photo, tmp_path / "none.png"]
        async with chatting(overrides=remote(engine.url), attach=paths) as chat:
            await _attached(chat, 1)
            await chat.until(chat.errors)
            assert "does not exist" in shown(chat.screen)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_a_file_without_permission(tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png")
    photo.chmod(0)
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url), attach=[photo]) as chat:
            await chat.until(chat.errors)
            assert "permissions" in chat.errors()[0]
