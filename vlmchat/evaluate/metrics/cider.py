"""CIDEr-D of captions: how much a caption is like those that people wrote.

Vedantam, Zitnick and Parikh 2015, as coco-caption computes it (tylin/coco-caption,
``pycocoevalcap/cider/cider_scorer.py``, there called CIDEr): n-grams of one to four words, each
weighted by how few of the set's pictures have it in a reference; the clipped cosine of caption and
reference, less by a Gaussian where their lengths differ; the mean over references and n, times ten.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from vlmchat.evaluate.metrics.judged import Judged
from vlmchat.evaluate.metrics.tokens import words

LONGEST = 4  # words of an n-gram
SIGMA = 6.0  # of the Gaussian, in bigrams
_Gram: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A caption as weights of its n-grams, by their length, with the norms of those vectors."""

    weights: tuple[dict[_Gram, float], ...]
    norms: tuple[float, ...]
    length: int


def cider(judged: Sequence[Judged]) -> list[float]:
    """Return the score of each caption, from 0 to 10; the weights are those of the whole set.

    The figure of a set is the mean, which papers give times 100. Of a set of one picture it is 0:
    there every n-gram is in all pictures, and weighs nothing.
    """
    references = [[_counted(text) for text in each.answers] for each in judged]
    seen = Counter(chain.from_iterable(set(chain.from_iterable(each)) for each in references))
    pictures = math.log(len(judged)) if judged else 0.0

    def weighed(counts: Counter[_Gram]) -> _Weighed:
        weights: tuple[dict[_Gram, float], ...] = tuple({} for _ in range(LONGEST))
        for gram, count in counts.items():
            weights[len(gram) - 1][gram] = count * (pictures - math.log(max(1, seen[gram])))
        norms = tuple(math.sqrt(math.fsum(w * w for w in each.values())) for each in weights)
        return _Weighed(weights, norms, sum(n for gram, n in counts.items() if len(gram) == 2))

    return [
        _mean(_alike(weighed(_counted(one.said)), weighed(each)) for each in own)
        for one, own in zip(judged, references, strict=True)
    ]


def _counted(caption: str) -> Counter[_Gram]:
    found = words(caption)
    return Counter(
        tuple(found[begin : begin + size])
        for size in range(1, LONGEST + 1)
        for begin in range(len(found) - size + 1)
    )


def _alike(caption: _Weighed, reference: _Weighed) -> float:
    off = caption.length - reference.length
    shorter = math.exp(-(off * off) / (2 * SIGMA * SIGMA))
    total = 0.0
    for mine, theirs, norm, other in zip(
        caption.weights, reference.weights, caption.norms, reference.norms, strict=True
    ):
        shared = sum(
            min(weight, theirs[gram]) * theirs[gram]
            for gram, weight in mine.items()
            if gram in theirs
        )
        total += shared / (norm * other) if norm and other else 0.0
    return 10.0 * shorter * total / LONGEST


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
