"""`/export` and `/import` in the chat."""

import json
from pathlib import Path

import pytest

from tests.chat.conversations import example
from tests.fake_engine import FakeEngine, running
from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.chat.formats.writing import export_to
from vlmchat.store.store import Store


async def command(chat: Chat, text: str) -> str:
    """Run a slash command and return what it says."""
    before = len(chat.notices())
    await chat.ask(text)
    await chat.until(lambda: len(chat.notices()) > before)
    return chat.notices()[-1]


def _written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("hi*"))


async def test_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            assert "Nothing was said" in await command(chat, "/export")
            await chat.ask("Hi [there]!")
            await chat.answered()
            assert "1 conversation written" in await command(chat, "/export")
            assert "1 conversation written" in await command(chat, "/export markdown")
            assert _written(tmp_path) == ["hi-there-2.md", "hi-there.md"]
            assert "1 conversation written" in await command(chat, '/export "a b.jsonl"')
            assert "exists already" in await command(chat, '/export html "a b.jsonl"')
            assert "There is no format" in await command(chat, "/export pdf")
            assert "Name one file" in await command(chat, "/export html a.html b.html")
    assert "Hello there." in (tmp_path / "hi-there.md").read_text("utf-8")
    row = json.loads((tmp_path / "a b.jsonl").read_text("utf-8"))
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
    assert row["vlmchat"]["entries"][1]["provenance"]["finish_reason"] == "stop"


async def test_import(tmp_path: Path) -> None:
    export_to(tmp_path / "x.json", "json", [example()])
    bad = tmp_path / "bad [1].jsonl"
    bad.write_text((tmp_path / "x.json").read_text("utf-8").replace("\n", "") + "\n{]\n", "utf-8")
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            said = await command(chat, f'/import "{bad}"')
            assert "line 2" in said and "Nothing was imported" in said
            await chat.ask(f'/import "{bad}" skip-bad')
            await chat.until(lambda: any("1 bad row skipped" in text for text in chat.notices()))
            said = await command(chat, f"/import {tmp_path / 'x.json'}")
            assert "0 conversations imported; 1 skipped, already here." in said
            assert "Name one file" in await command(chat, "/import")
            assert "does not exist" in await command(chat, "/import none.json")
    with Store(paths.data_dir()) as store:
        assert [thread.title for thread in store.threads()] == ["A picture"]


async def test_what_is_not_kept_can_be_exported_but_nothing_imported(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        overrides = remote(fake.url) | {"chat": {"save": False}}
        async with chatting(overrides=overrides) as chat:
            await chat.ready()
            await chat.ask("Hi")
            await chat.answered()
            assert "1 conversation written" in await command(chat, f"/export {tmp_path}/x.json")
            assert "not kept" in await command(chat, f"/import {tmp_path}/x.json")
    assert "Hello there." in (tmp_path / "x.json").read_text("utf-8")
