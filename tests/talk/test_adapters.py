"""Another adapter over the engine that runs: nothing restarts, and nothing said is lost."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.fake_engine import Reply, Script, digest
from tests.tui.driving import Chat, chatting
from tests.tui.test_adapter import adapter_in
from tests.tui.test_engine_change import by_model
from vlmchat import paths
from vlmchat.models.adapter import find_adapter
from vlmchat.talk.turns.tree import Turn


def on_shelf(name: str) -> Path:
    """Put an adapter on the shelf of this test."""
    folder = paths.data_dir() / "adapters"
    folder.mkdir(exist_ok=True)
    made = adapter_in(folder / name)
    weights = made / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + name.encode()[:4].ljust(4))
    return made


def scripts() -> Script:
    return Script([Reply(["Yes."])], adapters=True)


def adapter_of(turn: Turn) -> str:
    assert turn.reply is not None and turn.reply.made is not None
    return str(turn.reply.made.engine.get("adapter"))


async def noted(chat: Chat, words: str) -> None:
    await chat.until(lambda: any(words in note.replace("\n", " ") for note in chat.notices()))


async def test_swapped_in_place_and_back(tmp_path: Path) -> None:
    birds, charts = on_shelf("birds"), on_shelf("charts")
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        keeper, pid = chat.local, chat.local.pid
        for line, count in (("One", 1), ("/adapter birds", 1), ("Two", 2), ("/adapter charts", 2)):
            await chat.ask(line)
            if line.startswith("/"):
                await noted(chat, f"“{line.split()[1]}” from here on")
            else:
                await chat.answered(count)
        await chat.ask("Three")
        await chat.answered(3)
        assert f"adapter charts@{digest(charts)}" in chat.text()
        await chat.ask("/adapter off")
        await noted(chat, "without an adapter from here on")
        await chat.ask("Four")
        await chat.answered(4)
        assert (chat.local, chat.local.pid) == (keeper, pid)
        named = [adapter_of(turn) for turn in chat.replies]
        assert named == ["", f"birds@{digest(birds)}", f"charts@{digest(charts)}", ""]
        made = chat.replies[1].reply
        assert made and made.made and made.made.engine["adapter_path"] == str(birds)
        assert "adapter charts" not in chat.text() and chat.errors() == []
        await noted(chat, "A remark [y].")


async def test_after_a_restart_it_is_on_again(tmp_path: Path) -> None:
    birds = on_shelf("birds")
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        await chat.ask("/adapter birds")
        await noted(chat, "“birds” from here on")
        pid = chat.local.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await chat.until(lambda: chat.local.pid not in (None, pid))
        await chat.ready()
        assert chat.local.adapter is None  # the engine begins with it
        await chat.ask("One")
        await chat.answered()
        assert adapter_of(chat.replies[0]) == f"birds@{digest(birds)}"
        assert "adapter birds@" in chat.text()


async def test_an_answer_goes_on_with_the_adapter_it_was_begun_with(tmp_path: Path) -> None:
    birds, charts = on_shelf("birds"), on_shelf("charts")
    script = Script([Reply(["a "], delay=0.01, forever=True), Reply(["Yes."])], adapters=True)
    async with chatting(by_model(tmp_path, auto=script)) as chat:
        await chat.ready()
        await chat.ask("/adapter birds")
        await noted(chat, "“birds” from here on")
        await chat.ask("One")
        await chat.until(lambda: chat.replies and len(chat.replies[0].text) > 4)
        await chat.ask("/adapter charts")
        await noted(chat, "“charts” from here on")
        length = len(chat.replies[0].text)
        await chat.until(lambda: len(chat.replies[0].text) > length + 4)
        await chat.ask("/stop")
        await chat.ask("Two")
        await chat.answered(2)
        named = [adapter_of(turn) for turn in chat.replies]
        assert named == [f"birds@{digest(birds)}", f"charts@{digest(charts)}"]


async def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    birds = on_shelf("birds")
    on_shelf("misfit")
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        await chat.ask("/adapter birds")
        await noted(chat, "“birds” from here on")
        await chat.ask("/adapter misfit")
        await chat.until(chat.errors)
        assert "It does not fit [x]." in chat.errors()[0]
        await chat.ask("/adapter nowhere")
        await chat.until(lambda: len(chat.errors()) == 2)
        assert "vlmchat adapters" in chat.errors()[1].replace("\n", " ")
        assert chat.local.engine.options.adapter == str(birds)
        await chat.ask("One")
        await chat.answered()
        assert adapter_of(chat.replies[0]) == f"birds@{digest(birds)}"


async def test_only_the_last_few_stay_loaded(tmp_path: Path) -> None:
    names = [f"a{number}" for number in range(6)]
    for name in names:
        on_shelf(name)
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        for name in names:
            await chat.ask(f"/adapter {name}")
            await noted(chat, f"“{name}” from here on")
        rows = await chat.local.client.models()
        assert [row.id for row in rows if row.parent] == names[2:]
        assert chat.local.adapter == "a5"


async def test_names_are_completed(tmp_path: Path) -> None:
    on_shelf("birds")
    async with chatting(by_model(tmp_path, auto=scripts())) as chat:
        await chat.ready()
        await chat.type("/adapter bi")
        await chat.until(lambda: "birds" in chat.text())


def test_a_name_or_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    birds = on_shelf("birds")
    monkeypatch.chdir(tmp_path)
    assert find_adapter("birds") == birds
    assert find_adapter("./birds") == find_adapter(str(tmp_path / "birds")) == tmp_path / "birds"
    assert find_adapter("other") == tmp_path / "other"
    assert json.loads((birds / "adapter_config.json").read_text())
