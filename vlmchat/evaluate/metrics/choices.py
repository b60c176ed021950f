"""Questions with options: which one an answer names.

The rules of MMMU (Yue et al. 2024; MMMU-Benchmark/MMMU, ``eval/eval_utils.py``) with one
difference: where no option can be found in an answer MMMU draws one at random, and here it is
wrong, so that the same answers always get the same score.
"""

from collections.abc import Mapping, Sequence

from vlmchat.evaluate.metrics.judged import Judged

_ENDS = ",.!?;:'"
_SENTENCE = 5  # an answer with more words than this may name the text of an option
_MOST = 26


def letters(options: Sequence[str]) -> dict[str, str]:
    """Return the options by their letters, from A on."""
    return {chr(ord("A") + place): text for place, text in enumerate(options[:_MOST])}


def choice(judged: Judged) -> float:
    """Return 1 where the answer names the right option."""
    by_letter = letters(judged.options)
    named = chosen(judged.said, by_letter)
    return float(named in {meant(answer, by_letter) for answer in judged.answers} - {""})


def meant(answer: str, options: Mapping[str, str]) -> str:
    """Return the letter that a right answer stands for: it is one, or the text of an option."""
    bare = answer.strip()
    if (letter := bare.strip("().").upper()) in options:
        return letter
    texts = (letter for letter, text in options.items() if text.strip() == bare)
    return next(texts, "")


def chosen(said: str, options: Mapping[str, str]) -> str:
    """Return the letter of the option that an answer names last; empty where it names none.

    A letter in brackets counts before one by itself, and that before the text of an option, which
    is looked for in answers of more than five words only.
    """
    text = said
    for mark in _ENDS:
        text = text.strip(mark)
    text = f" {text} "
    ways = [
        {letter: text.rfind(f"({letter})") for letter in options},
        {letter: text.rfind(f" {letter} ") for letter in options},
    ]
    if len(text.split()) > _SENTENCE:
        lower = text.lower()
        ways.append({letter: lower.rfind(each.lower()) for letter, each in options.items()})
    for way in ways:
        found = {letter: place for letter, place in way.items() if place >= 0}
        if found:
            return max(found, key=lambda letter: found[letter])
    return ""
