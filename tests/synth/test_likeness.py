"""What counts as saying nearly the same."""

import random

import pytest

from vlmchat.synth.likeness import Pairs, alike, overlap, signed, words_of
from vlmchat.synth.parsing import harder_in, last_answer, questions_in, refuses, verdict_in

LONG = (
    "A narrow street leads down to the harbour, where five small boats lie beside a wooden pier "
    "and two men carry a heavy basket of fish past a white house with green shutters."
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is the colour of the circle?", "what color is the circle", True),
        ("What color is the circle?", "What color is the square?", False),
        ("There are 3 circles.", "There are three circles", True),
        ("There are 3 circles.", "There are 4 circles.", False),
        ("Is the circle left of the square?", "Is the square left of the circle?", False),
        (LONG, LONG.replace("heavy ", ""), True),
        (LONG, LONG.replace("five", "six"), False),
        (LONG, "Five small boats lie beside a pier, and two men carry fish past a house.", False),
        ("Is it?", "is it", True),
        ("", "", True),
    ],
)
def test_nearly_the_same(one: str, other: str, same: bool) -> None:
    assert alike(one, other) is alike(other, one) is same


def test_signature_estimates_the_jaccard_index() -> None:
    numbers = random.Random(3)
    drawn = numbers.sample(range(1 << 32), 600)
    for shared in (60, 150, 300):
        one, other = drawn[:300], drawn[300 - shared : 600 - shared]
        agreed = sum(a == b for a, b in zip(signed(one), signed(other), strict=True)) / 64
        assert abs(agreed - shared / (600 - shared)) < 0.2


def test_pairs_of_a_large_set() -> None:
    pairs, numbers = Pairs(), random.Random(1)
    words = [f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(400)]
    texts = [" ".join(numbers.sample(words, 40)) for _ in range(150)]
    for text in texts:
        pairs.add("Describe the image.", text)
    changed = [" ".join([*text.split()[:20], "other", *text.split()[21:]]) for text in texts]
    assert [pairs.count("Describe this picture.", text) for text in changed] == [1] * 150
    assert pairs.count("What is wrong in the image?", texts[0]) == 0
    pairs.add("What color is it?", "Red.")
    pairs.add("What colour is it?", "It is red")
    assert pairs.count("What color is it?", "red") == 2
    assert pairs.count("What color is it?", "blue") == 0


def test_overlap() -> None:
    assert overlap("The circle is red.", "the circle is red") == 1
    assert overlap("red", "blue") == overlap("red", "") == 0
    assert overlap("a red circle", "red") == pytest.approx(0.5)
    assert words_of("Größe: 1,5 m — Ｇray") == ("grösse", "1,5", "m", "gray")


def test_questions_in_what_a_model_wrote() -> None:
    said = (
        "Sure!\n1. What color is the car?\n2) **How many dogs are there?** A: Two\n"
        "- Describe the scene on the left.\nQ3: Is it day now? Is it night time?\n"
        "The question you mean is: What is on the table?\nYes. If one went, how many are left?\n"
        "What color is the car?\nThis is nice.\nWhy?"
    )
    assert questions_in(said) == [
        "What color is the car?",
        "How many dogs are there?",
        "Describe the scene on the left.",
        "Is it day now?",
        "Is it night time?",
        "What is on the table?",
        "If one went, how many are left?",
    ]
    assert harder_in("New question: Which is the largest?", "What is it?")[0]
    for said in ("A ring.", "What is the rewritten question?", "What is this?"):
        assert harder_in(said, "What is it?")[0] == ""


def test_answers_refusals_and_verdicts() -> None:
    assert last_answer("Two and one.\nAnswer: 3\nSo it is.") == "3"
    assert last_answer("It is red. So it is a fire truck.") == "So it is a fire truck."
    assert refuses("I'm sorry, I can't see it.") and not refuses("A dog that I cannot name.")
    assert [verdict_in(text) for text in ("2.", "The first one", "Neither")] == [2, 1, None]
