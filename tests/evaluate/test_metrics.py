"""The metrics against published examples, and against saved output of the reference programs."""

import pytest

from vlmchat.errors import UsageError
from vlmchat.evaluate.metrics import tokens, vqa
from vlmchat.evaluate.metrics.judged import Judged
from vlmchat.evaluate.metrics.registry import METRICS, metric_named

# google-research/pix2struct, pix2struct/metrics_test.py, `test_pix2struct_metrics`: predictions,
# targets, and what its four metrics make of them.
_PIX2STRUCT = [
    ("abc", "abc"),
    ("abc", "Abc"),
    ("Abc", "abc"),
    ("100%", "96%"),
    ("100%", "94%"),
    ("100%", "0.96"),
    ("100%", "0.94"),
    ("Don't", "Won't"),
]


@pytest.mark.parametrize(
    ("name", "published"), [("exact", 12.5), ("anls", 47.5), ("relaxed", 62.5), ("cider", 128.6)]
)
def test_pix2struct_s_own_test(name: str, published: float) -> None:
    scores = METRICS[name].scores([Judged(said, (right,)) for said, right in _PIX2STRUCT])
    assert 100 * sum(scores) / len(scores) == pytest.approx(published, abs=0.05)


@pytest.mark.parametrize(
    ("metric", "said", "right", "score"),
    [
        # ChartQA (Masry et al. 2022, section 5.1): within 5 % of the gold answer; text exactly.
        ("relaxed", "105", "100", 1),
        ("relaxed", "105.1", "100", 0),
        ("relaxed", "0.52", "52%", 1),
        ("relaxed", "1,000", "1000", 0),  # with a comma it is a text, as in the reference
        ("relaxed", "0.0", "0", 0),  # no share of 0: compared as texts
        ("relaxed", "bLUE ", "Blue", 1),
        ("relaxed", "Blue.", "Blue", 0),
        # ST-VQA (Biten et al. 2019, equation 1): one letter of ten off; half off is too much.
        ("anls", "Hello Wrld", "hello  world", 1 - 1 / 11),
        ("anls", "ab", "ad", 0),
        ("anls", "a" * 900, "b", 0),
        ("anls", "", "", 1),
        ("exact", " K7 Amber\n", "K7 Amber", 1),
        ("exact", "K7 amber", "K7 Amber", 0),
        ("contains", "It is a K7\nAMBER.", "k7 amber", 1),
        ("contains", "I know.", "no", 1),
    ],
)
def test_two_texts(metric: str, said: str, right: str, score: float) -> None:
    [found] = METRICS[metric].scores([Judged(said, ("something else entirely", right))])
    assert found == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        # What GT-Vision-Lab/VQA's `processPunctuation` and `processDigitArticle` make of them.
        ("The  two dogs, a cat.", "2 dogs cat"),
        ("isnt", "isn't"),
        ("couldn'tve", "couldn't've"),
        ("somebody'd", "somebodyd"),
        ("1,000 m/s", "1000 ms"),
        ("red/blue", "red blue"),
        ("red /blue", "red blue"),
        ("3.5 U.S. none", "3.5 us 0"),
        ("x , y", "x y"),
        (".x" * 33, "x" * 32 + ".x"),
    ],
)
def test_answers_are_brought_into_one_form(text: str, form: str) -> None:
    assert vqa.normal(text) == form


@pytest.mark.parametrize(
    ("said", "answers", "score"),
    [
        # “An answer is 100 % right if at least 3 of 10 people gave it” (visualqa.org/evaluation):
        # averaged over every nine of the ten, so that three make 0.9 and four make 1.
        ("blue", ["blue"] * 4 + ["red"] * 6, 1.0),
        ("blue", ["blue"] * 3 + ["red"] * 7, 0.9),
        ("blue", ["blue"] * 2 + ["red"] * 8, 0.6),
        ("The blue.", ["blue"] + ["red"] * 9, 0.3),
        ("green", ["blue"] + ["red"] * 9, 0.0),
        ("two", ["2"] * 9 + ["3"], 1.0),
        # Where all ten agree nothing is brought into one form.
        ("Yes", ["yes"] * 10, 0.0),
        ("yes", ["yes"] * 10, 1.0),
    ],
)
def test_consensus(said: str, answers: list[str], score: float) -> None:
    assert vqa.consensus(Judged(said, tuple(answers))) == pytest.approx(score)


@pytest.mark.parametrize(
    ("said", "right"),
    [
        # MMMU-Benchmark/MMMU, eval/eval_utils.py, `parse_multi_choice_response`, worked by hand.
        ("B", "B"),
        ("(B).", "B"),
        ("A or (C), then (B)", "B"),  # brackets before bare letters, the last of them
        ("A, no: it is B !", "B"),
        ("I think that it is the light blue one", "B"),  # a text, of more than five words
        ("light blue", ""),
        ("b", ""),
        ("", ""),
    ],
)
def test_options(said: str, right: str) -> None:
    options = ("red", "light blue", "green")
    for answer in ("B", "light blue"):
        scored = METRICS["choice"].scores([Judged(said, (answer,), options)])
        assert scored == [float(right == "B")]


# Captions of our own, cut by Stanford's PTBTokenizer 3.4.1 as coco-caption calls it.
_TOKENS = {
    "A man can't see, won't go.": "a man ca n't see wo n't go",
    'The dogs\' "STOP" sign (old)': "the dogs stop sign -lrb- old -rrb-",
    "It costs $5.00, 5% off, at 10:30 a.m. in the U.S.": (
        "it costs $ 5.00 5 % off at 10:30 a.m. in the u.s."
    ),
    "What?! A hot-dog -- and/or 1,000 cats… they’re here": (
        "what ?! a hot-dog and/or 1,000 cats they 're here"
    ),
    "rock'n'roll at O'Brien's, y'all cannot": "rock 'n' roll at o'brien 's y' all can not",
    "Mr. Smith's café, etc.": "mr. smith 's café etc.",
}
# Made by pycocoevalcap 1.2 (coco-caption for Python 3) with its own tokenizer.
_CAPTIONS = [
    (
        "A man can't find his black-and-white dog.",
        "A man is looking for his black-and-white dog.",
        "The man's dog is black and white.",
        "Someone can't see a dog (it is behind the tree).",
    ),
    (
        "two cats sleep on a red sofa",
        "Two cats are sleeping on a red couch.",
        "A pair of cats, asleep on a sofa.",
        "Two cats sleep on the red sofa!",
    ),
    (
        "a bus",
        "A double-decker bus drives down a wet street in London.",
        "A red bus on a street; it's raining.",
    ),
    (
        'A street sign says "STOP" at 5 p.m. and a car waits',
        'A car waits at a "STOP" sign.',
        "A stop sign and a car at 5 p.m.",
        "The car has stopped at the sign.",
    ),
    (
        "a plate of food with rice and vegetables on a table",
        "A plate with rice, vegetables and chicken.",
        "Rice and vegetables on a white plate on a table.",
    ),
    ("", "A boat on the sea.", "One small boat, far out on the sea."),
]
_SCORES = [1.5263132504, 3.2335274618, 0.4912936405, 2.0118571529, 3.3966059420, 0.0]


def test_captions_are_cut_into_words_as_in_the_reference() -> None:
    assert {text: " ".join(tokens.words(text)) for text in _TOKENS} == _TOKENS


def test_captions_as_the_reference_scores_them() -> None:
    scores = METRICS["cider"].scores([Judged(said, right) for said, right in _tupled()])
    assert scores == pytest.approx(_SCORES, abs=1e-9)
    assert METRICS["cider"].scores([]) == []
    assert METRICS["cider"].scores([Judged("a cat", ("a cat",))]) == [
        0.0
    ]  # all words are everywhere


def _tupled() -> list[tuple[str, tuple[str, ...]]]:
    return [(said, tuple(right)) for said, *right in _CAPTIONS]


def test_what_cannot_be_scored_is_told() -> None:
    with pytest.raises(UsageError, match="at least 4 people"):
        METRICS["vqa"].check("Which?", ["a"] * 3, ())
    with pytest.raises(UsageError, match="no options"):
        METRICS["choice"].check("Which?", ["A"], ())
    with pytest.raises(UsageError, match="none of its options"):
        METRICS["choice"].check("Which?", ["D"], ("x", "y"))
    with pytest.raises(UsageError, match="exact, relaxed, anls"):
        metric_named("bleu")
