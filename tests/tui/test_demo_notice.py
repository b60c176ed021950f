"""The chat says once that the demo model answers, and how to get a model for photographs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_engine import Script
from tests.tui.driving import chatting, scripted
from vlmchat.models import demo_model, hub, resolve
from vlmchat.models.catalogue import DEMO
from vlmchat.models.progress import ignore_progress

GB = 10**9


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None, int], str]:
    """Return what finds the demo model, by a name and the free memory, and gives its notice."""
    monkeypatch.setattr(demo_model, "ensure", lambda _: tmp_path)
    monkeypatch.setattr(hub, "reachable", lambda: False)

    def notice(spec: str | None, memory: int) -> str:
        found = resolve.resolve(spec, ignore_progress, memory_bytes=memory, device="cpu")
        assert found.is_demo
        return found.notice

    return notice


@pytest.mark.parametrize(
    ("spec", "memory", "way"),
    [
        ("demo", 8 * GB, "`/model smolvlm2-500m` in the chat"),
        (None, 8 * GB, "`vlmchat models pull smolvlm2-500m`"),
        (None, GB // 10, "need more free memory: `vlmchat models` says how much"),
    ],
)
def test_however_the_demo_came_it_says_what_it_knows_and_how_to_get_a_real_one(
    told: Callable[[str | None, int], str], spec: str | None, memory: int, way: str
) -> None:
    notice = told(spec, memory)
    assert way in notice
    assert "simple" in notice and "drawings" in notice.replace("drawn pictures", "drawings")


async def test_it_is_told_once_a_start_and_stands_in_every_conversation(
    told: Callable[[str | None, int], str], tmp_path: Path
) -> None:
    script, notice = Script(), told("demo", 8 * GB)
    script.model["meta"] |= {"title": DEMO.title, "notice": notice}

    def said(notices: list[str]) -> int:
        return sum("smolvlm2-500m" in each for each in notices)

    async with chatting(scripted(script, tmp_path)) as chat:
        await chat.until(lambda: said(chat.notices()))
        for count in (1, 2):
            await chat.ask("What is in the picture?")
            await chat.answered(count)
            assert said(chat.notices()) == 1
        await chat.ask("/new")
        await chat.until(lambda: not chat.session.path and not chat.answers())
        assert said(chat.notices()) == 1
        assert "knows simple" in chat.text()
        await chat.ask("What is in the photograph?")
        await chat.answered()
        assert said(chat.notices()) == 1
