"""Answers that are made together are those that each would be alone, and the urgent go first."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import encoded
from vlmchat.chat.messages import Message, user_message
from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.events import Answer, Reading
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.sampling import SamplingParams
from vlmchat.engine.service import EngineService
from vlmchat.errors import MediaError
from vlmchat.media.images import media_from_bytes

COLOURS = ("red", "green", "blue", "orange", "purple", "teal", "black", "gold", "grey", "pink")


class Several:
    """A text model as it is, that says it reads tokens of so many sequences for the price of one.

    Args:
        text: what computes.
        together: so many.
    """

    way = "several"

    def __init__(self, text: Any, together: int) -> None:
        self._text, self.together = text, together
        self.sizes: list[int] = []
        self.stepped = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._text, name)

    def steps(self, tokens: Sequence[int], caches: Sequence[Any]) -> Any:
        self.sizes.append(len(tokens))
        self.stepped.set()
        return self._text.steps(tokens, caches)


@asynccontextmanager
async def serving(folder: Path, together: int = 4) -> AsyncIterator[tuple[EngineService, Several]]:
    """Yield a service with the model of a folder loaded."""

    def load(_: object) -> LoadedModel:
        options = LoadOptions(str(folder), "none", "cpu", dtype="float32", native="off")
        loaded = load_model(options, lambda _: None)
        return replace(loaded, text=Several(loaded.text, together))

    service = EngineService(load)
    await service.load()
    assert service.loaded is not None, service.state
    text: Any = service.loaded.text
    yield service, text
    service.close()


def question(number: int) -> list[Message]:
    """Return a question about a picture that no other number has."""
    width = 40 + 30 * (number % 3)
    picture = media_from_bytes(encoded("PNG", width, 40, COLOURS[number]), f"{number}.png")
    return [user_message("What " + "is " * (number % 4) + "this?", (picture,), "low")]


async def ask(
    service: EngineService,
    messages: list[Message],
    most: int = 12,
    priority: int = 0,
    cancel: threading.Event | None = None,
    params: SamplingParams | None = None,
) -> tuple[str, Answer]:
    params = params or SamplingParams(max_tokens=most)
    pieces: list[str] = []
    answer = service.answer(messages, params, cancel or threading.Event(), priority=priority)
    async for item in answer:
        if isinstance(item, Answer):
            return "".join(pieces), item
        if not isinstance(item, Reading):
            pieces.append(item)
    raise AssertionError("an answer has an end")


async def test_together_as_alone(tiny_model: Path) -> None:
    async with serving(tiny_model) as (service, _):
        alone = [await ask(service, question(number)) for number in range(10)]
    assert len({text for text, _ in alone}) == 10
    async with serving(tiny_model) as (service, text):
        sampled = SamplingParams(max_tokens=12, temperature=1.0, seed=5)
        guessed = SamplingParams(max_tokens=12, prompt_lookup=True)
        good = media_from_bytes(encoded("PNG", 40, 40), "broken.png")
        broken = replace(good, read=lambda: b"not a picture at all", sha256="0" * 64)
        jobs = [ask(service, question(number)) for number in range(9)]
        jobs += [
            ask(service, question(9), params=guessed),
            ask(service, question(3), params=sampled),
            ask(service, [user_message("What?", (broken,), "low")]),
        ]
        *ended, failed = await asyncio.gather(*jobs, return_exceptions=True)
        *together, chance = [one for one in ended if not isinstance(one, BaseException)]
        assert [text for text, _ in together] == [text for text, _ in alone]
        assert max(text.sizes) == 4, "as many as pay, and no more"
        assert isinstance(failed, MediaError)
        again = await ask(service, question(3), params=sampled)
        assert chance[0] == again[0]
        assert again[1].cached_tokens > 0, "what was read together is known afterwards"
        # Pictures that waited were looked at beside others: each tile once all the same.
        tiles = [answer.timings.vision_tiles for _, answer in together]
        assert sum(tiles) < len(tiles)


async def test_stopping_one_leaves_the_others(tiny_model: Path) -> None:
    async with serving(tiny_model) as (service, text):
        alone = (await ask(service, question(0), 60))[0]
        stop, other = threading.Event(), threading.Event()
        text.stepped.clear()
        jobs = [
            asyncio.create_task(ask(service, question(0), 60)),
            asyncio.create_task(ask(service, question(1), 4000, cancel=stop)),
            asyncio.create_task(ask(service, question(2), 4000)),
            *(asyncio.create_task(ask(service, question(3), 4000)) for _ in range(2)),
            asyncio.create_task(ask(service, question(4), 4000, cancel=other)),  # waits
        ]
        await asyncio.to_thread(text.stepped.wait, 30)
        stop.set()
        other.set()
        for job in jobs[2:5]:
            job.cancel()  # whoever hangs up
        ended = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 60)
        assert isinstance(ended[0], tuple) and ended[0][0] == alone
        assert all(isinstance(ended[number], CancelledError) for number in (1, 5))
        after = (await ask(service, question(0), 60))[0]
        assert after == alone


@pytest.mark.parametrize("together", [1, 3])
async def test_the_urgent_do_not_wait_for_a_batch(tiny_model: Path, together: int) -> None:
    async with serving(tiny_model, together) as (service, _):
        ended: list[str] = []
        begun = asyncio.Event()

        async def one(name: str, number: int, most: int, priority: int) -> None:
            await ask(service, question(number), most, priority)
            ended.append(name)
            begun.set()

        batch = [asyncio.create_task(one("batch", 1 + n % 8, 150, 1)) for n in range(8)]
        await begun.wait()
        # Other work of the same thread has its turn in the midst of it, too.
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(service._worker, ended.append, "work")
        await one("person", 0, 10, 0)
        await asyncio.gather(*batch)
        assert ended.index("work") < 5
        assert ended.index("person") <= 1 + 1 + together, "at most those that were being ended"


async def test_closing_ends_what_waits(tiny_model: Path) -> None:
    async with serving(tiny_model) as (service, text):
        text.stepped.clear()
        jobs = [asyncio.create_task(ask(service, question(n), 4000)) for n in range(6)]
        await asyncio.to_thread(text.stepped.wait, 30)
        service.close()
        ended = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 30)
        assert all(isinstance(one, CancelledError) for one in ended)
