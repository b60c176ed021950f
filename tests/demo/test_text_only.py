"""Without a picture the demo model is SmolLM2-135M-Instruct and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from benchmarks.greedy import TASKS as REQUESTS
from benchmarks.greedy import TOPICS
from vlmchat.chat.messages import Message, user_message
from vlmchat.models.progress import ignore_progress

pytestmark = [pytest.mark.registry, pytest.mark.slow, pytest.mark.timeout(900)]

PROMPTS = [request.format(topic) for request in REQUESTS for topic in TOPICS]
VOCABULARY = 49_152


@pytest.fixture(scope="module")
def home(demo_home: Path) -> Iterator[None]:
    """Keep all tests of this file in the home that has the demo model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMCHAT_HOME", str(demo_home))
        yield


@pytest.fixture(scope="module")
def plain(home: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return SmolLM2-135M-Instruct as the library loads it, in bfloat16."""
    from vlmchat.demo import fetch
    from vlmchat.demo.build import load_text_model

    work = tmp_path_factory.mktemp("gguf")
    return load_text_model(fetch.fetch_gguf(work, work / "none", ignore_progress))


def loaded(**options: Any) -> Any:
    from vlmchat.engine.loading import LoadOptions, load_model

    wanted = LoadOptions("demo", quant="none", device="cpu", **options)
    return load_model(wanted, ignore_progress)


def test_logits_of_50_prompts_are_the_text_models_own_bit_for_bit(plain: Any) -> None:
    """Of all original tokens, behind every token of the prompts, in bfloat16."""
    import torch

    demo = loaded(library=True, dtype="bfloat16")
    assert len(PROMPTS) == 50
    for prompt in PROMPTS:
        asked = [user_message(prompt)]
        text, ids = demo.answering(asked), torch.tensor([demo.builder.build(asked).ids])
        with torch.inference_mode():
            own, ours = plain(ids).logits, text.model(input_ids=ids).logits
        assert own.shape[-1] == VOCABULARY < ours.shape[-1]
        assert torch.equal(own, ours[..., :VOCABULARY])
        assert int(ours.argmax(-1).max()) < VOCABULARY  # nowhere is an added token the likeliest


def test_greedy_answers_have_no_added_token_with_or_without_pictures(
    home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlmchat.demo.drawing.examples import TASKS, example
    from vlmchat.demo.evaluating.messages import message
    from vlmchat.engine import generate
    from vlmchat.engine.sampling import Sampler, SamplingParams

    chosen: list[int] = []

    class Recorded(Sampler):
        def next(self, logits: Any) -> int:
            token = super().next(logits)
            chosen.append(token)
            return token

    monkeypatch.setattr(generate, "Sampler", Recorded)
    demo = loaded()
    drawn = [example(task, "eval", 7, 0) for task in TASKS]
    asked: list[Message] = [user_message(prompt) for prompt in PROMPTS[:: len(TOPICS)]]
    asked += [message(one.images, one.question, frames=one.frames) for one in drawn]
    for question in asked:
        prompt = demo.builder.build([question])
        params = SamplingParams(max_tokens=24)
        generate.generate(demo.answering([question]), prompt, params, Event(), lambda _: None)
    assert len(chosen) > len(asked)
    assert max(chosen) < VOCABULARY
