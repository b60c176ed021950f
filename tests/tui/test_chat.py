"""The chat itself: loading, queue, streaming, stopping, following up."""

import asyncio
from pathlib import Path

import pytest
from textual.widgets import ProgressBar

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote, scripted, shown
from vlmchat.talk.commands.registry import COMMANDS
from vlmchat.tui.markdown.growing import whole
from vlmchat.tui.widgets.answer import AnswerText, PieceReader
from vlmchat.tui.widgets.queue import QueueRow
from vlmchat.tui.widgets.status import LoadingLine, StatusBar
from vlmchat.tui.widgets.transcript import Transcript
from vlmchat.tui.widgets.turns import AnswerTurn
from vlmchat.tui.widgets.welcome import Welcome

DOWNLOADING = {
    "stage": "downloading",
    "text": "Downloading the demo model",
    "done": 41_000_000,
    "total": 92_871_040,
}
DOCUMENT = """# Title

A *para*\r\ngraph with `code`.

1. one
2. two

```python
x = 1
```

3. three

| a | b |
|---|---|
| 1 | 2 |

See [x][1].

[1]: https://example.org
"""


async def _loading(chat: Chat) -> None:
    await chat.until(lambda: chat.session.engine.status.stage == "downloading")


def _status(chat: Chat) -> str:
    return str(chat.screen.query_one(StatusBar).render())


async def test_loading_is_told_and_what_is_typed_waits(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = Script(loading=[DOWNLOADING], hold_loading=str(go))
    script.model["meta"]["notice"] = "This is the `demo` model [/red]."
    async with chatting(scripted(script, tmp_path)) as chat:
        await _loading(chat)
        line = chat.screen.query_one(LoadingLine)
        assert shown(line) == "Downloading the demo model\n41 of 93 MB"
        assert chat.screen.query_one(ProgressBar).percentage == pytest.approx(0.44, abs=0.01)
        assert "downloading" in _status(chat)

        for text in ("one", "two", "three"):
            await chat.ask(text)
        await chat.until(lambda: len(chat.screen.query(QueueRow)) == 3)
        assert chat.questions() == []
        assert chat.screen.query(Welcome)

        # The last one comes back with Up, the second is edited from its row, and sent again.
        await chat.pilot.press("up")
        assert chat.composer.text == "three"
        chat.composer.clear_draft()
        await chat.until(lambda: len(chat.screen.query(QueueRow)) == 2)
        chat.screen.query(QueueRow).last().focus()
        await chat.pilot.press("e")
        assert chat.composer.text == "two"
        await chat.pilot.press(*" more", "enter")
        await chat.ask("spare")
        await chat.until(lambda: len(chat.screen.query(QueueRow)) == 3)
        chat.screen.query(QueueRow).last().focus()
        await chat.pilot.press("delete")
        await chat.type("a draft")

        go.touch()
        await chat.answered(2)
        assert chat.questions() == ["You\none", "You\ntwo more"]
        assert chat.composer.text == "a draft"
        assert not line.display
        assert [note for note in chat.notices() if "demo" in note] == [
            "Note\nThis is the `demo` model [/red]."
        ]
        assert "Fake VLM" in _status(chat)


async def test_an_answer_streams_as_markdown_and_ends_as_a_full_parse(tmp_path: Path) -> None:
    pieces = [DOCUMENT[i : i + 3] for i in range(0, len(DOCUMENT), 3)]
    with running(FakeEngine(Script(replies=[Reply(pieces, delay=0.001)]))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask("Draw a table")
            await chat.answered()
            turn = chat.screen.query_one(AnswerTurn)
            drawn = turn.query_one(AnswerText)
            blocks = whole(DOCUMENT.replace("\r\n", "\n"))
            rows = [row for block in blocks for row in block.rows(drawn.size.width)]
            assert drawn.size.height == len(rows) > 15
            assert [drawn.render_line(y).text.rstrip() for y in range(len(rows))] == [
                (row.lead + row.text).plain.rstrip() for row in rows
            ]
            assert chat.replies[0].text == DOCUMENT
            footnote = shown(turn).splitlines()[-1]
            assert footnote.startswith("first token ")
            assert f"31.2 tokens/s · {len(pieces)} tokens" in footnote
            assert f"context {100 + len(pieces)}/8192 · 31.2 tokens/s" in _status(chat)
    body = engine.requests[0]
    assert body["stream"] is True
    assert body["max_tokens"] == 512
    assert body["model"] == "fake-vlm"


async def test_escape_keeps_the_partial_answer_and_the_talk_goes_on(tmp_path: Path) -> None:
    replies = [Reply(["Once ", "upon "], delay=0.04, forever=True), Reply(["Yes."])]
    photo = saved(tmp_path / "photo.png")
    with running(FakeEngine(Script(replies=replies))) as engine:
        async with chatting(overrides=remote(engine.url), attach=[photo]) as chat:
            await chat.until(lambda: chat.screen.attachments.media)
            await chat.ask("Tell a story")
            await chat.until(lambda: "upon" in "".join(_texts(chat)))
            assert "answering" in _status(chat)
            await chat.pilot.press("escape")
            await chat.answered()
            partial = chat.replies[0]
            assert partial.state == "stopped"
            assert partial.text.startswith("Once upon ")
            assert shown(chat.screen.query_one(AnswerTurn)).endswith("stopped")
            await chat.ask("Is that all?")
            await chat.answered(2)
            await chat.until(lambda: engine.hang_ups == 1)
    first, second = (request["messages"] for request in engine.requests)
    assert first[0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert second[0] == first[0]
    assert second[1] == {"role": "assistant", "content": partial.text}
    assert second[2] == {"role": "user", "content": "Is that all?"}


def _texts(chat: Chat) -> list[str]:
    return [turn.text for turn in chat.replies]


async def test_stop_before_the_first_word_joins_the_questions(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=[Reply(delay=30), Reply(["Yes."])]))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask("First")
            await chat.until(lambda: engine.requests)
            await chat.ask("/stop")
            await chat.answered()
            await chat.ask("Second")
            await chat.answered(2)
    assert engine.requests[1]["messages"] == [{"role": "user", "content": "First\n\nSecond"}]


async def test_questions_asked_during_an_answer_wait_their_turn(tmp_path: Path) -> None:
    replies = [Reply(["Long "], delay=0.04, forever=True), Reply(["Short."])]
    with running(FakeEngine(Script(replies=replies))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask("One")
            await chat.until(lambda: any(_texts(chat)))
            await chat.ask("Two")
            await chat.until(lambda: len(chat.screen.query(QueueRow)) == 1)
            assert len(engine.requests) == 1
            await chat.pilot.press("escape")
            await chat.answered(2)
            assert _texts(chat)[1] == "Short."


async def test_hostile_text_is_shown_and_sent_unchanged(tmp_path: Path) -> None:
    hostile = "a [/red] [bold]b \x1b[31mred\x1b[0m \u202eabc \ud7ff"
    with running(FakeEngine(Script(replies=[Reply(["x \x1b]0;t\x07 \u202e[/red]"])]))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.type(hostile)
            assert "\x1b" not in chat.text()
            assert "␛[31m" in chat.text()
            await chat.pilot.press("enter")
            await chat.answered()
            screen = chat.text()
            assert "a [/red] [bold]b ␛[31mred␛[0m ⟨U+202E⟩abc" in screen
            assert "x ␛]0;t␇ ⟨U+202E⟩[/red]" in screen
            assert not {"\x1b", "\x07", "\u202e"} & set(screen)
    assert engine.requests[0]["messages"][0]["content"] == hostile


async def test_only_spaces_are_not_sent(tmp_path: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask("  \n ")
            await chat.pilot.pause(0.05)
            assert chat.questions() == []
            # They are gone, so that a command written next is one.
            await chat.ask("/set temperature hot")
            await chat.until(chat.errors)
            assert "temperature" in chat.errors()[0]
    assert engine.requests == []


async def test_the_composer_breaks_lines_and_grows_to_a_third(tmp_path: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.pilot.press("a", "ctrl+j", "b", "shift+enter", "c")
            assert chat.composer.text == "a\nb\nc"
            assert chat.composer.size.height == 3
            await chat.pilot.press(*["ctrl+j"] * 20)
            assert chat.composer.size.height == 24 // 3 - 1
            chat.composer.clear_draft()
            await chat.pilot.pause()
            assert chat.composer.size.height == 1


async def test_enter_can_mean_a_new_line(tmp_path: Path) -> None:
    with running(FakeEngine()) as engine:
        overrides = {**remote(engine.url), "ui": {"enter": "newline"}}
        async with chatting(overrides=overrides) as chat:
            await chat.ready()
            await chat.pilot.press("a", "enter", "b", "ctrl+s")
            await chat.answered()
    assert engine.requests[0]["messages"][0]["content"] == "a\nb"


async def test_the_screen_stops_following_when_one_scrolls_up(tmp_path: Path) -> None:
    reply = Reply(["line\n\n"], delay=0.04, forever=True)
    with running(FakeEngine(Script(replies=[reply]))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask("Count")
            view = chat.screen.query_one(Transcript)
            await chat.until(lambda: view.max_scroll_y > 20)
            assert view.scroll_y >= view.max_scroll_y - 4
            await chat.pilot.press("pageup")
            await chat.until(lambda: view.scroll_y < view.max_scroll_y - 4)
            where, end = view.scroll_y, view.max_scroll_y
            await chat.until(lambda: view.max_scroll_y > end + 6)
            assert view.scroll_y == where
            await chat.pilot.press("escape")


async def test_a_cut_answer_says_so(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=[Reply(["Half"], finish="length")]))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask("Go")
            await chat.answered()
            assert "cut short by max_tokens" in chat.answers()[0]


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (200, 60)])
@pytest.mark.parametrize("theme", ["harbour", "paper"])
async def test_all_sizes_have_room_for_everything(
    tmp_path: Path, size: tuple[int, int], theme: str
) -> None:
    with running(FakeEngine()) as engine:
        overrides = {**remote(engine.url), "ui": {"theme": theme}}
        async with chatting(overrides=overrides, size=size) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            screen = chat.text()
            assert "Hello there." in screen
            assert "ready" in screen
            assert "Quit" in screen or size[0] < 80
            assert chat.composer.region.bottom <= size[1] - 3


def test_pieces_join_line_breaks_that_were_split() -> None:
    reader = PieceReader()
    assert [reader.feed(piece) for piece in ("a\r", "\nb\r", "c", "\r\n")] == [
        "a",
        "\nb",
        "\nc",
        "\n",
    ]


async def test_system_prompt_goes_first(tmp_path: Path) -> None:
    with running(FakeEngine()) as engine:
        overrides = {**remote(engine.url), "chat": {"system": "Be brief."}}
        async with chatting(overrides=overrides) as chat:
            await chat.ask("Hi")
            await chat.answered()
            assert "System" in chat.text()
    assert engine.requests[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_every_command_explains_itself() -> None:
    names = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
    for command in COMMANDS:
        assert command.help
        assert not command.help.endswith(".")


async def test_quitting_ends_the_engine(tmp_path: Path) -> None:
    async with chatting(scripted(Script(), tmp_path)) as chat:
        await chat.ready()
        pid = chat.local.engine.pid
        assert pid is not None
        await chat.pilot.press("ctrl+q")
        keeper = chat.local
    for _ in range(500):
        if keeper.engine.pid is None:
            break
        await asyncio.sleep(0.01)
    assert keeper.engine.pid is None
