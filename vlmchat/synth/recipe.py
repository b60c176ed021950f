"""How a set is made, and one row of it on its way: plain values."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

from vlmchat.chat.messages import Detail
from vlmchat.errors import UsageError

Kind: TypeAlias = Literal["caption", "qa", "reasoning", "preference"]
Judge: TypeAlias = Literal["strict", "balanced"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MADE_BY = "vlmchat synth"
# Why a row was left out: the word that stands in its file, and what a summary says.
WHYS = {
    "no-question": "no question in what the model wrote",
    "same-question": "asks what another question about the picture asks",
    "same-answer": "says what another caption of the picture says",
    "repeated": "too many nearly like it in the set",
    "empty": "the answer is empty",
    "cut": "the answer was cut off",
    "refusal": "the model declined to answer",
    "unlikely": "the answer is unlikely",
    "blind": "the picture makes the answer no likelier",
    "disagreed": "several answers disagree",
    "equal": "both answers are the same",
    "undecided": "the judge cannot tell which answer is better",
    "refused": "the engine refused the request",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a set is made.

    Attributes:
        per_image: rows wanted of each kind for a picture.
        seed: of all that is chosen by chance.
        temperature: at which questions are written and answers are sampled.
        samples: answers beside the kept one that it is compared with.
        evolve: how often a question is made harder.
        most_tokens: of an answer.
        detail: how finely pictures are looked at.
        min_likelihood: least mean log-probability of a token of an answer; ``None``: not asked for.
        min_gain: least gain of that by the picture, against the same without it; ``None``: any.
        min_agreement: least share of the samples that agree.
        repeats: how often nearly the same question and answer may be in the whole set.
        pair_temperatures: of the two answers of a preference.
        pair_adapters: names of adapters that give the two answers; empty for the model alone.
        judge: ``strict``: both orders must choose the same answer; ``balanced``: the likelihoods of
            both orders together decide, so that a liking for one place counts out.
    """

    per_image: int = 4
    seed: int = 0
    temperature: float = 0.8
    samples: int = 3
    evolve: int = 1
    most_tokens: int = 256
    detail: Detail = "auto"
    min_likelihood: float | None = -2.5
    min_gain: float | None = None
    min_agreement: float = 0.4
    repeats: int = 3
    pair_temperatures: tuple[float, float] = (0.0, 1.2)
    pair_adapters: tuple[str, str] | None = None
    judge: Judge = "strict"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def parse_kinds(text: str) -> tuple[Kind, ...]:
    """Return the kinds in ``caption,qa``, each once.

    Raises:
        UsageError: one is none.
    """
    wanted = [one.strip() for one in text.split(",") if one.strip()]
    known: dict[str, Kind] = {kind: kind for kind in KINDS}
    for one in wanted:
        if one not in known:
            raise UsageError(f"“{one}” is no kind of row: they are {', '.join(KINDS)}.")
    if not wanted:
        raise UsageError(f"There is no kind of row: name some of {', '.join(KINDS)}.")
    return tuple(dict.fromkeys(known[one] for one in wanted))


def seed_of(*parts: object) -> int:
    """Return a seed for one request: the same for the same parts, on any machine."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) >> 1


@dataclass(frozen=True, slots=True)
class Scores:
    """How good an answer is thought to be.

    Attributes:
        likelihood: mean log-probability (natural) of its tokens; ``None`` if nobody could say.
        gain: how much of that is the picture's: the same, less the one without the picture.
        agreement: 0…1, how far the samples agree with it; ``None`` where there are none.
        samples: how many answers that is about, itself among them.
    """

    likelihood: float | None = None
    gain: float | None = None
    agreement: float | None = None
    samples: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return what is known."""
        values = {k: v for k, v in asdict(self).items() if v is not None and v != 0}
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row on its way: kept, or left out with the reason.

    Attributes:
        kind: of the row.
        question: as it was asked, word by word.
        bare: the question alone, without what the prompt around it asks for.
        answer: the model's; the better one of a preference.
        rejected: the worse one of a preference.
        scores: of the answer.
        made: what more is to be known of how it was made, as JSON values.
        why: a key of `WHYS` where it was left out.
        reason: the same in one sentence.
    """

    kind: Kind
    question: str
    bare: str = ""
    answer: str = ""
    rejected: str = ""
    scores: Scores = field(default_factory=Scores)
    made: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    reason: str = ""

    def dropped(self, why: str, reason: str) -> "Candidate":
        """Return it as one that was left out."""
        assert why in WHYS, why
        return replace(self, why=why, reason=reason)


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of one kind for one picture, in order."""

    candidates: Sequence[Candidate]
