"""Metrics that compare two texts; of several right answers the best match counts."""

from collections.abc import Callable

from vlmchat.evaluate.metrics.judged import Judged

TOLERANCE = 0.05  # of relaxed accuracy
THRESHOLD = 0.5  # of ANLS


def exact(judged: Judged) -> float:
    """Return 1 where the answer is a right one, letter by letter; upper and lower case differ.

    The ``exact_match`` of pix2struct (google-research/pix2struct, ``metrics.py``), but that white
    space around an answer does not count.
    """
    return _best(judged, lambda right, said: float(right.strip() == said.strip()))


def contains(judged: Judged) -> float:
    """Return 1 where a right answer stands somewhere in what was said, in any case.

    As OCRBench counts (Y. Liu et al. 2024, ``OCRBench/example.py``): it is a part of the text,
    not a word of it, so that “no” is found in “know”.
    """
    return _best(judged, lambda right, said: float(_one_line(right) in _one_line(said)))


def relaxed(judged: Judged) -> float:
    """Return 1 where a number is at most 5 % off, and any other answer the same in any case.

    ChartQA's relaxed accuracy (Masry et al. 2022, section 5.1, after Methani et al. 2020) as
    pix2struct computes it: a number may end in ``%``, which divides it by 100; one with commas in
    it, or with words around it, is a text; and so is every answer where 0 is right.
    """
    return _best(judged, lambda right, said: float(_relaxed(right.strip(), said.strip())))


def anls(judged: Judged) -> float:
    """Return how much of the answer is right, by its letters; less than half right is 0.

    The average normalised Levenshtein similarity of ST-VQA and DocVQA (Biten et al. 2019, equation
    1): 1 - d / max(lengths) where that quotient is below 0.5, in any case and with any white space
    counting as one space, as in the evaluation of the DocVQA challenge.
    """
    return _best(judged, lambda right, said: _similarity(_spaced(right), _spaced(said)))


def _best(judged: Judged, of: Callable[[str, str], float]) -> float:
    return max((of(right, judged.said) for right in judged.answers), default=0.0)


def _one_line(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _spaced(text: str) -> str:
    return " ".join(text.lower().split())


def _relaxed(right: str, said: str) -> bool:
    given, wanted = _number(said), _number(right)
    if given is None or not wanted:
        return said.lower() == right.lower()
    return abs(given - wanted) / abs(wanted) <= TOLERANCE


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100.0 if text.endswith("%") else float(text)
    except ValueError:
        return None


def _similarity(right: str, said: str) -> float:
    longest = max(len(right), len(said))
    if not longest:
        return 1.0
    # A text that is twice as long cannot be near enough, however much of it fits.
    if abs(len(right) - len(said)) >= THRESHOLD * longest:
        return 0.0
    off = distance(right, said) / longest
    return 1.0 - off if off < THRESHOLD else 0.0


def distance(one: str, other: str) -> int:
    """Return the Levenshtein distance: how many letters to insert, leave out or change."""
    before = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        now = [row]
        for place, against in enumerate(other, 1):
            changed = before[place - 1] + (letter != against)
            now.append(min(changed, before[place] + 1, now[place - 1] + 1))
        before = now
    return before[-1]
