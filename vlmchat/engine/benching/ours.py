"""What is measured of this program's own engine, through the same doors as the chat goes."""

import asyncio
import time
from dataclasses import dataclass, replace
from statistics import median
from threading import Event
from typing import Any, Self

import torch

from vlmchat.chat.messages import Detail, Message
from vlmchat.engine.benching.material import asked, long_text, picture, second_turn
from vlmchat.engine.caching.limits import CacheLimits
from vlmchat.engine.events import Answer
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.native.building import Build
from vlmchat.engine.sampling import SamplingParams
from vlmchat.engine.service import EngineService
from vlmchat.engine.text import choosing
from vlmchat.engine.threads import threads
from vlmchat.engine.vision import encode_tiles
from vlmchat.errors import ModelError
from vlmchat.models.progress import Progress, ProgressSink

_WARMING = 3  # steps before the clock runs


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Attributes:
        seconds: from the question to the end.
        text: what was said.
        answer: what the engine says of it.
    """

    seconds: float
    text: str
    answer: Answer


class Ours:
    """The engine with its model, in this process.

    Args:
        options: what to load.
        progress: is told what loading does.

    Attributes:
        load_seconds: from nothing to ready; the libraries are imported already.
    """

    def __init__(self, options: LoadOptions, progress: ProgressSink) -> None:
        if options.native != "off":
            progress(Progress("starting", "Compiling the native step, if it is not there yet"))
            Build().make()  # else a slower way would be measured until that is done
        self._runner = asyncio.Runner()
        # What earlier runs left on the disk would pass for speed.
        limits = replace(CacheLimits(), disk=0)
        self._service = EngineService(lambda _: load_model(options, progress), limits)
        began = time.perf_counter()
        self._runner.run(self._service.load())
        self.load_seconds = time.perf_counter() - began
        if self._service.loaded is None:
            self.close()
            raise ModelError(self._service.state.text)
        self.loaded: LoadedModel = self._service.loaded
        self._seed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the model."""
        self._service.close()
        self._runner.close()

    def ask(self, messages: list[Message], most: int = 1) -> Reply:
        """Return the answer of at most so many tokens, the likeliest ones."""
        return self._runner.run(self._ask(messages, most))

    async def _ask(self, messages: list[Message], most: int) -> Reply:
        pieces: list[str] = []
        params = SamplingParams(max_tokens=most)
        began = time.perf_counter()
        async for item in self._service.answer(messages, params, Event()):
            if isinstance(item, Answer):
                return Reply(time.perf_counter() - began, "".join(pieces), item)
            if isinstance(item, str):
                pieces.append(item)
        raise AssertionError("an answer has an end")

    def fresh(self, size: tuple[int, int], detail: Detail) -> Message:
        """Return a question about a picture that nobody has seen yet, so that nothing is reused."""
        self._seed += 1
        return asked(picture(*size, seed=self._seed), detail)

    def first_token(self, size: tuple[int, int], detail: Detail, runs: int) -> float:
        """Return the seconds from a picture's bytes to the first token of the answer."""
        return median(self.ask([self.fresh(size, detail)]).seconds for _ in range(runs))

    def follow_up(self, size: tuple[int, int], detail: Detail, runs: int) -> float:
        """Return the seconds to the first token of a second answer about the same picture."""

        def one() -> float:
            first = self.fresh(size, detail)
            said = self.ask([first], most=8).text
            return self.ask(second_turn(first, said)).seconds

        return median(one() for _ in range(runs))

    @torch.inference_mode()
    def encode(self, size: tuple[int, int], detail: Detail, runs: int) -> tuple[float, int]:
        """Return the seconds a tile of vision tower and connector, and how many tiles there are."""
        maker = self.loaded.tile_maker
        times = []
        for _ in range(runs):
            (image,) = self.loaded.builder.build([self.fresh(size, detail)]).images
            raw = maker.raw(image)
            began = time.perf_counter()
            encode_tiles(self.loaded.model, [raw], lambda: None, maker.normalised)
            times.append((self._finished() - began) / len(raw))
        return median(times), image.plan.tiles

    @torch.inference_mode()
    def prefill(self, tokens: int, runs: int) -> float:
        """Return the tokens a second at which a text is read."""
        text, ids = self.loaded.text, self.ids(tokens)

        def one() -> float:
            cache = text.new_cache()
            began = time.perf_counter()
            int(text.prefill(text.embed(ids), cache).argmax())
            return time.perf_counter() - began

        return tokens / median(one() for _ in range(runs))

    @torch.inference_mode()
    def decode(self, context: int, tokens: int) -> float:
        """Return the tokens a second that are said behind so many."""
        text, cache = self.loaded.text, self.loaded.text.new_cache()
        token = int(text.prefill(text.embed(self.ids(context)), cache).argmax())
        began = time.perf_counter()
        for number in range(_WARMING + tokens):
            if number == _WARMING:
                began = time.perf_counter()
            threads.now()  # as `generate` does
            token = int(text.step(token, cache).argmax())
        return tokens / (time.perf_counter() - began)

    def ids(self, count: int) -> list[int]:
        """Return the first tokens of a long text."""
        found: list[int] = self.loaded.tokenizer.encode(long_text(), add_special_tokens=False)
        return [found[index % len(found)] for index in range(count)]

    def _finished(self) -> float:
        """Return the clock's time once the device has done all that it was given."""
        if self.loaded.hardware.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def describe(loaded: LoadedModel) -> dict[str, Any]:
    """Return what is measured, as the first lines of the result."""
    return {
        **loaded.provenance(),
        "title": loaded.folder.title,
        "way": loaded.text.way,
        "why": choosing.describe(loaded.text),
        "threads": threads.most,
        "torch": torch.__version__,
    }
