"""The adapter shelf in the chat: looked at, used, renamed, deleted, exported, merged."""

import asyncio
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, OptionList, Static

from tests.adapters import save_adapter
from tests.fake_engine import MODEL, FakeEngine, Reply, Script, running
from tests.finetune.test_shelf import job as finished_job
from tests.plain.piping import piped
from tests.talk.test_adapters import noted, on_shelf, scripts
from tests.tui.driving import Chat, chatting, remote
from tests.tui.test_engine_change import by_model
from vlmchat import paths
from vlmchat.finetune import merging, shelf
from vlmchat.finetune.job import Job
from vlmchat.models.adapter import check_adapter
from vlmchat.tui.screens.adapters import AdapterShelf

job = finished_job  # a fixture


@pytest.fixture
def stars(job: Job) -> str:
    made = shelf.adopt(job)
    shelf.note_evaluation(made.name, {"exact match": 0.8, "wins": "12 of [20]"})
    return made.name


async def opened(chat: Chat, count: int) -> AdapterShelf:
    """Open the shelf and wait until it is filled."""
    await chat.ask("/adapter")
    await chat.until(lambda: isinstance(chat.app.screen, AdapterShelf))
    screen = chat.app.screen
    assert isinstance(screen, AdapterShelf)
    await chat.until(lambda: screen.query_one(OptionList).option_count == count)
    return screen


def said(screen: AdapterShelf) -> str:
    return str(screen.query_one("#shelf-said", Static).render())


async def closed(chat: Chat) -> None:
    await chat.until(lambda: not isinstance(chat.app.screen, AdapterShelf))


async def test_an_empty_shelf_says_how_to_fill_it(tmp_path: Path) -> None:
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        screen = await opened(chat, 0)
        await chat.until(lambda: "No adapter yet" in said(screen))
        for key in ("r", "d", "x", "m", "o", "enter"):
            await chat.pilot.press(key)
        await chat.pilot.press("escape")
        await closed(chat)


@pytest.mark.parametrize(
    ("adapter", "sentence"),
    [
        ("", "own, reading, is on: o takes it off."),
        ("birds", "own, reading, is on: once no other is on, o takes it off."),
        ("off", "own, reading, is off: /adapter reading lays it on again."),
    ],
)
async def test_how_it_stands_with_the_models_own(
    tmp_path: Path, adapter: str, sentence: str
) -> None:
    on_shelf("birds")
    meta = {**MODEL["meta"], "own_adapter": "reading", "adapter": adapter}
    script = Script([Reply(["Yes."])], model={"id": "seer", "meta": meta})
    async with chatting(by_model(tmp_path, auto=script)) as chat:
        await chat.ready()
        screen = await opened(chat, 1)
        await chat.until(lambda: sentence in said(screen))


async def test_what_is_shown(tmp_path: Path, stars: str) -> None:
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        await opened(chat, 1)
        text = chat.text()
        for words in ("learned", "smolvlm-256m", "SFT LoRA 4", "1.25", "12 of [20]", "0.8"):
            assert words in text, words


async def test_used_and_taken_off(tmp_path: Path) -> None:
    on_shelf("birds")
    on_shelf("charts")
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        screen = await opened(chat, 2)
        lines = screen.query_one(OptionList)
        place = next(n for n in (0, 1) if "birds" in str(lines.get_option_at_index(n).prompt))
        lines.highlighted = place
        await chat.pilot.press("enter")
        await closed(chat)
        await noted(chat, "“birds” from here on")
        screen = await opened(chat, 2)
        await chat.until(lambda: "● birds" in chat.text())
        assert screen.query_one(OptionList).highlighted == place and "It is on." in chat.text()
        await chat.pilot.press("enter")
        assert said(screen) == "birds is on already."
        await chat.pilot.press("o")
        await closed(chat)
        await noted(chat, "without an adapter from here on")
        screen = await opened(chat, 2)
        await chat.pilot.press("o")
        assert said(screen) == "No adapter is on."


async def test_renamed_while_it_is_on(tmp_path: Path) -> None:
    on_shelf("birds")
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        await chat.ask("/adapter birds")
        await noted(chat, "“birds” from here on")
        screen = await opened(chat, 1)
        await chat.pilot.press("r", *"-2", "escape")  # thought better of it
        await chat.until(lambda: not screen.query_one(Input).has_class("asked"))
        assert shelf.open_adapter("birds").folder.is_dir()
        await chat.pilot.press("r", *"-2", "enter")
        await chat.until(lambda: "birds-2 now" in said(screen))
        await chat.until(
            lambda: chat.local.engine.options.adapter == str(shelf.open_adapter("birds-2").folder)
        )
        await chat.pilot.press("escape")
        await closed(chat)
        assert "adapter birds-2@" in chat.text() and not chat.errors()


async def test_deleting_is_asked(tmp_path: Path) -> None:
    on_shelf("birds")
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        await chat.ask("/adapter birds")
        await noted(chat, "“birds” from here on")
        screen = await opened(chat, 1)
        for key in ("n", "escape", "enter", "x"):
            await chat.pilot.press("d")
            assert "for good?" in said(screen)
            await chat.pilot.press(key)
            assert said(screen) == "birds stays."
            assert chat.app.screen is screen and not screen.query_one(Input).has_class("asked")
        await chat.pilot.press("d", "y")
        await chat.until(lambda: said(screen) == "birds is deleted.")
        assert shelf.list_adapters() == []
        await chat.until(lambda: chat.local.engine.options.adapter is None)


async def test_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_shelf("birds")
    monkeypatch.chdir(tmp_path)
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        screen = await opened(chat, 1)
        for words in ("PEFT and vLLM load it", "exists already"):
            has = partial(lambda some: some in said(screen), words)
            await chat.pilot.press("x")
            assert screen.query_one(Input).value == str(tmp_path / "birds")
            await chat.pilot.press("enter")
            await chat.until(has)
        check_adapter(tmp_path / "birds")


async def test_merging_is_told_here_or_in_the_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_shelf("birds")
    gate = tmp_path / "gate"
    program = (
        "import json, pathlib, sys, time\n"
        'print(json.dumps({"text": "Writing [x]", "done": 0, "total": 2}), flush=True)\n'
        f"gate = pathlib.Path({str(gate)!r})\n"
        "while not gate.exists(): time.sleep(0.01)\n"
        'print(json.dumps({"largest": 0.01, "scale": 9.0, "dtype": "float32"}))\n'
    )
    monkeypatch.setattr(
        merging.merge,
        "__kwdefaults__",
        {
            **(merging.merge.__kwdefaults__ or {}),
            "command": (sys.executable, "-c", program),
        },
    )
    monkeypatch.setattr(merging, "_base_folder", lambda *_: tmp_path)
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        screen = await opened(chat, 1)
        await chat.pilot.press("m", "enter")
        await chat.until(lambda: "Writing [x] (1 of 2) …" in said(screen))
        gate.touch()
        await chat.until(lambda: "at most 0.01 of 9" in said(screen).replace("\n", " "))
        await chat.pilot.press("m", "enter")
        await chat.until(lambda: "exists already" in said(screen))
        gate.unlink()
        await chat.pilot.press("m", *"-2", "enter")
        await chat.until(lambda: "Writing" in said(screen))
        await chat.pilot.press("escape")
        await closed(chat)
        gate.touch()
        await noted(chat, "The merged model is in")
        made = paths.data_dir() / "models"
        assert sorted(one.name for one in made.iterdir()) == ["birds", "birds-2"]
        gate.unlink()
        screen = await opened(chat, 1)
        await chat.pilot.press("m", *"-3", "enter")
        await chat.until(lambda: "Writing" in said(screen))
    # Leaving the program ends it, and nothing half-made is left.
    await asyncio.to_thread(_settled, made, ["birds", "birds-2"])


def _settled(folder: Path, names: list[str]) -> None:
    """Wait until just these are in a folder."""
    deadline = time.monotonic() + 20
    while (found := sorted(one.name for one in folder.iterdir())) != names:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


async def test_a_servers_adapters_are_its_own() -> None:
    on_shelf("birds")
    with running(FakeEngine(Script())) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            screen = await opened(chat, 1)
            await chat.pilot.press("enter")
            assert "The adapter cannot be changed from here" in said(screen).replace("\n", " ")


@pytest.mark.slow
async def test_with_the_real_engine(tiny_model: Path) -> None:
    folder = shelf.adapters_dir()
    save_adapter(tiny_model, folder / "birds", seed=1)
    save_adapter(tiny_model, folder / "prompt", "prompt")
    sampling = {"max_tokens": 12}
    overrides: dict[str, dict[str, Any]] = {"engine": {"model": str(tiny_model)}}
    overrides["sampling"] = sampling
    async with chatting(None, overrides) as chat:
        await chat.ready()
        pid, texts = chat.local.pid, list[str]()
        for line in ("", "/adapter birds", "/adapter prompt", "/adapter off"):
            if line:
                await chat.ask(line)
                await noted(chat, line.removeprefix("/adapter ").replace("off", "without an adap"))
            await chat.ask("What is it?")
            await chat.answered()
            texts.append(chat.replies[0].text)
            await chat.ask("/new")
            await chat.until(lambda: not chat.replies)
        plain, birds, prompt, again = texts
        assert plain == again and len({plain, birds, prompt}) == 3
        assert chat.local.pid == pid and chat.errors() == []


@pytest.mark.slow
def test_in_plain_lines(tiny_model: Path) -> None:
    folder = save_adapter(tiny_model, shelf.adapters_dir() / "birds")
    lines = ("/set max_tokens 4", "One", "/adapter", "1", "Two", "/adapter", "", "/adapter off")
    done = piped("\n".join([*lines, "Three", "/quit", ""]), "--plain", "--model", tiny_model)
    assert done.returncode == 0, done.stdout
    assert f"1. birds, {tiny_model.name}, LoRA 4" in done.stdout and folder.is_dir()
    assert "The model answers with the adapter “birds” from here on." in done.stdout
    assert "1. birds, on, " in done.stdout
    assert "The model answers without an adapter from here on." in done.stdout
