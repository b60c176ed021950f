"""Captions of many pictures: this program's engine with several in flight, beside the card's loop.

Builds a model of SmolVLM-256M's shape: the vision tower random, the text model SmolLM2's, as the
demo model has it, so that what is said is language (``--random`` has all weights random, which
needs nothing but parts at ties much sooner). The other side is the loop of the model
card: one picture a ``generate`` call of transformers in bfloat16, the pixels cut by the library's
own processor. Both get the same pictures, the same grid of tiles (one tile of 512 pixels unless
``--detail`` says otherwise), the same prompt and the likeliest tokens, as many of them; they take
turns, a block of pictures each. Both compute in bfloat16, ours by the way that runs here.

Where two captions part, the float32 model says whether it was a tie, by the rule of ``greedy.py``,
and otherwise whose token it says itself: where that is ours, the library's rounding parted them.
With ``--float32`` both sides compute in float32, and whatever parts them then is no rounding of
bfloat16.

With ``--defaults`` each side looks as finely as it does when nothing is said: ours by ``auto``, the
library by its processor's settings, which blow every picture up. Texts are not compared then.

    python benchmarks/batch.py
    python benchmarks/batch.py --count 16 --tokens 32 --in-flight 1
    python benchmarks/batch.py --float32
    python benchmarks/batch.py --defaults --count 4
    python benchmarks/batch.py --steps                    # tokens of several sequences at a time
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch

from benchmarks.engine import model_256m
from benchmarks.greedy import Parting
from vlmchat.batch.flight import gathered
from vlmchat.chat.messages import Detail, Message
from vlmchat.engine.benching.library import Library
from vlmchat.engine.benching.material import asked, picture
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.native.building import Build
from vlmchat.engine.sampling import SamplingParams
from vlmchat.engine.service import EngineService

RATIO, EQUAL = 2.5, 0.98
PROMPT = "Describe this picture in one sentence."
BLOCK = 16
SIZES = ((512, 512), (640, 480), (480, 640), (800, 600))


def captioner(folder: Path) -> Path:
    """Write a model of SmolVLM-256M's shape that speaks: SmolLM2 behind a random tower."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    if (folder / "model.safetensors").exists():
        return folder
    options = LoadOptions("demo", "none", "cpu", dtype="bfloat16", library=True)
    demo = load_model(options, lambda _: None)
    config = SmolVLMConfig.from_pretrained(demo.folder.path)
    vision = {
        **{"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12},
        **{"num_attention_heads": 12, "image_size": 512, "patch_size": 16},
    }
    config = SmolVLMConfig(**{**config.to_dict(), "vision_config": vision, "scale_factor": 4})
    torch.manual_seed(1)
    model = SmolVLMForConditionalGeneration(config).bfloat16()
    words = demo.model.state_dict()
    kept = {name: words[name] for name in words if "text_model" in name or "lm_head" in name}
    model.load_state_dict(kept, strict=False)
    with torch.no_grad():  # pictures as loud as words
        rows = words["model.text_model.embed_tokens.weight"].float()
        projection = model.model.connector.modality_projection.proj.weight
        projection.normal_(std=float(rows.std()) / projection.shape[1] ** 0.5)
    for file in demo.folder.path.iterdir():
        if file.suffix in (".json", ".jinja") and file.name != "config.json":
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings |= {"max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048}}
    settings |= {"do_image_splitting": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    words_of_a_tile = {"image_seq_len": 64, "processor_class": "SmolVLMProcessor"}
    (folder / "processor_config.json").write_text(json.dumps(words_of_a_tile))
    model.save_pretrained(folder)
    return folder


@dataclass(slots=True)
class Side:
    """What one side did: its captions and its seconds."""

    captions: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return len(self.captions) / self.seconds


def question(number: int, detail: Detail) -> list[Message]:
    media = picture(*SIZES[number % len(SIZES)], seed=number)
    return [asked(media, detail, PROMPT)]


class Ours:
    """The engine as the chat uses it, in this process."""

    def __init__(self, options: LoadOptions, most: int, in_flight: int) -> None:
        if options.native != "off":
            Build().make()
        self._params = SamplingParams(max_tokens=most)
        self._in_flight = in_flight
        self._runner = asyncio.Runner()
        self._service = EngineService(lambda _: load_model(options, lambda _: None))
        self._runner.run(self._service.load())
        assert self._service.loaded is not None, self._service.state
        self.loaded: LoadedModel = self._service.loaded

    def captions(self, questions: list[list[Message]]) -> list[str]:
        """Return the captions of some pictures."""
        return self._runner.run(gathered(self._caption, questions, self._in_flight))

    async def _caption(self, messages: list[Message]) -> str:
        pieces = []
        async for item in self._service.answer(messages, self._params, Event(), priority=1):
            if isinstance(item, str):
                pieces.append(item)
        return "".join(pieces)

    def close(self) -> None:
        """Let go of the model."""
        self._service.close()
        self._runner.close()


class Theirs:
    """The model card's loop."""

    def __init__(self, folder: Path, dtype: str, most: int, ends: frozenset[int]) -> None:
        self.library = Library(LoadOptions(str(folder)), lambda _: None)
        if dtype:
            self.library.model.to(getattr(torch, dtype))
        self._most, self._ends = most, ends

    def captions(self, questions: list[list[Message]]) -> list[str]:
        """Return the captions of some pictures, one ``generate`` each."""
        found = [self.library.ask(messages, self._most, self._ends)[1] for messages in questions]
        return [self.text(ids) for ids in found]

    def text(self, ids: list[int]) -> str:
        """Return what tokens say, as the engine shows it."""
        said: str = self.library.tokenizer.decode(ids, skip_special_tokens=True)
        return said.lstrip()

    @torch.inference_mode()
    def logits(self, ids: list[int], messages: list[Message]) -> tuple[list[int], Any]:
        """Return the tokens of a caption, and the logits before each of them."""
        given = torch.tensor([ids])
        out = self.library.model.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            pixel_values=self.library.pixels(messages),
            max_new_tokens=self._most,
            eos_token_id=sorted(self._ends),
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        return out.sequences[0, len(ids) :].tolist(), out.logits


@torch.inference_mode()
def parting(
    caption: str, ours: Ours, theirs: Theirs, exact: LoadedModel, messages: list[Message]
) -> Parting:
    """Return where our caption leaves theirs, and whether that is a tie.

    Our token there is the likeliest that our caption goes on with.
    """
    ids, ends = ours.loaded.builder.build(messages).ids, ours.loaded.end_ids
    other, logits = theirs.logits(ids, messages)

    def fits(tokens: list[int]) -> bool:
        said = theirs.text(tokens)
        if tokens[-1] in ends:
            return caption == said
        said = said.rstrip("\N{REPLACEMENT CHARACTER}")  # of a character that is not whole yet
        return len(said) > len(theirs.text(tokens[:-1])) and caption.startswith(said)

    place = next((at for at in range(len(other)) if not fits(other[: at + 1])), None)
    if place is None:
        return Parting(-1, 0.0, 0.0)
    whole = exact.model(
        input_ids=torch.tensor([ids + other[:place]]),
        pixel_values=theirs.library.pixels(messages).float(),
        logits_to_keep=1,
    )
    precise, rounded = whole.logits[0, -1].float(), logits[place][0].float()
    likely = precise.topk(200).indices
    mine = next(token for token in likely.tolist() if fits([*other[:place], token]))
    off = float((rounded - precise)[likely[:50]].std())
    return Parting(place, float(precise[mine] - precise[other[place]]), off)


def compared(options: argparse.Namespace, folder: Path) -> int:
    dtype = "float32" if options.float32 else ""
    load = LoadOptions(str(folder), options.quant, "cpu", native=options.native, dtype=dtype)
    ours = Ours(load, options.tokens, options.in_flight)
    theirs = Theirs(folder, dtype, options.tokens, ours.loaded.end_ids)
    details: tuple[Detail, Detail] = (options.detail, options.detail)
    if options.defaults:
        details = ("auto", "high")
    sides = (Side(), Side())
    both: tuple[Ours | Theirs, ...] = (ours, theirs)
    for asks, detail in zip(both, details, strict=True):
        asks.captions([question(100_000, detail)])  # warm
    numbers = range(options.first, options.first + options.count)
    for block in (numbers[at : at + BLOCK] for at in range(0, len(numbers), BLOCK)):
        for side, asks, detail in zip(sides, both, details, strict=True):
            questions = [question(number, detail) for number in block]
            began = time.perf_counter()
            side.captions += asks.captions(questions)
            side.seconds += time.perf_counter() - began
    mine, other = sides
    ratio = mine.rate / other.rate
    way = ours.loaded.text.way
    finely = " / ".join(map(str, details))
    print(
        f"{options.count} pictures, {options.tokens} tokens, {options.in_flight} in flight, "
        f"detail {finely}, {way}"
    )
    print(f"pictures a second: vlmchat {mine.rate:.2f}, generate {other.rate:.2f}: {ratio:.2f}×")
    if options.defaults:
        ours.close()
        return 0 if ratio >= RATIO else 1
    share = same_share(options, ours, theirs, sides)
    ours.close()
    return 0 if ratio >= RATIO and share >= EQUAL else 1


def same_share(
    options: argparse.Namespace, ours: Ours, theirs: Theirs, sides: tuple[Side, Side]
) -> float:
    """Print how many captions are equal, and return the share of those that are but for ties.

    Captions where float32 says our token are counted apart: the library is what is compared with.
    """
    pairs = zip(*(side.captions for side in sides), strict=True)
    different = [at for at, (one, two) in enumerate(pairs) if one != two]
    same, ties, right = int(options.count) - len(different), 0, 0
    if different:
        load = LoadOptions(options.model, "none", "cpu", dtype="float32", library=True)
        exact = load_model(load, lambda _: None)
    for at in different[: options.looked_at]:
        messages = question(options.first + at, options.detail)
        found = parting(sides[0].captions[at], ours, theirs, exact, messages)
        tie = found.tie and found.place >= 0  # else theirs are others when made again
        ties += tie
        right += not tie and found.gap > 0
        kind = "a tie" if tie else "as float32 says" if found.gap > 0 else "DIFFERENT"
        print(
            f"{options.first + at:3} {kind} at token {found.place}: gap {found.gap:.4f}, "
            f"bfloat16's error {found.noise:.4f}",
            flush=True,
        )
    looked = min(len(different), options.looked_at)
    print(
        f"captions: {same} of {options.count} equal; of {looked} others {ties} part at a tie, "
        f"and in {right} float32 says our token"
    )
    share: float = (same + ties) / int(options.count)
    print(f"equal but for ties: {share:.1%} (asked: {EQUAL:.0%})")
    return share


def steps(folder: Path, quant: str) -> int:
    """Print how long a token of each of several sequences takes, and what that gives."""
    Build().make()
    loaded = load_model(LoadOptions(str(folder), quant, "cpu"), lambda _: None)
    text, caches = loaded.text, []
    for number in range(16):
        caches.append(text.new_cache())
        text.prefill(text.embed(range(5, 115 + number)), caches[-1])
    alone = 0.0
    for count in (1, 2, 4, 6, 8, 12, 16):
        times = []
        for _ in range(20):
            began = time.perf_counter()
            text.steps([7] * count, caches[:count])
            times.append(time.perf_counter() - began)
        took = statistics.median(times)
        alone = alone or took
        print(
            f"{text.way}: {count:2} sequences {took * 1000:6.2f} ms, {count / took:5.0f} tokens/s, "
            f"{alone * count / took:.2f}×",
            flush=True,
        )
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--detail", default="low")
    parser.add_argument("--quant", default="none")
    parser.add_argument("--native", choices=["auto", "off"], default="auto")
    parser.add_argument("--float32", action="store_true", help="on both sides, not bfloat16")
    parser.add_argument("--defaults", action="store_true")
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--random", action="store_true", help="the text model's weights, too")
    parser.add_argument("--looked-at", type=int, default=64, help="differences that are explained")
    parser.add_argument("--model", default="", help="folder to build in, and to find it again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = (model_256m if options.random else captioner)(Path(options.model or name))
        options.model = str(folder)
        return steps(folder, options.quant) if options.steps else compared(options, folder)


if __name__ == "__main__":
    sys.exit(main())
