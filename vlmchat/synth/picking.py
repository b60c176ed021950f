"""What of the rows made is new enough: within their picture, and within the whole set."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from vlmchat.synth.likeness import Pairs, Profile
from vlmchat.synth.recipe import Candidate, Kind
from vlmchat.synth.rows import asked_and_said


class Picker:
    """Sorts out rows that say what others have said; rows are told it in their order.

    Of one picture no two questions (and no two captions) may be nearly alike. Over the set the same
    question with the same answer is no fault by itself, since two pictures may show the same; but
    beyond a number of them they teach an answer without a look, and are left out.

    Args:
        repeats: how often nearly the same question and answer may be in the set.
    """

    def __init__(self, repeats: int) -> None:
        self._repeats = repeats
        self._set = {True: Pairs(), False: Pairs()}
        self._asked: defaultdict[tuple[str, bool], list[Profile]] = defaultdict(list)
        self._captions: defaultdict[str, list[Profile]] = defaultdict(list)

    def know(self, rows: Iterable[dict[str, Any]]) -> None:
        """Take rows that are in the set already."""
        for row in rows:
            self._take(row["made"]["picture"], row["made"]["kind"], *asked_and_said(row))

    def pick(self, sha256: str, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Return the candidates of a picture, with the reason where one is left out."""
        return [self._one(sha256, one) for one in candidates]

    def _one(self, sha256: str, candidate: Candidate) -> Candidate:
        if candidate.why:
            return candidate
        kind, question, answer = candidate.kind, candidate.bare, candidate.answer
        if kind == "caption":
            said = Profile.of(answer)
            if any(said.like(other) for other in self._captions[sha256]):
                return candidate.dropped("same-answer", "Another caption of the picture says it.")
        asked = Profile.of(question)
        if any(asked.like(other) for other in self._asked[sha256, kind == "preference"]):
            return candidate.dropped("same-question", "Another row of the picture asks this.")
        count = self._set[kind == "preference"].count(question, answer)
        if count >= self._repeats:
            return candidate.dropped(
                "repeated",
                f"{count} row{'' if count == 1 else 's'} of other pictures say the same.",
            )
        self._take(sha256, kind, question, answer)
        return candidate

    def _take(self, sha256: str, kind: Kind, question: str, answer: str) -> None:
        self._set[kind == "preference"].add(question, answer)
        self._asked[sha256, kind == "preference"].append(Profile.of(question))
        if kind == "caption":
            self._captions[sha256].append(Profile.of(answer))
