"""Text from outside made safe to show."""

import pytest

from vlmchat.text import human_bytes, visible, visible_line


def test_control_characters_become_signs() -> None:
    shown = visible("a\x1b[31mb\x07\x00\x7f\x9b2J")
    assert shown == "a␛[31mb␇␀␡⟨U+009B⟩2J"


def test_bidirectional_overrides_become_signs() -> None:
    assert visible("a\u202eb\u2066c") == "a⟨U+202E⟩b⟨U+2066⟩c"


def test_line_breaks_become_one_kind() -> None:
    assert visible("a\r\nb\rc\x0cd\u2028e\u2029f\x85g\nh") == "a\nb\nc\nd\ne\nf\ng\nh"


def test_ordinary_text_is_untouched() -> None:
    text = "Größe 日本語 👩‍👩‍👧 [/red] **bold**\ttab\nline"
    assert visible(text) == text


def test_one_line() -> None:
    assert visible_line("a\nb\tc") == "a␊b␉c"


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_440_000, "1.44 MB"), (92_871_040, "92.9 MB")],
)
def test_sizes(size: int, expected: str) -> None:
    assert human_bytes(size) == expected
