"""What plain mode writes while an answer is under way."""

import io

import pytest

from vlmchat.plain.out import Flush, Out


@pytest.mark.parametrize(
    ("flush", "expected"),
    [
        ("sentence", "Cat: One two\nNote: It rains.\nCat: three. Four.\nCat: Five.\n"),
        ("whole", "Cat: \nNote: It rains.\nCat: One two three. Four.\nCat: Five.\n"),
    ],
)
def test_an_answer_that_is_interrupted_says_again_who_speaks(flush: Flush, expected: str) -> None:
    stream = io.StringIO()
    out = Out(stream)
    out.flush = flush
    out.begin("Cat")
    for piece in ("One", " two"):
        out.piece(piece)
    out.line("Note: It rains.")
    for piece in (" three. ", "Four."):
        out.piece(piece)
    out.end()
    out.begin("Cat")
    out.piece("Five.")
    out.end()
    assert stream.getvalue() == expected


def test_a_line_between_answers_interrupts_none() -> None:
    stream = io.StringIO()
    out = Out(stream)
    out.line("Note: Ready.")
    out.begin("Cat")
    out.piece("One.")
    out.end()
    out.line("Note: Done.")
    assert stream.getvalue() == "Note: Ready.\nCat: One.\nNote: Done.\n"
