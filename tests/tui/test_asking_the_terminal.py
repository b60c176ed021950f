"""The question to the terminal, in a real pseudo-terminal that answers or does not."""

import os
import sys
import time
from pathlib import Path

import pexpect
import pytest

PROGRAM = """
import sys, termios, time
from vlmchat.tui.terminal import TerminalQuestion
before = termios.tcgetattr(0)
began = time.monotonic()
with TerminalQuestion() as question:
    time.sleep(float(sys.argv[1]))
    found = question.answer()
took = time.monotonic() - began
assert termios.tcgetattr(0) == before
print("RESULT", found.kind, found.cell, repr(found.typed), took < 0.6 + float(sys.argv[1]))
"""
ASKED = r"\x1b\[16t(\x1b_G[^\x1b]*\x1b\\)?\x1b\[c"


def _ask(answer: bytes, term: str = "xterm-256color", importing: float = 0.1, **more: str) -> str:
    environment = {**os.environ, "TERM": term, "TERM_PROGRAM": "", **more}
    child = pexpect.spawn(
        sys.executable, ["-c", PROGRAM, str(importing)], env=environment, timeout=20
    )
    try:
        if answer:
            child.expect(ASKED)
            child.send(answer)
        child.expect(r"RESULT (.*)\r\n")
        assert child.match is not None and not isinstance(child.match, int)
        return str(child.match.group(1).decode())
    finally:
        child.close(force=True)


@pytest.mark.parametrize(
    ("term", "answer", "expected"),
    [
        ("xterm-256color", b"\x1b[6;20;9t\x1b[?62;4c", "sixel (9, 20) '' True"),
        ("xterm-256color", b"\x1b[?62c", "blocks (10, 20) '' True"),
        (
            "xterm-kitty",
            b"\x1b[6;30;15t\x1b_Gi=4294967;OK\x1b\\\x1b[?62c",
            "kitty (15, 30) '' True",
        ),
    ],
)
def test_terminals_that_answer(term: str, answer: bytes, expected: str) -> None:
    assert _ask(answer, term) == expected


def test_a_terminal_that_does_not_answer_is_not_waited_for_long() -> None:
    assert _ask(b"") == "blocks (10, 20) '' True"
    assert _ask(b"", importing=0.5) == "blocks (10, 20) '' True"


def test_what_was_typed_meanwhile_is_kept() -> None:
    assert _ask("hé \x1b[6;20;10t\x1b[?62;4cyou".encode()) == "sixel (10, 20) 'hé you' True"


def test_nothing_is_asked_where_it_makes_no_sense(tmp_path: Path) -> None:
    began = time.monotonic()
    assert _ask(b"", term="dumb").startswith("blocks")
    assert _ask(b"", VLMCHAT_UI__PICTURES="off").startswith("blocks")
    assert time.monotonic() - began < 15
    # In a pipe nothing is asked either.
    output = tmp_path / "out"
    command = f'"{sys.executable}" -c "$PROGRAM" 0 > "{output}"'
    environment = {**os.environ, "PROGRAM": PROGRAM.replace("termios.tcgetattr(0)", "0")}
    child = pexpect.spawn("/bin/sh", ["-c", command], env=environment, timeout=20)
    child.expect(pexpect.EOF)
    assert output.read_bytes() == b"RESULT blocks (10, 20) '' True\n"
