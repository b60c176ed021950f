"""Rows about one picture by the model itself: its questions, harder ones, its answers, scores."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from vlmchat.chat.messages import Media
from vlmchat.errors import UsageError
from vlmchat.synth.asking import Asker, Said
from vlmchat.synth.likeness import alike, overlap, words_of
from vlmchat.synth.parsing import harder_in, last_answer, questions_in, refuses
from vlmchat.synth.recipe import Candidate, Kind, Made, Recipe, Scores, seed_of
from vlmchat.synth.texts import Texts

_ROUNDS = 3  # times that a model is asked for questions before fewer are made do with
_SHOWN = 3  # examples in such a request
_MOST_OF_QUESTIONS = 200  # tokens
_MOST_OF_A_QUESTION = 80
_LEAST_QUESTION_TEMPERATURE = 0.3  # at 0 each round would say the same


@dataclass(frozen=True, slots=True)
class Question:
    """A question with how it came about.

    Attributes:
        text: the question.
        ways: how it was made harder, step by step; empty where it is as it was first written.
        before: the question that it was made of.
        remarks: why steps failed.
        asked_of: what the question was made of: the ``picture``, ``words`` that describe it, or
            nothing but the ``examples`` of questions.
        description: those words.
    """

    text: str
    ways: tuple[str, ...] = ()
    before: "Question | None" = None
    remarks: tuple[str, ...] = ()
    asked_of: str = "picture"
    description: str = ""

    @property
    def line(self) -> "tuple[Question, ...]":
        """The question and those before it, the hardest first."""
        return (self, *(self.before.line if self.before else ()))


class Maker:
    """Makes the rows of a picture.

    Args:
        asker: answers.
        recipe: how.
        texts: what is asked with.
    """

    def __init__(self, asker: Asker, recipe: Recipe, texts: Texts) -> None:
        self.asker, self.recipe, self.texts = asker, recipe, texts

    async def make(self, picture: Media, kind: Kind) -> Made:
        """Return the rows of one kind, those left out among them.

        Raises:
            EngineError: the engine is unreachable, or broke off.
        """
        from vlmchat.synth import preferring

        try:
            if kind == "caption":
                return Made(await self._captions(picture))
            if kind == "preference":
                return Made(await preferring.pairs(self, picture))
            return Made(await self._answered(picture, kind))
        except UsageError as error:
            return Made([Candidate(kind, "").dropped("refused", str(error))])

    def random(self, picture: Media, kind: Kind) -> Random:
        """Return the random numbers of a picture and a kind."""
        return Random(seed_of(self.recipe.seed, picture.sha256, kind))  # noqa: S311

    # Questions ----------------------------------------------------------------------------------

    async def _captions(self, picture: Media) -> list[Candidate]:
        wanted = list(self.texts.lines("captions"))
        self.random(picture, "caption").shuffle(wanted)
        found: list[Candidate] = []
        for text in wanted[: self.recipe.per_image]:
            found.append(await self.answer(picture, "caption", Question(text)))
        return found

    async def _answered(self, picture: Media, kind: Kind) -> list[Candidate]:
        found: list[Candidate] = []
        questions, failed = await self.questions(picture, kind)
        for first in questions:
            hardest = await self.harder(picture, kind, first)
            # A question that became too hard gives way to the one it was made of.
            for question in hardest.line:
                candidate = await self.answer(picture, kind, question)
                found.append(candidate)
                if not candidate.why:
                    break
        return [*found, *failed]

    async def questions(self, picture: Media, kind: Kind) -> tuple[list[Question], list[Candidate]]:
        """Return as many questions as are wanted, or fewer, and what became none.

        The model sees the picture first. A small one may answer where it is to ask: then it is
        shown its own description instead, in words alone, as LLaVA's questions were made (Liu et
        al., 2023, arXiv:2304.08485, section 3). What is missing then are examples, which belong to
        the pool as Self-Instruct's seeds do.
        """
        wanted, random = self.recipe.per_image, self.random(picture, kind)
        found: list[Question] = []
        failed: list[Candidate] = []
        description = ""
        for attempt in range(_ROUNDS):
            if attempt and not description:
                description = (await self._describe(picture)).text
            text = self._request(kind, wanted - len(found), random)
            said = await self._chance(
                picture, text, description, _MOST_OF_QUESTIONS, kind, "ask", attempt
            )
            new = questions_in(said.text)
            if not new:
                lost = Candidate(kind, text, made={**said.provenance, "said": said.text})
                failed.append(lost.dropped("no-question", "The model wrote no question."))
            for question in new:
                if len(found) == wanted:
                    break
                if any(alike(question, other.text) for other in found):
                    lost = Candidate(kind, question, question, made=said.provenance)
                    failed.append(lost.dropped("same-question", "The model asked this before."))
                else:
                    origin = "words" if description else "picture"
                    found.append(Question(question, asked_of=origin, description=description))
            if len(found) == wanted:
                return found, failed
        examples = [*self._examples(kind)]
        random.shuffle(examples)
        new = [one for one in examples if not any(alike(one, other.text) for other in found)]
        found += [Question(one, asked_of="examples") for one in new[: wanted - len(found)]]
        return found, failed

    def _examples(self, kind: Kind) -> tuple[str, ...]:
        return self.texts.lines("reasoning_examples" if kind == "reasoning" else "examples")

    def _request(self, kind: Kind, count: int, random: Random) -> str:
        """Return what asks for questions, with some examples by chance."""
        examples = self._examples(kind)
        shown = random.sample(examples, min(_SHOWN, len(examples)))
        name = "reasoning_questions" if kind == "reasoning" else "questions"
        return self.texts.render(name, count=str(count), examples="\n".join(shown))

    async def _describe(self, picture: Media) -> Said:
        seed = seed_of(self.recipe.seed, picture.sha256, "describe")
        text = self.texts.render("describe")
        return await self.asker.say(
            picture, text, temperature=0.0, seed=seed, most=self.recipe.most_tokens
        )

    async def harder(self, picture: Media, kind: Kind, question: Question) -> Question:
        """Return a harder question, as often made harder as is wanted and works."""
        ways = list(self.texts.ways)
        random = Random(seed_of(self.recipe.seed, picture.sha256, kind, question.text))  # noqa: S311
        for step in range(self.recipe.evolve):
            name, how = random.choice(ways)
            text = self.texts.render("evolve", question=question.text, how=how)
            said = await self._chance(
                *(picture, text, question.description, _MOST_OF_A_QUESTION),
                *(kind, "evolve", step, question.text),
            )
            new, trouble = harder_in(said.text, question.text)
            if trouble:
                question = replace(question, remarks=(*question.remarks, f"{name}: {trouble}"))
            else:
                question = replace(question, text=new, ways=(*question.ways, name), before=question)
        return question

    async def _chance(
        self, picture: Media, text: str, description: str, most: int, *what: object
    ) -> Said:
        """Ask with some chance; in words alone if the picture is described in them."""
        if description:
            text = self.texts.render("words", description=description, request=text)
        temperature = max(self.recipe.temperature, _LEAST_QUESTION_TEMPERATURE)
        seed = seed_of(self.recipe.seed, picture.sha256, *what)
        shown = None if description else picture
        return await self.asker.say(shown, text, temperature=temperature, seed=seed, most=most)

    # Answers ------------------------------------------------------------------------------------

    async def answer(self, picture: Media, kind: Kind, question: Question) -> Candidate:
        """Return the question answered, scored, and left out where that is not good enough."""
        name = "reasoning" if kind == "reasoning" else "answer"
        bare = question.text
        asked = bare if kind == "caption" else self.texts.render(name, question=bare)
        candidate = Candidate(kind, asked, bare, made=history(question))
        try:
            return await self._scored(picture, candidate)
        except UsageError as error:
            return candidate.dropped("refused", str(error))

    async def _scored(self, picture: Media, candidate: Candidate) -> Candidate:
        recipe, asked = self.recipe, candidate.question
        seed = seed_of(recipe.seed, picture.sha256, candidate.kind, asked)
        greedy = await self.asker.say(
            picture, asked, temperature=0.0, seed=seed, most=recipe.most_tokens
        )
        about = {**greedy.provenance, **candidate.made}
        candidate = replace(candidate, answer=greedy.text, made=about)
        if unusable := flaw(greedy):
            return candidate.dropped(*unusable)
        said = [greedy]
        for number in range(recipe.samples):
            # Without a temperature all would say the same, and agree for no reason.
            said.append(
                await self.asker.say(
                    picture, asked, temperature=recipe.temperature or 1.0,
                    seed=seed_of(seed, number), most=recipe.most_tokens,
                )
            )  # fmt: skip
        kept, agreement = chosen([one.text for one in said], candidate.kind)
        if kept and (unusable := flaw(said[kept])):
            return candidate.dropped(*unusable)
        candidate = replace(candidate, answer=said[kept].text)
        likelihood, gain = await self._likelihood(picture, asked, candidate.answer)
        counted = len(said) if recipe.samples else 0
        scores = Scores(likelihood, gain, agreement if counted else None, counted)
        return self._judged(replace(candidate, scores=scores))

    async def _likelihood(
        self, picture: Media, asked: str, answer: str
    ) -> tuple[float | None, float | None]:
        """Return how likely a token of an answer is, and how much of that the picture adds."""
        with_it = await self.asker.likelihoods(picture, asked, [answer])
        without = await self.asker.likelihoods(None, asked, [answer]) if with_it else None
        if not with_it or not without:
            return None, None
        return with_it[0].mean, with_it[0].mean - without[0].mean

    def _judged(self, candidate: Candidate) -> Candidate:
        """Leave out what is not good enough; what is not known counts for nothing."""
        recipe, scores = self.recipe, candidate.scores

        def below(value: float | None, least: float | None) -> bool:
            return value is not None and least is not None and value < least

        if below(scores.likelihood, recipe.min_likelihood):
            return candidate.dropped(
                "unlikely",
                f"A token of the answer has a mean log-probability of {scores.likelihood:.2f}, "
                f"less than {recipe.min_likelihood:g}.",
            )
        if below(scores.gain, recipe.min_gain):
            return candidate.dropped(
                "blind",
                f"The picture makes a token of the answer likelier by {scores.gain:.2f}, less than "
                f"{recipe.min_gain:g}.",
            )
        if below(scores.agreement, recipe.min_agreement):
            return candidate.dropped(
                "disagreed",
                f"{scores.samples} answers agree by {scores.agreement:.2f}, less than "
                f"{recipe.min_agreement:g}.",
            )
        return candidate


def flaw(said: Said) -> tuple[str, str] | None:
    """Return why an answer cannot be used, as `Candidate.dropped` takes it; ``None`` if it can."""
    if not words_of(said.text):
        return "empty", "The answer says nothing."
    if not said.whole:
        return "cut", "The answer was cut off at the most tokens allowed."
    if refuses(said.text):
        return "refusal", "The model said that it cannot answer."
    return None


def chosen(answers: Sequence[str], kind: Kind) -> tuple[int, float]:
    """Return which of some answers is kept, and how far the others agree with it, 0…1.

    Of reasoning, what most chains come to is taken, the first answer where it is among them, and
    the share of these is the agreement (self-consistency, arXiv:2203.11171). Of all else the first
    answer is taken, and the agreement is the mean F1 of the words that each other shares with it.

    Args:
        answers: the greedy one first.
        kind: of the row.
    """
    first, *others = answers
    if not others:
        return 0, 1.0
    if kind != "reasoning":
        return 0, sum(overlap(first, other) for other in others) / len(others)
    ends = [words_of(last_answer(text)) for text in answers]
    counted = Counter(ends)
    most = max(counted.values())
    best = ends[0] if counted[ends[0]] == most else max(counted, key=lambda end: counted[end])
    return ends.index(best), counted[best] / len(ends)


def history(question: Question) -> dict[str, object]:
    """Return how a question came about, as JSON values."""
    told: dict[str, object] = {}
    if question.ways:
        line = [one.text for one in question.line[1:]]
        told["evolved"] = {"ways": list(question.ways), "from": line[::-1]}
    if question.asked_of != "picture":
        told["asked_of"] = question.asked_of
    if question.description:
        told["description"] = question.description
    if question.remarks:
        told["not_evolved"] = list(question.remarks)
    return told
