"""Preference rows: two answers to one question, and which of them a judge finds better.

The judge is the model itself, asked in both orders, since models prefer a place (Zheng et al.,
2023, arXiv:2306.05685, section 3.4). Where the engine says how likely answers are, the judge's two
words are compared by that, else it is asked to say one.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vlmchat.chat.messages import Media
from vlmchat.errors import UsageError
from vlmchat.synth.asking import Said
from vlmchat.synth.likeness import words_of
from vlmchat.synth.parsing import verdict_in
from vlmchat.synth.recipe import Candidate, seed_of

if TYPE_CHECKING:
    from vlmchat.synth.making import Maker, Question

_MOST_OF_A_VERDICT = 8  # tokens
_WORDS = ("1", "2")
_LEAST_MARGIN = 0.1  # of both orders together: less is chance


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of two answers.

    Attributes:
        better: 0 or 1, the better one; ``None`` if that is not settled.
        told: how it came about, as JSON values.
    """

    better: int | None
    told: dict[str, Any]


async def pairs(maker: "Maker", picture: Media) -> list[Candidate]:
    """Return the preference rows of a picture, those left out among them."""
    questions, failed = await maker.questions(picture, "preference")
    found: list[Candidate] = []
    for first in questions:
        question = await maker.harder(picture, "preference", first)
        found.append(await _pair(maker, picture, question))
    return [*found, *failed]


async def _pair(maker: "Maker", picture: Media, question: "Question") -> Candidate:
    from vlmchat.synth.making import history

    asked = maker.texts.render("answer", question=question.text)
    candidate = Candidate("preference", asked, question.text, made=history(question))
    try:
        return await _judged(maker, picture, candidate)
    except UsageError as error:
        return candidate.dropped("refused", str(error))


async def _judged(maker: "Maker", picture: Media, candidate: Candidate) -> Candidate:
    from vlmchat.synth.making import flaw

    answers = [await _answer(maker, picture, candidate.question, place) for place in (0, 1)]
    one, other = answers
    ways = [_way(maker, place) for place in (0, 1)]
    about = {**one.provenance, **candidate.made}
    if maker.recipe.pair_adapters:  # each answer has its own
        about.pop("adapter", None)
    candidate = replace(candidate, answer=one.text, rejected=other.text, made=about)
    for said in answers:
        if unusable := flaw(said):
            return candidate.dropped(*unusable)
    if words_of(one.text) == words_of(other.text):
        return candidate.dropped("equal", "Both answers say the same.")
    verdict = await judged(maker, picture, candidate.bare, one.text, other.text)
    about["judge"] = verdict.told
    if verdict.better is None:
        left_out = replace(candidate, made={**about, "answers": ways})
        return left_out.dropped("undecided", "The judge, asked in both orders, does not choose.")
    about |= {"chosen": ways[verdict.better], "rejected": ways[1 - verdict.better]}
    better, worse = (one, other) if verdict.better == 0 else (other, one)
    return replace(candidate, answer=better.text, rejected=worse.text, made=about)


def _way(maker: "Maker", place: int) -> dict[str, Any]:
    """Return how the answer at `place` (0 or 1) is had."""
    recipe = maker.recipe
    if recipe.pair_adapters is None:
        return {"temperature": recipe.pair_temperatures[place]}
    return {"adapter": recipe.pair_adapters[place], "temperature": recipe.temperature}


async def _answer(maker: "Maker", picture: Media, asked: str, place: int) -> Said:
    recipe, way = maker.recipe, _way(maker, place)
    return await maker.asker.say(
        picture,
        asked,
        temperature=float(way["temperature"]),
        seed=seed_of(recipe.seed, picture.sha256, "pair", place, asked),
        most=recipe.most_tokens,
        adapter=way.get("adapter"),
    )


async def judged(maker: "Maker", picture: Media, question: str, one: str, other: str) -> Verdict:
    """Return which of two answers the judge finds better, asked in both orders."""
    texts = [
        maker.texts.render("judge", question=question, first=first, second=second)
        for first, second in ((one, other), (other, one))
    ]
    margins: list[float] = []
    for text in texts:
        likely = await maker.asker.likelihoods(picture, text, _WORDS)
        if likely is None:
            return await _in_words(maker, picture, texts)
        margins.append(likely[0].total - likely[1].total)
    # Above 0: for the answer that stands first. A liking for a place is in both with one sign.
    margin = (margins[0] - margins[1]) / 2
    told = {"by": "likelihood", "margins": [round(one, 4) for one in margins]}
    agreed = margins[0] * margins[1] < 0
    if (not agreed and maker.recipe.judge == "strict") or abs(margin) < _LEAST_MARGIN:
        return Verdict(None, told)
    return Verdict(0 if margin > 0 else 1, told)


async def _in_words(maker: "Maker", picture: Media, texts: list[str]) -> Verdict:
    said = [
        await maker.asker.say(
            picture,
            text,
            temperature=0.0,
            seed=seed_of(maker.recipe.seed, "judge"),
            most=_MOST_OF_A_VERDICT,
        )
        for text in texts
    ]
    first, swapped = (verdict_in(one.text) for one in said)
    told = {"by": "words", "said": [one.text for one in said]}
    if first is None or swapped is None or first == swapped:
        return Verdict(None, told)
    return Verdict(first - 1, told)
