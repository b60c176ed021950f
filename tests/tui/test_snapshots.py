"""Every screen looks as it looked when somebody last approved of it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.snapshots.compare import Snapshots, differences, lines_of, other_versions, stripped
from tests.snapshots.walk import Walk, everything
from tests.snapshots.world import (
    Clock,
    StillEngine,
    fill,
    folder_of_pictures,
    machine,
    still_engine,
)
from tests.tui.driving import chatting
from vlmchat.text import visible_line
from vlmchat.tui.widgets import sidebar

pytestmark = pytest.mark.slow

SIZES = ((80, 24), (120, 40), (200, 60))


@pytest.fixture
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be in one place of the world, at one time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(sidebar, "datetime", Clock)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("theme", ["harbour", "paper"])
async def test_every_screen(
    theme: str,
    size: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    tiny_model: Path,
    _elsewhere: None,
) -> None:
    folder = folder_of_pictures(tmp_path / "pictures")

    def named(text: str) -> str:
        return visible_line(text).replace(str(tmp_path), "/home/ada")

    monkeypatch.setattr("vlmchat.tui.screens.picker.visible_line", named)
    monkeypatch.setattr("vlmchat.talk.locating.visible_line", named)
    monkeypatch.setattr("vlmchat.tui.screens.finetune.data.visible_line", named)
    machine(monkeypatch, tiny_model)
    fill(open_one=True)
    snapshots = Snapshots(
        f"{theme}-{size[0]}x{size[1]}", request.config.getoption("--accept-screens")
    )
    ui = {"theme": theme, "motion": "reduced", "pictures": "blocks"}
    async with chatting(still_engine, {"ui": ui}, size=size) as chat:
        await chat.until(lambda: isinstance(chat.session.engine, StillEngine))
        engine = chat.session.engine
        assert isinstance(engine, StillEngine)
        await everything(Walk(chat, engine, folder, snapshots.check))
    if report := snapshots.report():
        if others := other_versions():
            pytest.skip(f"Drawn by {others}, screens look different: {report}")
        pytest.fail(report, pytrace=False)


def _svg(text: str, style: str = "bold") -> str:
    return (
        "<style>\n@font-face {\n  font-family: x;\n  }\n.terminal-77-r1 { " + style + " }\n"
        f'</style>\n  <text class="terminal-77-r1" x="0" y="20" textLength="9">{text}</text>'
    )


def test_what_differs_is_told_in_lines() -> None:
    one, other = stripped(_svg("a &lt;b&gt;")), stripped(_svg("a &lt;c&gt;"))
    assert "77" not in one and "font-face" not in one
    assert lines_of(one) == ["a <b>"]
    told = "\n".join(differences(one, other))
    assert "line 1" in told and "- a <b>" in told and "+ a <c>" in told
    (told,) = differences(one, stripped(_svg("a &lt;b&gt;", "italic")))
    assert "styles differ" in told
