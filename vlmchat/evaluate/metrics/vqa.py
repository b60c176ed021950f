"""The consensus of VQAv2: an answer is as right as many people gave it.

Antol et al. 2015 and Goyal et al. 2017, as their evaluation computes it (GT-Vision-Lab/VQA,
``PythonEvaluationTools/vqaEvaluation/vqaEval.py``), with its peculiarities, so that the figures are
those of the papers: where all people said the same, the answers are compared as they are written,
and not brought into one form; ``somebody'd`` loses its apostrophe; the 33rd full stop stays.
"""

import re
from collections.abc import Sequence

from vlmchat.evaluate.metrics.judged import Judged

ENOUGH = 3  # others that said the same make an answer wholly right
# Below this many people not even their own answer could be wholly right.
FEWEST = ENOUGH + 1
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_GROUPED = re.compile(r"\d,\d")  # a comma within a number
_FULL_STOP = re.compile(r"\.(?!\d)")
_FULL_STOPS = 32
_ARTICLES = frozenset(("a", "an", "the"))
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}
# Words with their apostrophes; without them they are written the same.
_WHOLE = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd
how'll how's isn't it'd it'll ma'am might've mightn't must've mustn't needn't not've o'clock
oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's
something'd something'll that's there'd there're there's they'd they'll they're they've 'twas
wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd who'll
who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
# Words with two apostrophes, either of which may be missing.
_DOUBLE = """
couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've someone'd've there'd've
they'd've we'd've who'd've wouldn't've you'd've
"""
_OTHERS = {
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "somebody'd": "somebodyd",
    "somebodyd've": "somebody'd've",
    "somebody'dve": "somebody'd've",
    "somethingd've": "something'd've",
    "something'dve": "something'd've",
    "yall'll": "y'all'll",
    "y'allll": "y'all'll",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
}


def _contractions() -> dict[str, str]:
    found = {word.replace("'", ""): word for word in _WHOLE.split()}
    for word in _DOUBLE.split():
        head, middle, tail = word.split("'")
        found[f"{head}{middle}'{tail}"] = word
        found[f"{head}'{middle}{tail}"] = word
    return found | _OTHERS


CONTRACTIONS = _contractions()


def consensus(judged: Judged) -> float:
    """Return how right an answer is, from 0 to 1.

    Each person is left out once: of the others, three or more that said the same make the answer
    wholly right, fewer make it right by thirds; the score is the mean of that.
    """
    said = _flat(judged.said)
    answers = [_flat(answer) for answer in judged.answers]
    if len(set(answers)) > 1:
        said = normal(said)
        answers = [normal(answer) for answer in answers]
    same = [answer == said for answer in answers]
    return _mean([min(1.0, (sum(same) - own) / ENOUGH) for own in same])


def normal(text: str) -> str:
    """Return an answer in the form in which answers are compared.

    Punctuation is taken out, number words up to ten become digits, articles go, and apostrophes
    that were left out come back.
    """
    words = (_DIGITS.get(word, word) for word in _unpunctuated(text).lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _unpunctuated(text: str) -> str:
    grouped = _GROUPED.search(text) is not None
    found = text
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        found = found.replace(mark, "" if beside_space or grouped else " ")
    return _FULL_STOP.sub("", found, count=_FULL_STOPS)


def _flat(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
