"""Long answers are cut into parts that together are what the whole would be."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from textual.widgets.markdown import MarkdownBlock

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.tui.driving import chatting, remote
from vlmchat.tui import markdown_parts
from vlmchat.tui.markdown_parts import PART, WHOLE, Parser, cut_of, split
from vlmchat.tui.widgets.turns import AnswerMore, AnswerTurn

PIECES = [
    "A paragraph with **bold** text and `code`.\n\n",
    "- one\n- two\n\n  still two\n- three\n\n",
    "1. first\n2. second\n\n",
    "```python\nx = 1\n\n\ny = [2]\n```\n\n",
    "~~~\nnever closed\n\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n",
    "> quoted\n> twice\nlazily\n\n",
    "    indented code\n\n    more of it\n\n",
    "# Heading\n",
    "Heading of two\nlines\n=====\n",
    "See [the link][x] and [y].\n\n",
    "[x]: https://example.org/x\n[y]: https://example.org/y 'title'\n\n",
    "<div>\n\nraw *html*\n\n</div>\n\n",
    "---\n",
    "word " * 60 + "\n\n",
    "https://example.org/a?b=c\n\n",
    "\n\n\n",
    "\tTab\n",
    "no line break at the end",
]


def shape(tokens: list[Token]) -> list[Any]:
    return [
        (t.type, t.tag, t.content, t.info, t.hidden, dict(t.attrs), shape(t.children or []))
        for t in tokens
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=60))
def test_the_parts_are_parsed_as_the_whole(pieces: list[str]) -> None:
    text = "".join(pieces)
    parts, references = split(text)
    assert "".join(parts) == text
    assert len(text) < WHOLE or all(len(part) >= PART // 2 for part in parts[:-1])
    whole = shape(MarkdownIt("gfm-like").parse(text))
    together = [row for part in parts for row in shape(Parser(references).parse(part))]
    assert together == whole


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=30))
def test_a_growing_text_is_cut_before_its_last_block(pieces: list[str]) -> None:
    text = "".join(pieces)
    cut = cut_of(text)
    if not cut:
        return
    first, rest = text[:cut], text[cut:]
    references: dict[str, Any] = {}
    MarkdownIt("gfm-like").parse(text, references)
    parser = Parser(references.get("references", {}))
    whole = shape(MarkdownIt("gfm-like").parse(text))
    assert shape(parser.parse(first)) + shape(parser.parse(rest)) == whole


def _drawn(root: AnswerTurn | AnswerMore) -> list[str]:
    return [f"{type(block).__name__}: {block.source}" for block in root.query(MarkdownBlock)]


async def test_a_long_answer_streams_in_parts_and_ends_as_a_saved_one_is_drawn(
    tmp_path: Path,
) -> None:
    closed = [piece for piece in PIECES[:12] if "never" not in piece]
    text = "".join(closed[n % 11] for n in range(250)) + "[late]: https://example.org/late"
    assert len(text) > 4 * markdown_parts.WHOLE
    pieces = [text[i : i + 7] for i in range(0, len(text), 7)]
    with running(FakeEngine(Script(replies=[Reply(pieces)]))) as fake:
        async with chatting(overrides=remote(fake.url), size=(100, 300)) as chat:
            await chat.ready()
            await chat.ask("Tell me everything.")
            await chat.answered()
            assert chat.replies[0].text == text
            await chat.until(lambda: len(chat.screen.query(AnswerMore)) > 3)
            streamed = {item._part: _drawn(item) for item in chat.screen.query(AnswerMore)}
            notes = [item.query_one(".turn-footnote") for item in chat.screen.query(AnswerMore)]
            assert [note.display for note in notes] == [False] * (len(notes) - 1) + [True]
        async with chatting(overrides=remote(fake.url), size=(100, 200), resume=True) as chat:
            # Only what is near the screen exists.
            await chat.until(lambda: len(chat.screen.query(AnswerMore)) > 3)
            await chat.until(
                lambda: all(
                    _drawn(item) == streamed[item._part] for item in chat.screen.query(AnswerMore)
                )
            )
