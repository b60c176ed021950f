"""Answers are drawn as Markdown: what the library's widget says, in one widget, as it grows."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.content import Content
from textual.widgets import Markdown, Static

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.tui.driving import chatting, remote
from vlmchat.tui.markdown.growing import Growing, whole
from vlmchat.tui.markdown.rows import Block, Lines, Margin
from vlmchat.tui.markdown.tables import shares
from vlmchat.tui.widgets.answer import LONG, AnswerText

CLOSED = [
    "A paragraph with **bold** text and `code`, ~~none~~ and *some*.\n\n",
    "- one\n- two\n\n  still two\n- three\n\n",
    "- outer\n  1. inner\n  2. second\n     > quoted\n- last\n\n",
    "7. first\n8. second\n\n",
    "```python\nx = 1\n\n\ny = [2]\n```\n\n",
    "| a | b |\n|---|:-:|\n| 1 | **2** |\n| three | `4` |\n\n",
    "> quoted\n> twice\nlazily\n\n",
    "para\n\n    indented code\n\n    more of it\n\npara\n\n",
    "# Heading\n",
    "Heading of two\nlines\n=====\n",
    "---\n",
    "word " * 60 + "\n\n",
    "https://example.org/a?b=c and [a link](https://example.org 'title')\n\n",
    "\n\n\n",
    "Line\\\nbroken  \ntwice\n\n",
    "no line break at the end",
]
OPEN = [
    "~~~\nnever closed\n\n",
    "<div>\n\nraw *html*\n\n</div>\n\n",
    "[x]: https://example.org/x\n",
]


def drawn(blocks: list[Block], width: int = 60) -> list[str]:
    """Return the rows of `blocks` as text."""
    return [(row.lead + row.text).plain.rstrip() for block in blocks for row in block.rows(width)]


def look(text: str, width: int = 40) -> str:
    return "\n".join(drawn(whole(text), width))


# What it looks like -------------------------------------------------------------------------------


def test_blocks_stand_apart_and_items_of_a_tight_list_do_not() -> None:
    assert look("# Title\nOne.\n\n- a\n- b\n  - c\n  - d\n- e\n\nTwo.\n") == (
        "Title\n\nOne.\n\n• a\n• b\n  ▪ c\n  ▪ d\n• e\n\nTwo."
    )
    assert look("- a\n\n- b\n\n  more of b\n") == "• a\n\n• b\n\n  more of b"
    assert look(" 9. nine\n10. ten\n") == " 9. nine\n10. ten"
    assert look("- \n- b\n") == "•\n• b"


def test_quotations_have_a_bar_on_every_row() -> None:
    assert look("> one\n>\n> two\n>> three\n\nout\n") == "▌ one\n▌\n▌ two\n▌\n▌ ▌ three\n\nout"
    assert look("- > in\n  > a list\n") == "• ▌ in a list"


def test_long_lines_are_wrapped_within_their_margin() -> None:
    rows = look("- " + "word " * 10, 22).splitlines()
    assert rows == ["• word word word word", "  word word word word", "  word word"]


def test_code_keeps_its_lines_and_long_ones_are_wrapped() -> None:
    text = "```py\nx = 1\n\n" + "y" * 50 + "\n```\n"
    rows = look(text, 30).splitlines()
    assert rows == ["", "  x = 1", "", "  " + "y" * 28, "  " + "y" * 22]
    (block,) = whole(text)
    block.rows(30)
    assert block.lines == ["  ", "x = 1", "", "y" * 50, ""]


def test_tables_give_way_where_they_are_widest_and_are_told_where_there_is_no_room() -> None:
    table = "| Name | What it is | N |\n|:--|:-:|--:|\n| cat | " + "furry " * 6 + "| 1 |\n"
    assert look(table, 40).splitlines() == [
        "Name │          What it is           │ N",
        "─────┼───────────────────────────────┼──",
        "cat  │ furry furry furry furry furry │ 1",
        "     │             furry             │",
    ]
    told = look("| First | Second | Third |\n|--|--|--|\n| 1 | 2 | 3 |\n| 4 | 5 | 6 |\n", 16)
    assert told.split("\n\n")[1].splitlines() == ["First: 4", "Second: 5", "Third: 6"]


def test_what_the_library_drops_is_shown_as_it_was_written() -> None:
    assert "<b>not</b> bold" in look("This is <b>not</b> bold.")
    assert look("<div>\nraw\n</div>\n") == "<div>\nraw\n</div>"


def test_entities_cannot_smuggle_in_what_a_terminal_obeys() -> None:
    assert look("a &#x202e; b &amp; c") == "a ⟨U+202E⟩ b & c"


class _Library(App[None]):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.shown = text

    def compose(self) -> ComposeResult:
        yield Markdown(self.shown)


async def test_it_says_what_the_librarys_widget_says() -> None:
    text = "".join(CLOSED)
    app = _Library(text)
    async with app.run_test(size=(60, 500)) as pilot:
        await pilot.pause()
        theirs: list[str] = []
        for widget in app.query(Static):
            if (
                not widget.children
                and not widget.has_class("cell")
                and not widget.has_class("header")
            ):
                theirs += str(widget.render()).split()
        cells = [str(cell.render()) for cell in app.query(".cell, .header").results(Static)]
    signs = set("•▪‣◦▌─│┼ ") | set(string.digits + ".")
    ours = [
        word
        for line in drawn(whole(text), 500)
        if "│" not in line
        for word in line.split()
        if set(word) - signs
    ]
    assert ours == [word for word in theirs if set(word) - signs]
    assert cells == ["a", "b", "1", "2", "three", "4"]
    assert {"a", "b", "three"} <= set(look(CLOSED[5]).replace("│", " ").split())


# Rows and lines -----------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.text("ab 字\t😀-", max_size=200), st.integers(12, 60))
def test_rows_fit_and_together_are_the_line(text: str, width: int) -> None:
    margin = Margin(Content("1. "), Content("   "))
    block = Lines([Content(text)], margin)
    rows = block.rows(width)
    (line,) = block.lines
    for row in rows:
        assert (row.lead + row.text).cell_length <= width
        assert line[row.x :].startswith(row.text.plain)
    assert "".join("".join(row.text.plain for row in rows).split()) == "".join(line.split())


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12), st.integers(12, 200))
def test_columns_share_what_room_there_is(wanted: list[int], room: int) -> None:
    widths = shares(wanted, room)
    assert sum(widths) <= room
    assert all(1 <= width <= most for width, most in zip(widths, wanted, strict=True))
    if sum(wanted) <= room:
        assert widths == wanted
    else:
        widest = max(widths)
        assert all(
            width >= min(most, widest - 1) for width, most in zip(widths, wanted, strict=True)
        )


# Growing ------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(CLOSED), min_size=1, max_size=20), st.integers(1, 40))
def test_a_text_that_grew_is_drawn_as_the_whole(pieces: list[str], step: int) -> None:
    text = "".join(pieces)
    growing = Growing()
    for begin in range(0, len(text), step):
        growing.append(text[begin : begin + step])
    assert drawn(growing.blocks) == drawn(whole(text))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(CLOSED + OPEN), max_size=20), st.integers(1, 40))
def test_whatever_comes_is_drawn(pieces: list[str], step: int) -> None:
    text = "".join(pieces)
    growing = Growing()
    for begin in range(0, len(text), step):
        growing.append(text[begin : begin + step])
        drawn(growing.blocks, 20)


async def test_a_long_answer_streams_and_ends_as_a_saved_one_is_drawn(tmp_path: Path) -> None:
    text = "See [the end][late].\n\n" + "".join(CLOSED[n % 15] for n in range(300))
    text += "\n\n[late]: https://example.org/late"
    assert len(text) > 2 * LONG
    pieces = [text[i : i + 7] for i in range(0, len(text), 7)]
    with running(FakeEngine(Script(replies=[Reply(pieces)]))) as fake:
        async with chatting(overrides=remote(fake.url), size=(100, 60)) as chat:
            await chat.ready()
            await chat.ask("Tell me everything.")
            await chat.answered()
            assert chat.replies[0].text == text
            streamed = chat.screen.query_one(AnswerText)
            rows = drawn(whole(text), streamed.size.width)
            await chat.until(lambda: streamed.size.height == len(rows))
            last = streamed.size.height - 1
            assert [streamed.render_line(y).text.rstrip() for y in range(last + 1)] == rows
            assert "See the end." in streamed.render_line(0).text
        async with chatting(overrides=remote(fake.url), size=(100, 60), resume=True) as chat:
            await chat.until(lambda: chat.screen.query(AnswerText))
            again = chat.screen.query_one(AnswerText)
            await chat.until(lambda: again.size.height == len(rows))
            assert [again.render_line(y).text.rstrip() for y in range(last + 1)] == rows


@pytest.mark.parametrize("href", ["https://example.org/x", "ftp://example.org/x"])
async def test_a_link_opens_on_a_click_if_it_leads_to_the_web(
    href: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(FakeEngine(Script(replies=[Reply([f"[here]({href})"])]))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            opened: list[str] = []
            monkeypatch.setattr(chat.app, "open_url", opened.append)
            await chat.ask("Where?")
            await chat.answered()
            text = chat.screen.query_one(AnswerText)
            await chat.until(lambda: text.size.height == 1)
            await chat.pilot.click(text, offset=(1, 0))
            if href.startswith("https"):
                await chat.until(lambda: opened == [href])
            else:
                await chat.until(
                    lambda: any("no web link" in n.message for n in chat.app._notifications)
                )
                assert not opened
