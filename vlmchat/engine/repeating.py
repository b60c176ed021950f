"""Noticing an answer that says the same again and again, and guessing what it will say next."""

from collections.abc import Sequence

_TIMES = 4  # in a row, and no block of tokens is an accident any more
_LEAST_TOKENS = 48  # that a run of repeats takes together, so that short lists may rhyme
_LONGEST_BLOCK = 96
LONGEST_RUN = _TIMES * _LONGEST_BLOCK  # tokens that are looked at


def runs_in_circles(tokens: Sequence[int]) -> bool:
    """Return whether `tokens` end in one block of tokens that stands there again and again.

    A block of up to 96 tokens, at least four times in a row, and so often that it takes 48 tokens:
    one word 48 times, a line of 16 tokens four times.
    """
    size = len(tokens)
    for block in range(1, min(_LONGEST_BLOCK, size // _TIMES) + 1):
        if tokens[-1] != tokens[-1 - block]:  # most blocks are none
            continue
        span = block * max(_TIMES, -(-_LEAST_TOKENS // block))
        if span <= size and all(
            tokens[at] == tokens[at - block] for at in range(size - span + block, size)
        ):
            return True
    return False


class Lookup:
    """Guesses the next tokens from where the last ones stood before.

    Answers about a text often quote it: what followed there is likely to follow here (prompt
    lookup decoding, A. Saxena 2023; the n-gram drafts of transformers and vLLM).

    Args:
        ids: the prompt.
        never: tokens that are never guessed, as those that stand for pictures.
        words: how many tokens must agree; fewer are tried when there is no place for more.
        most: how many are guessed at once.
    """

    def __init__(
        self, ids: Sequence[int], never: frozenset[int], words: int = 3, most: int = 8
    ) -> None:
        self._never = never
        self._sizes = range(words, 1, -1)
        self._most = most
        self._ids: list[int] = []
        # Where each run of tokens stood last, and the time before: the last may be the very end.
        self._seen: dict[tuple[int, ...], tuple[int, int]] = {}
        self.extend(ids)

    def extend(self, tokens: Sequence[int]) -> None:
        """Take note of tokens that follow."""
        for token in tokens:
            self._ids.append(token)
            end = len(self._ids)
            for size in self._sizes:
                run = tuple(self._ids[-size:])
                if len(run) == size and not self._never.intersection(run):
                    self._seen[run] = (end, self._seen.get(run, (0, 0))[0])

    def guess(self) -> list[int]:
        """Return tokens that may follow; none without a place where the last ones stood before."""
        for size in self._sizes:
            ends = self._seen.get(tuple(self._ids[-size:]), (0, 0))
            end = ends[1] if ends[0] == len(self._ids) else ends[0]
            if end:
                draft = self._ids[end : end + self._most]
                stops = [at for at, token in enumerate(draft) if token in self._never]
                return draft[: stops[0]] if stops else draft
        return []
