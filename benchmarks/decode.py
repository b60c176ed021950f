"""How fast single tokens are written, beside transformers' ``generate`` on the same weights.

Builds SmolVLM's architecture in the 256M text shape with random bfloat16 weights, and lets every
way to run the text model write greedy tokens behind contexts of some lengths; the ways take turns.
The last column compares with what memory allows: a step reads every weight and every key and value
once, as fast as a plain sum reads as many bytes.

    python benchmarks/decode.py
    python benchmarks/decode.py --only generate,native-4 --contexts 100 --rounds 5
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch

from tests.text_models import TEXTS, library_model, text_shape
from vlmchat.engine.hardware import use_threads
from vlmchat.engine.native.building import Build
from vlmchat.engine.native.text import NativeText
from vlmchat.engine.text.model import TextShape
from vlmchat.engine.text.weights import ModelWeights

REFERENCE = "generate"
TOKENS = 32
# What is asked of a way at the contexts 100, 1200 and 4000: so many times the reference.
BARS = {"native-4": (12, 10, 6), "native-8": (8, 6, 4), "portable-4": (2.5, 2, 1.5)}
LIMIT_BARS = {"native-4": 0.6}
CONTEXTS = (100, 1200, 4000)

# Seconds a token, for some tokens behind a context.
Way = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Line:
    """One way at one context.

    Attributes:
        rate: tokens a second: the median round.
        ratio: to the reference in the same run.
        limit: the rate that reading memory allows, if known.
        reached: of all bars.
    """

    way: str
    context: int
    rate: float
    ratio: float
    limit: float
    reached: bool

    def __str__(self) -> str:
        of_limit = f"{self.rate / self.limit:6.0%} of {self.limit:.0f}" if self.limit else ""
        verdict = "" if self.reached else "  MISSED"
        return (
            f"{self.way:<12} at {self.context:>5}: {self.rate:7.1f} tok/s {self.ratio:6.2f}×"
            f" {of_limit}{verdict}"
        )


class Clock:
    """A streamer that notes when tokens come; the first call is the prompt."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _value: Any) -> None:  # noqa: ANN401 - the library's tensors
        """Note the time."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is left to say."""


def generate(model: Any, context: int) -> float:  # noqa: ANN401 - the library's model
    """Return the seconds a token of transformers' greedy search."""
    ids = torch.randint(5, 40000, (1, context), generator=torch.Generator().manual_seed(context))
    clock = Clock()
    model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        min_new_tokens=TOKENS,
        max_new_tokens=TOKENS,
        streamer=clock,
    )
    return (clock.times[-1] - clock.times[2]) / (len(clock.times) - 3)


@torch.inference_mode()
def write(text: Any, context: int) -> float:  # noqa: ANN401 - any TextModel with a KVCache
    """Return the seconds a token of one of our ways, the choice of the token included."""
    cache = text.new_cache()
    cache.reserve(context + TOKENS)
    cache.data.normal_()
    cache.length = context
    token = 5
    began = 0.0
    for index in range(TOKENS):
        if index == 2:
            began = time.perf_counter()
        token = int(text.step(token, cache).argmax())
    return (time.perf_counter() - began) / (TOKENS - 2)


def read_rate(size: int) -> float:
    """Return how many bytes a second are read of so many bytes, at best."""
    values = torch.ones(size // 4)
    best = float("inf")
    for _ in range(8):
        began = time.perf_counter()
        values.sum()
        best = min(best, time.perf_counter() - began)
    return size / best


def bytes_read(text: Any, shape: TextShape, context: int) -> int:  # noqa: ANN401 - any TextModel
    """Return how many bytes a step reads, 0 if a way does not say how large its weights are."""
    size = getattr(text, "nbytes", 0)
    values = shape.layers * 2 * shape.kv_heads * shape.head_dim * (context + TOKENS // 2)
    return int(size + values * text.new_cache().data.itemsize) if size else 0


def portable(weights: ModelWeights) -> dict[str, Any]:
    """Return the ways without a compiler."""
    from vlmchat.engine.text.portable import PortableText

    return {f"portable-{bits}": PortableText(weights, bits) for bits in (4, 8, 16)}


def texts(weights: ModelWeights, threads: int, variant: str) -> dict[str, Any]:
    """Return our own ways by name."""
    found = Build(variant).make()
    if found.library is None:
        print(found.reason)
        return {}
    library = found.library
    made = {f"native-{bits}": NativeText(weights, library, bits, threads) for bits in (4, 8, 16)}
    print(f"compiled for {library.variant}")
    return made


def compare(
    ways: dict[str, Any],
    model: Any,  # noqa: ANN401 - the library's model
    shape: TextShape,
    contexts: list[int],
    rounds: int,
) -> list[Line]:
    runs: dict[str, Way] = {REFERENCE: partial(generate, model)}
    runs |= {name: partial(write, text) for name, text in ways.items()}
    lines = []
    for context in contexts:
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                seconds[name].append(run(context))
        rates = {name: 1 / statistics.median(times) for name, times in seconds.items()}
        for name, rate in rates.items():
            size = bytes_read(ways[name], shape, context) if name in ways else 0
            limit = read_rate(size) / size if size else 0.0
            ratio = rate / rates[REFERENCE]
            asked = dict(zip(CONTEXTS, BARS.get(name, ()), strict=False)).get(context, 0)
            reached = ratio >= asked and rate >= limit * LIMIT_BARS.get(name, 0)
            lines.append(Line(name, context, rate, ratio, limit, reached))
            print(lines[-1], flush=True)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=list(TEXTS), default="256M")
    parser.add_argument("--contexts", default=",".join(map(str, CONTEXTS)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--only", default="", help="names of ways, as native-4,portable-8")
    parser.add_argument("--variant", default="", help="of the native step: avx512 or avx2")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    threads = use_threads(options.threads)
    shape = text_shape(options.shape)
    model = library_model(shape)
    model.generation_config.eos_token_id = None
    weights = ModelWeights(model)
    ways = {**texts(weights, threads, options.variant), **portable(weights)}
    if options.only:
        ways = {name: way for name, way in ways.items() if name in options.only.split(",")}
    contexts = [int(context) for context in options.contexts.split(",")]
    lines = compare(ways, model, shape, contexts, options.rounds)
    if options.json:
        print(json.dumps([asdict(line) for line in lines]))
    return 0 if all(line.reached for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
