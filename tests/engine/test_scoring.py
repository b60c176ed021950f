"""How likely given answers are, against the library's own log-probabilities."""

import asyncio
import time
from pathlib import Path
from threading import Event
from typing import Any

import httpx2 as httpx
import pytest
import torch

from tests.adapters import bare, save_adapter
from tests.engine.test_http import message_of, picture, text
from tests.engine.test_prompt import library_inputs, turn
from tests.engine.test_prompt import picture as part
from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, running
from tests.pictures import encoded
from vlmchat.chat.messages import Message
from vlmchat.client.api import EngineClient
from vlmchat.engine.adapters import wear
from vlmchat.engine.caching.caches import Caches
from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.scoring import Scored, score
from vlmchat.engine.text.tree import ReadsTrees
from vlmchat.errors import ContextOverflowError, NotOurEngineError
from vlmchat.models.progress import ignore_progress

ANSWERS = [
    "The picture shows a red circle on the left.",
    "The picture shows a red star.",
    "The picture shows a red circle on the left. And more, 12 of them, 日本語!",
    "x",
    "The picture shows a red circle on the left.",
    " two  spaces\nand a line ",
    "a word and another " * 12,  # longer than what is shared with the next
    "a word and another " * 12 + "more",
]
CONVERSATIONS = {
    "text": [turn("system", "You describe pictures."), turn("user", "What is 12 + 30?")],
    "picture": [turn("user", part(64, 48), "What is in the picture?")],
    "pictures": [
        turn("user", part(64, 48), "What?"),
        turn("assistant", "A red circle."),
        turn("user", "And this? ", part(33, 200)),
    ],
}


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> LoadedModel:
    return load_model(LoadOptions(str(tiny_model), "none", dtype="float32"), ignore_progress)


def ours(loaded: LoadedModel, messages: list[Message], caches: Caches | None = None) -> Scored:
    prompt = loaded.builder.build(messages)
    answers = loaded.builder.answers(messages, ANSWERS, loaded.end_ids)
    return score(loaded, prompt, answers, Event(), caches)


@torch.inference_mode()
def librarys(folder: Path, model: Any, messages: list[Message], answer: str) -> list[float]:
    """Return the log-probabilities of an answer's tokens, its end among them."""
    asked = library_inputs(folder, messages)["input_ids"].shape[1]
    inputs = library_inputs(folder, [*messages, turn("assistant", answer)], opened=False)
    found = torch.log_softmax(model(**inputs).logits[0].float(), -1)
    ids = inputs["input_ids"][0].tolist()
    end = ids.index(model.generation_config.eos_token_id, asked)
    return [float(found[at - 1, ids[at]]) for at in range(asked, end + 1)]


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_equals_the_library(name: str, base: LoadedModel, tiny_model: Path) -> None:
    messages, model, caches = CONVERSATIONS[name], bare(tiny_model, "float32"), Caches()
    first, again = ours(base, messages, caches), ours(base, messages, caches)
    assert first.logprobs == again.logprobs and first.logprobs[0] == first.logprobs[4]
    assert first.cached_tokens == 0 and again.cached_tokens == again.prompt_tokens
    for answer, found in zip(ANSWERS, first.logprobs, strict=True):
        wanted = librarys(tiny_model, model, messages, answer)
        assert found == pytest.approx(wanted, rel=1e-3, abs=2e-3), answer


def test_one_by_one(base: LoadedModel, tiny_model: Path) -> None:
    """A text model that reads no trees says the same."""
    options = LoadOptions(str(tiny_model), "none", dtype="float32", library=True)
    library = load_model(options, ignore_progress)
    assert isinstance(base.text, ReadsTrees) and not isinstance(library.text, ReadsTrees)
    messages = CONVERSATIONS["picture"]
    for found, wanted in zip(
        ours(library, messages).logprobs, ours(base, messages).logprobs, strict=True
    ):
        assert found == pytest.approx(wanted, rel=1e-3, abs=2e-3)


def test_with_an_adapter(base: LoadedModel, tiny_model: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    messages, folder = CONVERSATIONS["picture"], save_adapter(tiny_model, tmp_path / "birds")
    tuned = PeftModel.from_pretrained(bare(tiny_model, "float32"), str(folder)).eval()
    found = ours(wear(base, "birds", folder), messages).logprobs[0]
    wanted = librarys(tiny_model, tuned, messages, ANSWERS[0])
    assert found == pytest.approx(wanted, rel=1e-3, abs=2e-3)
    assert found[0] != pytest.approx(ours(base, messages).logprobs[0][0], abs=1e-2)


def test_what_a_person_typed_ends_no_answer(base: LoadedModel) -> None:
    messages = CONVERSATIONS["text"]
    typed = base.builder.answers(messages, ["It <end_of_utterance><image>."], base.end_ids)[0]
    assert [at for at, index in enumerate(typed) if index in base.end_ids] == [len(typed) - 1]
    assert len(typed) > 10


def test_stopped_and_too_long(base: LoadedModel) -> None:
    messages, cancel = CONVERSATIONS["text"], Event()
    prompt, caches = base.builder.build(messages), Caches()
    answers = base.builder.answers(messages, ["a b " * 200], base.end_ids)
    cancel.set()
    with pytest.raises(CancelledError):
        score(base, prompt, answers, cancel, caches)
    long = base.builder.answers(messages, ["fine", "a b " * 900], base.end_ids)
    with pytest.raises(ContextOverflowError, match=r"continuations\[1\] has \d+ tokens, and \d+"):
        score(base, prompt, long, Event())


async def test_over_http(engine: EngineProcess) -> None:
    messages = CONVERSATIONS["picture"]
    async with EngineClient(engine.url, TOKEN) as client:
        scores = await client.score(messages, ANSWERS[:4])
        low = await client.score(messages, ANSWERS[:1], detail="low")
        with pytest.raises(NotOurEngineError, match="cannot say how likely"):
            await client._own_route("no-such-route", {"messages": []}, "say how likely")
    assert [one.tokens for one in scores] == [len(one.token_logprobs) for one in scores]
    assert all(one.logprob == pytest.approx(sum(one.token_logprobs)) for one in scores)
    assert all(one.mean == one.logprob / one.tokens < 0 for one in scores)
    assert low[0].logprob != pytest.approx(scores[0].logprob, abs=1e-3)
    question = [{"role": "user", "content": [picture(encoded(), "high"), text("What?")]}]
    body = {"messages": question, "continuations": ["a", "b c"]}
    answer = engine.http.post("/v1/score", json=body).json()
    assert [row["index"] for row in answer["data"]] == [0, 1] and answer["object"] == "list"
    tokens = sum(row["tokens"] for row in answer["data"])
    assert answer["usage"]["completion_tokens"] == tokens
    for fields, words in (
        ({"continuations": []}, "“continuations”"),
        ({"continuations": ["a", ""]}, "“continuations[1]”"),
        ({"detail": "fine"}, "“detail”"),
        ({"model": "x"}, "“x” is not served"),
        ({"max_tokens": 3}, "“max_tokens” is not supported"),
    ):
        refused = engine.http.post("/v1/score", json={**body, **fields})
        assert refused.status_code == 400 and words in message_of(refused)


def test_hanging_up_frees_the_engine(engine: EngineProcess) -> None:
    question = [{"role": "user", "content": "Long."}]
    many = [f"{number} times " + "and so on " * 100 for number in range(3000)]
    with pytest.raises(httpx.TimeoutException):
        body = {"messages": question, "continuations": many}
        engine.http.post("/v1/score", json=body, timeout=0.5)
    began = time.perf_counter()
    assert engine.chat("Short.", max_tokens=1).status_code == 200
    assert time.perf_counter() - began < 5  # of a minute's work


def test_another_engine() -> None:
    async def ask(url: str) -> None:
        async with EngineClient(url) as client:
            await client.score(CONVERSATIONS["text"], ["a"])

    with (
        running(FakeEngine()) as other,
        pytest.raises(NotOurEngineError, match="cannot say how likely given answers are: this"),
    ):
        asyncio.run(ask(other.url))
