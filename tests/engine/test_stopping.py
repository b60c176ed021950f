"""Text that may be shown, and where it ends."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from vlmchat.engine.stopping import AnswerText


@pytest.fixture(scope="module")
def letters() -> Tokenizer:
    """Return a tokenizer with one token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def pieces(tokenizer: Tokenizer, said: str, *stop: str) -> list[str]:
    text = AnswerText(tokenizer, stop)
    shown = []
    for token in tokenizer.encode(said).ids:
        shown.append(text.add(token))
        if text.stopped:
            return [piece for piece in shown if piece]
    return [piece for piece in [*shown, text.rest()] if piece]


def test_leading_space_is_dropped_and_only_that(letters: Tokenizer) -> None:
    assert "".join(pieces(letters, " \n A b  c ")) == "A b  c "


def test_characters_come_whole(letters: Tokenizer) -> None:
    assert pieces(letters, "né👩") == ["n", "é", "👩"]


def test_stop_text_is_never_shown(letters: Tokenizer) -> None:
    assert "".join(pieces(letters, "one two three", "two")) == "one "
    assert "".join(pieces(letters, "one twt three", "two", "thx")) == "one twt three"
    assert "".join(pieces(letters, "aab", "ab")) == "a"


def test_held_back_text_comes_as_soon_as_it_is_decided(letters: Tokenizer) -> None:
    assert pieces(letters, "abxabc", "abc") == ["abx"]
    assert pieces(letters, "say ab", "abc")[-1] == "ab"
