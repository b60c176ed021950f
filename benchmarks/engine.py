"""How fast answers begin and go on, beside transformers' ``generate``, each in one run.

Builds a model of SmolVLM-256M's shape with random weights. One side is this program's engine as the
chat uses it; the other is transformers' ``generate`` in bfloat16, with the library's own processor
for the pixels. Both get the same pictures (except where its default is what is compared), the same
prompts and the likeliest tokens; they take turns, and medians are compared with what is asked.
Memory and start are measured in processes of their own, the start with the demo model.

    python benchmarks/engine.py --runs 3
    python benchmarks/engine.py --only first-13,second
    python benchmarks/engine.py --only decode --native off
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.key_latency import build
from vlmchat.chat.messages import Detail, Message, TextPart, user_message
from vlmchat.engine.benching.library import Library
from vlmchat.engine.benching.material import asked, picture, second_turn
from vlmchat.engine.benching.memory import peak_bytes
from vlmchat.engine.benching.ours import Ours
from vlmchat.engine.loading import LoadOptions
from vlmchat.engine.threads import threads

SMALL, LARGE = (512, 512), (2048, 1536)
DECODED = 48
BUSY = "import os\nos.setsid()\nwhile True: pass"
SETTLE_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Line:
    """One figure beside its bar.

    Attributes:
        ours: seconds, tokens a second or bytes.
        theirs: the same of the other side.
        ratio: by how much ours is better; below 1 where it is worse.
        asked: at least so much.
    """

    name: str
    ours: float
    theirs: float
    ratio: float
    asked: float

    def __str__(self) -> str:
        verdict = "reached" if self.ratio >= self.asked else "MISSED"
        figures = f"{self.ours:10.3f} {self.theirs:10.3f} {self.ratio:8.2f}×"
        return f"{self.name:<44} {figures}  (asked: {self.asked:g}×) {verdict}"


def model_256m(folder: Path) -> Path:
    """Write a model of SmolVLM-256M's shape, its pictures cut as the real one's are."""
    if (folder / "model.safetensors").exists():
        return folder
    build(folder)
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    settings |= {"max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048}}
    file.write_text(json.dumps(settings))
    (folder / "processor_config.json").write_text(
        json.dumps({"image_seq_len": 64, "processor_class": "SmolVLMProcessor"})
    )
    return folder


class Sides:
    """Both sides with their models loaded, and how often each figure is taken."""

    def __init__(self, folder: Path, quant: str, native: str, runs: int) -> None:
        self.runs = runs
        self.ours = Ours(LoadOptions(str(folder), quant, native=native), lambda _: None)
        self.library = Library(LoadOptions(str(folder)), lambda _: None)
        self._seed = 100_000  # no side has seen these
        self.ours.first_token(SMALL, "low", 1)
        self.library.first_token(SMALL, "low", 1)

    def fresh(self, size: tuple[int, int], detail: Detail) -> Message:
        """Return a question about a picture that nobody has seen yet."""
        self._seed += 1
        return asked(picture(*size, seed=self._seed), detail)

    def compared(
        self,
        name: str,
        bar: float,
        mine: Callable[[], float],
        theirs: Callable[[], float],
    ) -> Line:
        """Return a line of medians; `mine` and `theirs` take turns."""
        found: tuple[list[float], list[float]] = ([], [])
        for _ in range(self.runs):
            found[0].append(mine())
            found[1].append(theirs())
        ours, other = map(statistics.median, found)
        return Line(name, ours, other, other / ours, bar)


# The lines ----------------------------------------------------------------------------------------


def first(sides: Sides, size: tuple[int, int], detail: Detail, name: str, bar: float) -> Line:
    def mine() -> float:
        return sides.ours.ask([sides.fresh(size, detail)]).seconds

    def theirs() -> float:
        default: Detail = "high" if detail == "auto" else detail
        return sides.library.ask([sides.fresh(size, default)])[0]

    return sides.compared(name, bar, mine, theirs)


def second(sides: Sides) -> Iterator[Line]:
    """Yield the lines of what comes after a first answer about a picture of 13 tiles."""
    told: dict[str, list[list[Message]]] = {}
    taken: dict[str, list[float]] = {}

    def note(name: str, messages: list[Message]) -> str:
        reply = sides.ours.ask(messages)
        taken.setdefault(name, []).append(reply.seconds)
        told.setdefault(name, []).append(messages)
        return reply.text

    for _ in range(sides.runs):
        question = sides.fresh(LARGE, "high")
        said = sides.ours.ask([question], most=16).text or "A street."
        turns = second_turn(question, said)
        again = sides.ours.ask(turns, most=16).text or "A wall."
        note("regenerate", turns)
        note("edit last turn", [*turns[:2], user_message("Which colours are there?")])
        sibling = [question, Message("assistant", (TextPart("Another answer to it."),)), turns[2]]
        note("switch sibling", sibling)
        note("switch back", turns)
        more = Message("assistant", (TextPart(again),))
        note("new picture at 900 tokens", [*turns, more, sides.fresh(SMALL, "low")])
        question = sides.fresh(LARGE, "high")
        said = sides.ours.ask([question], most=16).text or "A street."
        note("second question", second_turn(question, said))
    for name, rows in told.items():
        other = statistics.median(sides.library.ask(messages)[0] for messages in rows[-1:])
        ours = statistics.median(taken[name])
        bar = 8.0 if name.startswith("new picture") else 60.0
        yield Line(name, ours, other, other / ours, bar)


def decode(sides: Sides) -> Iterator[Line]:
    """Yield the lines of tokens a second, for the way that runs here."""
    way = sides.ours.loaded.text.way
    bars = {100: 2.5, 1200: 2.0, 4000: 1.5}
    if way.startswith("native"):
        bars = {100: 12.0, 1200: 10.0, 4000: 6.0} if "4" in way else {100: 8, 1200: 6, 4000: 4}
    for context, bar in bars.items():
        pairs = [
            (sides.ours.decode(context, DECODED), sides.library.decode(context, DECODED))
            for _ in range(sides.runs)
        ]
        ours, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        yield Line(f"decode, {way}, context {context}", ours, other, ours / other, bar)


def busy(sides: Sides) -> Iterator[Line]:
    """Yield what is left of the speed while two other processes, of another session, compute."""

    def figures() -> tuple[float, float]:
        started = time.perf_counter()
        while time.perf_counter() - started < SETTLE_SECONDS:
            sides.ours.decode(16, 8)
        return sides.ours.decode(100, DECODED), 1 / sides.ours.first_token(SMALL, "low", 2)

    idle = figures()
    with neighbours(2):
        crowded = figures()
        left = threads.now()
        fixed = crowded_without(sides)
    names = ("decode while two others are busy", "first token while two others are busy")
    for name, here, alone in zip(names, crowded, idle, strict=True):
        yield Line(f"{name} ({left} threads)", here, alone, here / alone, 0.25)
    yield Line("  the same decode with threads that stay", fixed, idle[0], fixed / idle[0], 0.0)


def crowded_without(sides: Sides) -> float:
    """Return the tokens a second with as many threads as on an idle machine."""
    most = threads.most
    threads.use(most)
    try:
        return sides.ours.decode(100, 12)
    finally:
        threads.use(0, most)


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep so many processes of other sessions busy."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


# In processes of their own ------------------------------------------------------------------------


def memory(folder: Path, quant: str) -> Line:
    ours, other = (
        own_process("memory-ours", folder, quant),
        own_process("memory-library", folder, quant),
    )
    return Line("peak memory, 13 tiles (MB)", ours / 1e6, other / 1e6, other / ours, 1 / 0.75)


def start(quant: str, runs: int) -> Line:
    """Return the seconds from nothing to an answer of the demo model about a picture."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs + 1):
        for side, times in zip(("ours", "library"), found, strict=True):
            began = time.perf_counter()
            own_process(f"start-{side}", Path("demo"), quant)
            times.append(time.perf_counter() - began)
    ours, other = (statistics.median(times[1:]) for times in found)  # the first warms the disk
    return Line("load to first answer, demo model", ours, other, other / ours, 1.0)


def own_process(what: str, folder: Path, quant: str) -> float:
    command = [sys.executable, __file__, "--child", what, "--model", str(folder), "--quant", quant]
    environment = {**os.environ, **child_environment()}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.strip().splitlines()[-1])


def child_environment() -> dict[str, str]:
    """Return what the chat sets for its engine."""
    from vlmchat.wire import ENGINE_ENVIRONMENT

    return dict(ENGINE_ENVIRONMENT)


def child(what: str, model: str, quant: str) -> float:
    """Do what `own_process` asks for."""
    kind, _, side = what.partition("-")
    options = LoadOptions(model, quant if side == "ours" else "none", "cpu")
    size = LARGE if kind == "memory" else SMALL
    detail: Detail = "high" if kind == "memory" else "low"
    question = [asked(picture(*size, seed=1), detail)]
    most = 32 if kind == "memory" else 8
    engine: Any = (Ours if side == "ours" else Library)(options, lambda _: None)
    engine.ask(question, most)
    return float(peak_bytes())


# --------------------------------------------------------------------------------------------------


def lines(names: set[str], folder: Path, quant: str, native: str, runs: int) -> Iterator[Line]:
    """Yield the lines that are asked for."""
    made: list[Sides] = []

    def sides() -> Sides:
        if not made:
            made.append(Sides(model_256m(folder), quant, native, runs))
        return made[0]

    one: dict[str, Callable[[], Line]] = {
        "memory": lambda: memory(model_256m(folder), quant),
        "start": partial(start, quant, runs),
        "first-1": lambda: first(sides(), SMALL, "low", "first token, 1 tile", 1.3),
        "first-13": lambda: first(sides(), LARGE, "high", "first token, 13 tiles", 1.3),
        "first-386": lambda: first(sides(), (386, 386), "auto", "first token, 386×386 auto", 10.0),
    }
    several = {"second": second, "decode": decode, "busy": busy}
    for name, make in one.items():
        if name in names:
            yield make()
    for name, make_all in several.items():
        if name in names:
            yield from make_all(sides())


NAMES = ("memory", "start", "first-1", "first-13", "first-386", "second", "decode", "busy")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(NAMES), help=", ".join(NAMES))
    parser.add_argument("--quant", default="auto")
    parser.add_argument("--native", choices=["auto", "off"], default="auto")
    parser.add_argument("--model", default="", help="folder to build in, and to find it again")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(child(options.child, options.model, options.quant))
        return 0
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(options.model or name)
        print(f"{'':<44} {'vlmchat':>10} {'other':>10}")
        names = set(options.only.split(","))
        for line in lines(names, folder, options.quant, options.native, options.runs):
            print(line, flush=True)
            missed += line.ratio < line.asked
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
