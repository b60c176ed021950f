"""Phase 2: the prompt is the engine's, the text model is the library's and stays as it is."""

import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer

from tests.demo.small import SMALL, build_small
from tests.pictures import encoded
from vlmchat.chat.messages import ImagePart, Message, Part, TextPart
from vlmchat.demo.drawing.captions import captions
from vlmchat.demo.drawing.examples import Lesson
from vlmchat.demo.drawing.facts import Asked, Lettering, Scene
from vlmchat.demo.training.frozen import FrozenText
from vlmchat.demo.training.prompts import Prompt, Prompts
from vlmchat.demo.training.words import Words
from vlmchat.engine.prompt import PromptBuilder
from vlmchat.media.images import media_from_bytes
from vlmchat.media.rules import DEFAULT_LIMITS
from vlmchat.media.tiles import ProcessorSpec
from vlmchat.media.video_prompt import video_parts

ASKED = (
    Asked("colour", "What colour is the star?", "The star is red."),
    Asked("count", "How many circles are there, 3 or 12?", "There are 12."),
    Asked("premise", "Say: what is “left” of it?\nPlease.", "Nothing."),
)
PLACES = SMALL.tokens


def lesson(pictures: int, frames: bool = False) -> Lesson:
    images = tuple(Image.new("RGB", (240, 240), (9 * n, 99, 30)) for n in range(pictures))
    return Lesson(images, frames, Scene(()), ASKED)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small(tmp_path_factory.mktemp("demo") / "small")


@pytest.fixture(
    scope="module",
    params=["small", pytest.param("demo_home", marks=[pytest.mark.registry, pytest.mark.slow])],
)
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    if request.param == "small":
        return path
    return next(it.parent for it in (path / "cache" / "demo").glob("*/tokenizer.json"))


def branch(prompts: Prompts, prompt: Prompt, number: int) -> list[int]:
    """Return what the text model reads and answers in one branch, the beginning included."""
    answer = prompt.answers[number]
    read = prompt.row.seen[answer.start, len(prompts.beginning) :]
    tokens = prompt.tokens[read].tolist()
    return [*prompts.beginning, *tokens, *answer.tokens]


def engines(folder: Path, parts: tuple[Part, ...], answer: str) -> list[int]:
    """Return what the engine's builder makes of a question, with its answer."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    spec = ProcessorSpec(240, 240, splitting=False, tokens_per_tile=PLACES)
    builder = PromptBuilder(tokenizer, spec, DEFAULT_LIMITS)
    ids = builder.build([Message("user", parts)]).ids
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    return [*ids, *tokenizer.encode(answer, add_special_tokens=False), end]


def picture() -> ImagePart:
    return ImagePart(media_from_bytes(encoded("PNG", 240, 240), "p.png"))


@pytest.mark.parametrize("pictures", [1, 2])
def test_branches_are_the_engines_prompts(folder: Path, pictures: int) -> None:
    prompts = Prompts(Words(folder), PLACES)
    prompt = prompts.write(lesson(pictures), Random(1), 3)
    assert len(prompt.pictures) == pictures * PLACES
    for number, asked in enumerate(ASKED):
        parts: tuple[Part, ...] = (*[picture()] * pictures, TextPart(asked.question))
        assert branch(prompts, prompt, number) == engines(folder, parts, asked.answer)


@pytest.mark.parametrize(("frames", "seed"), [(4, 1), (8, 5)])
def test_films_are_the_engines_prompts(folder: Path, frames: int, seed: int) -> None:
    prompts = Prompts(Words(folder), PLACES)
    prompt = prompts.write(lesson(frames, frames=True), Random(seed), 3)
    step = Random(seed).choice((0.5, 1.0, 1.0, 2.0))
    media = [(number * step, picture().media) for number in range(frames)]
    for number, asked in enumerate(ASKED):
        parts = (*video_parts(media, None), TextPart(asked.question))
        assert branch(prompts, prompt, number) == engines(folder, parts, asked.answer)


@pytest.mark.parametrize("text", ["ice Cream", "2048", "says", "t"])
def test_a_text_is_read_letter_by_letter(folder: Path, text: str) -> None:
    """Its answer has the tokens that its image tokens are, and is the same text put together."""
    words, facts = Words(folder), Lettering(text)
    asked = (
        Asked("text", "What does it say?", f"The text says {text}."),
        Asked("premise", "Is it blue?", f"It says {text}."),
    )
    prompt = Prompts(words, PLACES).write(Lesson((), False, facts, asked), Random(1), 3)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    read, other = (answer.tokens[:-1] for answer in prompt.answers)
    assert tokenizer.decode(read) == asked[0].answer
    assert other == words.ids(asked[1].answer)
    letters = read[-1 - len(text) : -1]
    (seen,) = captions(facts)
    told = [words.ids(slot.text)[0] for slot in seen[2:] if slot.text.strip()]
    assert [it for it, letter in zip(letters, text, strict=True) if letter != " "] == told


def test_fewer_questions_are_chosen_than_there_are(small: Path) -> None:
    prompts = Prompts(Words(small), PLACES)
    chosen = {
        answer.task
        for seed in range(30)
        for answer in prompts.write(lesson(1), Random(seed), 1).answers
    }
    assert chosen == {"colour", "count", "premise"}


def test_answers_are_the_librarys_and_no_weight_moves(small: Path) -> None:
    """Each branch has the logits that it has alone in the library's model."""
    from transformers import SmolVLMForConditionalGeneration

    model: Any = SmolVLMForConditionalGeneration.from_pretrained(small).eval().float()
    words = Words(small)
    prompts = Prompts(words, PLACES)
    text = FrozenText(words, prompts.beginning, torch.device("cpu"), torch.float32)
    rows = [prompts.write(lesson(count), Random(count), 3) for count in (1, 2)]
    generator = torch.Generator().manual_seed(1)
    seen = torch.randn(3 * PLACES, SMALL.width, generator=generator, requires_grad=True)
    tokens = torch.cat([row.tokens for row in rows])
    places = torch.cat([rows[0].pictures, rows[1].pictures + len(rows[0].tokens)])
    inputs = words.embedding[tokens].index_copy(0, places, seen)
    logits = text.logits(text(inputs, [row.row for row in rows]))
    at, first = 0, 0
    for row in rows:
        features = seen[first : first + len(row.pictures)].detach()
        for number, answer in enumerate(row.answers):
            ids = torch.tensor([branch(prompts, row, number)])
            embedded = model.get_input_embeddings()(ids)
            embedded[ids == prompts._image] = features
            with torch.no_grad():
                theirs = model(inputs_embeds=embedded).logits[0]
            start, count = at + answer.start, len(answer.tokens)
            ours = logits[start : start + count]
            torch.testing.assert_close(ours, theirs[-count - 1 : -1], rtol=1e-3, atol=1e-3)
        at, first = at + len(row.tokens), first + len(row.pictures)
    torch.autograd.backward(logits.square().mean())
    assert seen.grad is not None
    assert (seen.grad.abs().sum(1) > 0).all()
    assert not text.embedding.requires_grad


@pytest.mark.slow
def test_compiled_it_is_the_same(small: Path) -> None:
    command = [sys.executable, "-m", "tests.demo.compiled_text", str(small)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.stdout == "equal\n", done.stderr
