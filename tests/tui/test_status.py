"""The status line: what it says, what gives way, and what the engine occupies."""

from pathlib import Path

import psutil
import pytest
from rich.cells import cell_len

from tests.fake_engine import MODEL, FakeEngine, Reply, Script, running
from tests.tui.driving import Chat, chatting, remote, scripted
from vlmchat.client.protocol import ModelInfo
from vlmchat.models.catalogue import CATALOGUE
from vlmchat.tui.widgets import status
from vlmchat.tui.widgets.status import StatusBar, StatusFacts, memory_of, status_line


def _model(title: str, quantization: str = "none", adapter: str = "") -> ModelInfo:
    return ModelInfo(
        "id", title, quantization=quantization, device="cuda", dtype="bfloat16", adapter=adapter
    )


def _facts(title: str, quantization: str = "none", adapter: str = "") -> StatusFacts:
    model = _model(title, quantization, adapter)
    return StatusFacts("answering", model, 16_000, 16_384, 123.4, 12.3)


def test_wide_enough_it_says_everything() -> None:
    line = status_line(_facts("SmolVLM 256M", "8bit", "birds@0123456789ab"), 1_400_000_000, 160)
    left, right = line.split("   ")[0], line.split("   ")[-1].strip()
    assert left == "◐ answering · SmolVLM 256M · 8bit · cuda · adapter birds@0123456789ab"
    assert right == ("context 16000/16384 · 123.4 tokens/s · first token 12 s · engine 1.4 GB")
    assert cell_len(line) == 160


def test_what_gives_way_first() -> None:
    facts = _facts("SmolVLM 256M", "8bit", "birds@0123456789ab")
    order = ["engine", "first token", "cuda", "tokens/s", "adapter", "8bit", "tok", "ctx"]
    widths = {
        word: min(w for w in range(20, 161) if word in status_line(facts, 10**9, w))
        for word in order
    }
    assert [widths[word] for word in order] == sorted(widths.values(), reverse=True)
    for width in range(8, 161):
        line = status_line(facts, 10**9, width)
        assert cell_len(line) <= width and line.startswith("◐ answ")


@pytest.mark.parametrize("title", [entry.title for entry in CATALOGUE] + ["語" * 30, "x" * 70])
@pytest.mark.parametrize("quantization", ["none", "4bit"])
def test_at_80_columns_the_five_that_matter_stay(title: str, quantization: str) -> None:
    line = status_line(_facts(title, quantization, "birds@0123456789ab"), 10**9, 76)
    assert cell_len(line) <= 76
    assert line.startswith(f"◐ answering · {title[:5]}")
    assert ("bfloat16" if quantization == "none" else "4bit") in line
    assert "16000/16384" in line and "123.4 tok" in line


def test_nothing_known_yet() -> None:
    assert status_line(StatusFacts(), None, 76).rstrip() == "◐ starting"
    assert "[/x] ␛" in status_line(_facts("[/x] \x1b"), None, 76)


def _line(chat: Chat) -> str:
    return str(chat.screen.query_one(StatusBar).render())


async def test_the_memory_of_an_engine_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "MEASURE_SECONDS", 0.02)
    script = Script([Reply(["Yes."], delay=0.05)])
    async with chatting(scripted(script, tmp_path), size=(120, 24)) as chat:
        await chat.ready()
        await chat.until(lambda: "engine " in _line(chat))
        pid = chat.local.pid
        assert pid is not None
        resident = psutil.Process(pid).memory_info().rss
        figure = float(_line(chat).rsplit("engine ", 1)[1].split(" MB")[0])
        assert figure == pytest.approx(resident / 1e6, rel=0.2)
        await chat.ask("Hello")
        await chat.answered()
        await chat.until(lambda: "first token 0." in _line(chat))
        await chat.local.engine.stop()
        await chat.until(lambda: chat.local.deaths and chat.local.status.stage == "ready")
        await chat.until(lambda: chat.local.pid not in (None, pid))
        await chat.until(lambda: "engine " in _line(chat))
    assert memory_of(pid) is None


async def test_an_engine_elsewhere_has_no_memory_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "MEASURE_SECONDS", 0.01)
    monkeypatch.setattr(status, "memory_of", lambda _: pytest.fail("asked"))
    with running(FakeEngine(Script(model=MODEL))) as engine:
        async with chatting(overrides=remote(engine.url), size=(120, 24)) as chat:
            await chat.ready()
            await chat.ask("Hello")
            await chat.answered()
            assert "first token" in _line(chat) and "engine" not in _line(chat)
