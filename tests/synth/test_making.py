"""Rows about a picture: what is asked, kept, and left out with which reason."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.synth.speaking import Speaker, photo
from vlmchat.chat.messages import Media
from vlmchat.errors import UsageError
from vlmchat.synth import texts
from vlmchat.synth.asking import Said
from vlmchat.synth.making import Maker, chosen
from vlmchat.synth.picking import Picker
from vlmchat.synth.recipe import Candidate, Kind, Recipe, parse_kinds
from vlmchat.synth.rows import row_of


async def made(
    speaker: Speaker, picture: Media, kind: Kind, recipe: Recipe | None = None
) -> list[Candidate]:
    recipe = recipe or Recipe(per_image=2, evolve=0)
    return list((await Maker(speaker, recipe, texts.load()).make(picture, kind)).candidates)


async def test_questions_are_made_harder_and_fall_back(tmp_path: Path) -> None:
    def says(_: Media | None, text: str, temperature: float, __: int) -> str:
        if text.startswith("Write"):
            return "What is it?\nWhat is it, please?\nWhat color is it?"
        if text.startswith("Rewrite"):
            return "What is behind it on the left?" if "What is it?" in text else "A ring."
        if "behind" in text:  # what is too hard is answered differently each time
            return "A dog." if temperature == 0 else "Nothing at all here"
        return "It is red."

    speaker = Speaker(says, likely=lambda picture, text, answer: -0.5 if picture else -2.0)
    found = await made(speaker, photo(tmp_path), "qa", Recipe(per_image=2, evolve=1))
    assert [(one.question, one.why) for one in found] == [
        ("What is behind it on the left?", "disagreed"),
        ("What is it?", ""),
        ("What color is it?", ""),
        ("What is it, please?", "same-question"),
    ]
    hard, first, second, _ = found
    assert (
        hard.made["evolved"]["from"] == ["What is it?"] and len(hard.made["evolved"]["ways"]) == 1
    )
    assert "evolved" not in first.made and "no question" in second.made["not_evolved"][0]
    assert first.scores.as_dict() == {
        "likelihood": -0.5, "gain": 1.5, "agreement": 1.0, "samples": 4
    }  # fmt: skip
    again = Speaker(says, speaker.likely)
    assert await made(again, photo(tmp_path), "qa", Recipe(per_image=2, evolve=1)) == found
    assert again.asked == speaker.asked


async def test_model_that_cannot_ask_about_a_picture_asks_about_words(tmp_path: Path) -> None:
    def says(picture: Media | None, text: str, *_: object) -> str:
        if picture is None:
            assert text.startswith("A picture shows this: A red ring.\nWrite")
            return "Where is the ring?\nHow large is the ring?"
        return "A red ring."

    found = await made(Speaker(says), photo(tmp_path), "qa")
    lost = found.pop()
    assert lost.why == "no-question" and lost.made["said"] == "A red ring."
    assert [one.bare for one in found] == ["Where is the ring?", "How large is the ring?"]
    assert all(one.made["description"] == "A red ring." for one in found)


async def test_model_that_asks_nothing_answers_examples(tmp_path: Path) -> None:
    found = await made(Speaker(lambda *_: "A ring."), photo(tmp_path), "reasoning")
    assert [one.why for one in found] == ["", "", *["no-question"] * 3]
    examples = texts.load().lines("reasoning_examples")
    for one in found[:2]:
        assert one.bare in examples and one.made["asked_of"] == "examples"


@pytest.mark.parametrize(
    ("said", "recipe", "why"),
    [
        (Said("…"), {}, "empty"),
        (Said("A long", whole=False), {}, "cut"),
        (Said("I'm sorry, but I can't help."), {}, "refusal"),
        (Said("A dog."), {"min_likelihood": -1.0}, "unlikely"),
        (Said("A dog."), {"min_gain": 0.5}, "blind"),
        (Said("A dog."), {}, ""),
    ],
)
async def test_captions_left_out(
    said: Said, recipe: dict[str, float], why: str, tmp_path: Path
) -> None:
    speaker = Speaker(lambda *_: said, likely=lambda *_: -1.5)
    [one] = await made(speaker, photo(tmp_path), "caption", Recipe(per_image=1, **recipe))  # type: ignore[arg-type]
    assert one.why == why and bool(one.reason) is bool(why)


async def test_refused_request_is_a_row_left_out(tmp_path: Path) -> None:
    def says(*_: object) -> str:
        raise UsageError("It does not fit.")

    [one] = await made(Speaker(says), photo(tmp_path), "qa")
    assert (one.why, one.reason) == ("refused", "It does not fit.")


def test_reasoning_takes_what_most_chains_come_to() -> None:
    chains = ["So Answer: 4", "One, two. Answer: three", "Answer: 3", "Answer: 5"]
    assert chosen(chains, "reasoning") == (1, 0.5)
    assert chosen(chains[:2], "reasoning") == (0, 0.5)  # no majority against the first
    kept, agreement = chosen(["red ring", "red", "blue"], "qa")
    assert kept == 0 and agreement == pytest.approx(1 / 3)


@pytest.mark.parametrize("judge", ["strict", "balanced"])
@pytest.mark.parametrize("leaning", [0.0, 5.0])
async def test_judge_is_asked_in_both_orders(leaning: float, judge: str, tmp_path: Path) -> None:
    """A liking for the first place, whatever stands there, decides nothing by itself."""

    def says(_: Media | None, text: str, temperature: float, __: int) -> str:
        if text.startswith("Write"):
            return "What is it?"
        return "It is a red ring." if temperature == 0 else "It may be anything."

    def likely(_: Media | None, text: str, answer: str) -> float:
        first = "Answer 1: It is a red ring." in text
        return (leaning + (1 if first else -1)) * (1 if answer == "1" else -1)

    recipe = replace(Recipe(per_image=1, evolve=0), judge=judge)  # type: ignore[arg-type]
    [one] = await made(Speaker(says, likely), photo(tmp_path), "preference", recipe)
    if leaning and judge == "strict":
        assert one.why == "undecided"
        return
    assert (one.answer, one.rejected) == ("It is a red ring.", "It may be anything.")
    assert one.made["chosen"] == {"temperature": 0.0}
    assert one.made["judge"]["by"] == "likelihood"


async def test_adapters_answer_and_a_judge_speaks_where_likelihoods_are_not_told(
    tmp_path: Path,
) -> None:
    class Two(Speaker):
        async def say(
            self, picture: Media | None, text: str, *, adapter: str | None = None, **_: object
        ) -> Said:
            if text.startswith("Write"):
                return Said("What is it?\nWhere is it?")
            if text.startswith("Here is"):
                wants = 1 if "Answer 1: by tuned" in text else 2
                return Said(f"Answer {wants} is better." if "What is it?" in text else "1")
            return Said(f"by {adapter or 'base'}: {text}")

    recipe = Recipe(per_image=2, evolve=0, pair_adapters=("", "tuned"))
    first, second = await made(Two(lambda *_: ""), photo(tmp_path), "preference", recipe)
    assert (first.answer, first.rejected) == ("by tuned: What is it?", "by base: What is it?")
    assert first.made["chosen"]["adapter"] == "tuned" and first.made["judge"]["by"] == "words"
    assert second.why == "undecided"


def test_what_is_said_too_often_is_left_out() -> None:
    picker = Picker(repeats=2)
    rows = [Candidate("qa", "What color is it?", "What color is it?", "It is red.")]
    rows += [replace(rows[0], question="What colour is it?", bare="What colour is it?")]
    whys = [[one.why for one in picker.pick(sha, rows)] for sha in ("a", "b", "c")]
    assert whys == [["", "same-question"], ["", "same-question"], ["repeated", "repeated"]]
    again = Picker(repeats=2)
    again.know(row_of(rows[0], "a.png", sha, {}) for sha in ("a", "b"))
    assert [one.why for one in again.pick("a", rows)] == ["same-question", "same-question"]
    assert [one.why for one in again.pick("d", rows)] == ["repeated", "repeated"]
    says = replace(rows[0], kind="caption", bare="Describe it.")
    twice = [says, replace(says, bare="What can be seen?")]
    assert [one.why for one in again.pick("e", twice)] == ["", "same-answer"]


def test_own_texts(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    assert {path.stem for path in texts.write_all(folder)} == set(texts.PLACES)
    assert texts.load(folder) == texts.load()
    with pytest.raises(UsageError, match="is there already"):
        texts.write_all(folder)
    (folder / "answer.md").write_text("{{question}} Be brief. {{question}}")
    assert texts.load(folder).render("answer", question="{{how}}?") == "{{how}}? Be brief. {{how}}?"
    assert texts.load(folder).digest != texts.load().digest
    for text, fault in (("Hi", "no place {{question}}"), ("{{question}}{{x}}", "{{x}}")):
        (folder / "answer.md").write_text(text)
        with pytest.raises(UsageError, match=fault):
            texts.load(folder)
    (folder / "answers.md").write_text("{{question}}")
    with pytest.raises(UsageError, match="none of the texts"):
        texts.load(folder)
    texts.own_dir().mkdir(parents=True)
    (texts.own_dir() / "captions.md").write_text("# mine\nSay what you see.\n")
    assert texts.load().lines("captions") == ("Say what you see.",)


def test_kinds() -> None:
    assert parse_kinds("qa, caption,qa") == ("qa", "caption")
    for text in ("", "qa,poem"):
        with pytest.raises(UsageError):
            parse_kinds(text)
