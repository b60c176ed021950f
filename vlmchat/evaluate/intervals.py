"""How sure a figure is: bootstrap intervals, and tests of paired differences.

Questions about one picture are not independent of each other, so that whole pictures are drawn
(the cluster bootstrap, Davison and Hinkley 1997, section 3.8); where each question has a picture of
its own this is the ordinary bootstrap of Efron (1979). Intervals are percentiles, 2.5 and 97.5.
Everything is drawn with a seed: the same scores give the same interval. What is drawn are scores,
so that CIDEr keeps the weights of the whole set.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlmchat.finetune.compare import sign_test, wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS = 5_000
_BLOCK = 2_000_000  # numbers drawn at a time
_EXACT = 14  # pictures whose signs can all be gone through
__all__ = ["DRAWS", "bootstrap", "mcnemar", "permutation", "wilson"]


def bootstrap(scores: Sequence[float], groups: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean score.

    Args:
        scores: of each question, or the differences of two models on it.
        groups: what each question has in common with others: its picture.
        seed: another one draws others.
    """
    import numpy as np

    if not scores:
        return 0.0, 0.0
    sums, counts = _grouped(scores, groups)
    random = np.random.default_rng(seed)
    many = len(sums)
    means: list[NDArray[np.float64]] = []
    left = DRAWS
    while left:
        rows = min(left, max(1, _BLOCK // many))
        drawn = random.integers(0, many, (rows, many))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
        left -= rows
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def mcnemar(one: int, other: int) -> float:
    """Return the two-sided p of McNemar's exact test.

    McNemar 1947, in its exact form: of the questions that one model alone answered rightly, and
    those that the other alone did, a coin decides which is which.

    Args:
        one: questions that the first alone answered rightly.
        other: questions that the second alone did.
    """
    return sign_test(one, other)


def permutation(differences: Sequence[float], groups: Sequence[str], seed: int = 0) -> float:
    """Return the two-sided p of the paired permutation test (Fisher 1935).

    If neither model were better, each picture's difference might as well have the other sign. All
    signs are gone through where there are few, else drawn.

    Args:
        differences: of the two models' scores on each question.
        groups: what each question has in common with others: its picture.
        seed: another one draws others.
    """
    import numpy as np

    sums, _ = _grouped(differences, groups)
    sums = sums[sums != 0]
    many = len(sums)
    if not many:
        return 1.0
    found = abs(float(sums.sum())) * (1 - 1e-12)
    if many <= _EXACT:
        signs = 1 - 2 * (np.arange(1 << many)[:, None] >> np.arange(many) & 1)
        return float(np.mean(np.abs(signs @ sums) >= found))
    random = np.random.default_rng(seed)
    as_large, left = 0, DRAWS
    while left:
        rows = min(left, max(1, _BLOCK // many))
        signs = 1 - 2 * random.integers(0, 2, (rows, many))
        as_large += int(np.sum(np.abs(signs @ sums) >= found))
        left -= rows
    return (as_large + 1) / (DRAWS + 1)


def _grouped(
    values: Sequence[float], groups: Sequence[str]
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return the sum of each group's values, and how many they are."""
    import numpy as np

    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    of = np.array([places[group] for group in groups], dtype=np.intp)
    sums = np.bincount(of, weights=np.asarray(values, dtype=np.float64)).astype(np.float64)
    return sums, np.bincount(of).astype(np.float64)
