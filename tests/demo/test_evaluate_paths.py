"""The demo model's three ways to see, through the engine over HTTP: tiles, pictures, video."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engine_process import EngineProcess
from tests.media.video.making import film
from vlmchat.chat.openai import data_url
from vlmchat.demo.drawing.examples import Example, example
from vlmchat.demo.evaluating.messages import png
from vlmchat.models.progress import ignore_progress

pytestmark = [pytest.mark.registry, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def demo(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """Return a running engine that serves the demo model."""
    folder = tmp_path_factory.mktemp("demo-engine")
    (folder / "home").symlink_to(demo_home)
    with EngineProcess("demo", folder) as engine:
        engine.wait_ready()
        yield engine


@pytest.fixture(scope="module")
def answerer(demo_home: Path) -> Any:
    """Return what the evaluation asks, in this process."""
    from vlmchat.demo.evaluating.answering import Answerer, load
    from vlmchat.engine.loading import LoadOptions

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMCHAT_HOME", str(demo_home))
        yield Answerer(load(LoadOptions("demo", quant="none", device="cpu"), ignore_progress))


def shown(image: Image.Image, detail: str = "auto") -> dict[str, Any]:
    url = data_url("image/png", png(image))
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def asked(engine: EngineProcess, *content: dict[str, Any], question: str) -> dict[str, Any]:
    response = engine.chat([*content, {"type": "text", "text": question}], max_tokens=96)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def said(body: dict[str, Any]) -> str:
    return str(body["choices"][0]["message"]["content"]).strip()


def tokens(body: dict[str, Any]) -> int:
    return int(body["usage"]["prompt_tokens"])


def drawing(task: str, index: int = 0) -> Example:
    return example(task, "eval", 11, index)


def test_a_picture_is_one_tile_and_costs_the_same_at_every_detail(
    demo: EngineProcess, answerer: Any
) -> None:
    question = "What is in the picture?"
    without = tokens(asked(demo, question=question))
    cost = answerer.picture_cost()
    assert (cost.tiles, cost.prompt_tokens) == (1, cost.image_tokens + 3)
    assert demo.http.get("/v1/models").json()["data"][0]["meta"]["processor"]["splitting"] is False
    small = drawing("colour").images[0]
    for size in ((cost.side, cost.side), (1600, 900), (60, 200)):
        image = small.resize(size)
        for detail in ("low", "auto", "high", "5"):
            body = asked(demo, shown(image, detail), question=question)
            assert tokens(body) - without == cost.prompt_tokens
            assert body["timings"]["vision_tiles"] in (0, 1)  # 0: seen at another detail before


def test_several_pictures_are_seen_apart_and_answered_as_in_the_evaluation(
    demo: EngineProcess, answerer: Any
) -> None:
    from vlmchat.demo.evaluating.messages import message

    for task in ("colour", "pair", "text"):
        one = drawing(task, 1)
        body = asked(demo, *map(shown, one.images), question=one.question)
        here = answerer.ask(message(one.images, one.question, frames=False))
        assert body["timings"]["vision_tiles"] == len(one.images)
        assert (said(body), tokens(body)) == (here.text, here.prompt_tokens)
    first, second = drawing("pair", 2).images
    plain = asked(demo, shown(first), question="What do you see?")
    both = asked(demo, shown(first), shown(second), question="What do you see?")
    assert tokens(both) - tokens(plain) == answerer.picture_cost().prompt_tokens
    assert both["timings"]["vision_tiles"] == 1  # the first was seen before


def test_a_video_file_is_read_as_the_evaluation_shows_a_clip(
    demo: EngineProcess, answerer: Any, tmp_path: Path
) -> None:
    from vlmchat.demo.evaluating.messages import message

    clip = drawing("clip")
    frames = [np.asarray(image) for image in clip.images]
    size = clip.images[0].size
    path = film(tmp_path / "clip.mp4", fps=1, size=size, pictures=frames, gop=1)
    url = data_url("video/mp4", path.read_bytes())
    part = {"type": "video_url", "video_url": {"url": url}}
    body = asked(demo, part, question=clip.question)
    sent = message(clip.images, clip.question, frames=True, videos=answerer.videos)
    here = answerer.ask(sent)
    assert body["timings"]["vision_tiles"] == len(frames) >= 4
    assert tokens(body) == here.prompt_tokens
    assert said(body) and here.text


def test_those_asked_together_are_answered_as_alone(answerer: Any) -> None:
    from vlmchat.demo.evaluating.messages import message

    some = [drawing(task, 3) for task in ("colour", "describe", "pair", "chart-value", "premise")]
    sent = [message(one.images, one.question, frames=False) for one in some]
    together = [(said.text, said.prompt_tokens) for said in answerer.ask_all(sent)]
    alone = [(said.text, said.prompt_tokens) for said in map(answerer.ask, sent)]
    assert together == alone and all(text for text, _ in alone)
