"""What the chat screen costs: opening and scrolling a long conversation, and a long answer.

Runs the real program's screen in a pseudo-terminal and watches its event loop: a frame is the time
for which the loop could do nothing else.

    python benchmarks/chat_screen.py
    python benchmarks/chat_screen.py --messages 10000 --tokens 20000
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect

if TYPE_CHECKING:
    from vlmchat.tui.app import ChatApp

COLUMNS, ROWS = 120, 40
RATE = 400.0  # tokens per second of the made-up answer
PARAGRAPHS = (
    "The picture shows **three circles** on a plain ground, and the largest of them is red. ",
    "\n\n- a first thing that can be seen\n- a second one, with `code` in it\n- a third one\n\n",
    "\n\n```python\ndef area(radius: float) -> float:\n    return 3.14159 * radius**2\n```\n\n",
    "\n\n## What it means\n\nNothing here is certain, but the colours are told apart easily. ",
)


@dataclass
class Loop:
    """Watches how long the event loop is held up."""

    gaps: list[float] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    async def _tick(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            self.gaps.append(time.perf_counter() - before - 0.001)

    def start(self) -> None:
        """Begin to watch."""
        self.gaps.clear()
        self.task = asyncio.create_task(self._tick())

    def stop(self) -> list[float]:
        """Return how long it was held up, each time, in seconds."""
        assert self.task is not None
        self.task.cancel()
        return list(self.gaps)


def fill(folder: Path, messages: int) -> None:
    """Write one conversation of so many messages into a new database."""
    from vlmchat.chat.conversation import Conversation, Entry, Provenance
    from vlmchat.chat.messages import Message, TextPart
    from vlmchat.store.store import Store

    chance = random.Random(7)
    made = Provenance(
        {"model": "HuggingFaceTB/SmolVLM2-256M-Video-Instruct", "quantization": "8bit"},
        {"temperature": 0.7, "top_p": 0.9, "seed": 7, "max_new_tokens": 512},
        finish_reason="stop",
        prompt_tokens=812,
        completion_tokens=120,
        timings={"prompt_ms": 412.5, "predicted_ms": 1300.25, "predicted_per_second": 92.3},
    )
    entries = []
    for number in range(messages):
        role = "assistant" if number % 2 else "user"
        text = "".join(chance.choices(PARAGRAPHS, k=chance.randint(1, 5)))
        entries.append(
            Entry(
                f"m{number}",
                f"m{number - 1}" if number else None,
                Message("assistant" if number % 2 else "user", (TextPart(text),)),
                "model" if role == "assistant" else "person",
                created=1.0 + number,
                provenance=made if role == "assistant" else None,
            )
        )
    conversation = Conversation("long", "Long", tip=f"m{messages - 1}", entries=tuple(entries))
    with Store(folder) as store:
        store.restore(conversation)


class Pretended:
    """An engine's client that says the same at a given speed."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.marks: list[tuple[int, float, float]] = []
        self.said = asyncio.Event()

    async def chat(self, *_: object, **__: object) -> AsyncGenerator[Any, None]:
        """Answer anything."""
        from vlmchat.client.protocol import Finished, TextDelta

        text = "".join(random.Random(3).choices(PARAGRAPHS, k=self.tokens))
        began = time.perf_counter()
        for number in range(self.tokens):
            if number % 500 == 0:
                self.marks.append((number, time.perf_counter(), time.process_time()))
            wait = began + number / RATE - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            yield TextDelta(text[number * 4 : number * 4 + 4])
        self.marks.append((self.tokens, time.perf_counter(), time.process_time()))
        self.said.set()
        yield Finished("stop", None)


async def measure(app: "ChatApp", pretended: Pretended) -> dict[str, Any]:
    """Drive the running app and return what was measured."""
    from vlmchat.tui.screens.chat import ChatScreen
    from vlmchat.tui.widgets.transcript import Transcript

    screen = app.screen_stack[0]
    assert isinstance(screen, ChatScreen)
    await asyncio.sleep(3.0)
    assert screen.session.engine.status.stage == "ready"
    found: dict[str, Any] = {}
    loop = Loop()
    transcript = screen.query_one(Transcript)
    opened, held = [], []
    for _ in range(5):
        await screen.new_conversation()
        await asyncio.sleep(0.3)
        loop.start()
        began = time.perf_counter()
        await screen.conversations.open(1)
        drawn = asyncio.Event()
        screen.call_after_refresh(drawn.set)
        await drawn.wait()
        opened.append(time.perf_counter() - began)
        await asyncio.sleep(0.5)
        held.append(max(loop.stop()))
    found["open"], found["open_frames"] = opened, held
    loop.start()
    moves = 0
    for direction, count in ((-1, 150), (1, 60), (-1, 60)):
        for _ in range(count):
            screen.action_page(direction)
            moves += 1
            await asyncio.sleep(0.03)
    found["scroll"] = loop.stop()
    loop.start()
    for place in (0.5, 0.1, 0.9, 0.3, 0.0):
        transcript.scroll_to(y=transcript.max_scroll_y * place, animate=False)
        await asyncio.sleep(0.6)
    found["jump"] = loop.stop()
    found["widgets"] = len(transcript.children)
    await screen.new_conversation()
    await asyncio.sleep(0.5)
    loop.start()
    screen.session.submit("Tell me everything.")
    await pretended.said.wait()
    found["stream"] = loop.stop()
    found["marks"] = pretended.marks
    loop.start()
    await asyncio.sleep(2)
    found["end"] = max(loop.stop())
    return found


def inside(home: Path, tokens: int) -> None:
    """Be the program in the pseudo-terminal."""
    os.environ["VLMCHAT_HOME"] = str(home)
    from vlmchat.client.protocol import EngineStatus, ModelInfo
    from vlmchat.talk.engine_keeper import NoEngine
    from vlmchat.tui.app import ChatApp

    pretended = Pretended(tokens)

    class Keeper(NoEngine):
        def __init__(self) -> None:
            super().__init__()
            self.status = EngineStatus("ready", model=ModelInfo("m", "Model"))

        @property
        def client(self) -> Any:  # noqa: ANN401 - stands for an HTTP client
            return pretended

        @property
        def model(self) -> ModelInfo | None:
            return self.status.model

        async def wait_ready(self) -> None:
            return

    class Measured(ChatApp):
        async def _measure(self) -> None:
            try:
                found: dict[str, Any] = await measure(self, pretended)
            except Exception as error:
                found = {"error": repr(error)}
            (home / "found.json").write_text(json.dumps(found), "utf-8")
            self.exit()

        def on_ready(self) -> None:
            self.run_worker(self._measure(), group="measure")

    Measured(keeper=lambda _: Keeper()).run()


def outside(messages: int, tokens: int) -> dict[str, Any]:
    """Run the program in a pseudo-terminal, its output read and thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        data = home / "data"
        data.mkdir()
        fill(data, messages)
        child = pexpect.spawn(
            sys.executable,
            [__file__, "--inside", str(home), "--tokens", str(tokens)],
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            dimensions=(ROWS, COLUMNS),
            timeout=None,
        )
        while child.isalive():
            try:
                child.read_nonblocking(65536, timeout=0.2)
            except (pexpect.TIMEOUT, pexpect.EOF):
                continue
        found: dict[str, Any] = json.loads((home / "found.json").read_text("utf-8"))
    return found


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def report(found: dict[str, Any], messages: int) -> None:
    print(
        f"opening {messages} messages: median {statistics.median(found['open']) * 1e3:.0f} ms, "
        f"worst {max(found['open']) * 1e3:.0f} ms (asked: 300 ms), "
        f"longest frame {max(found['open_frames']) * 1e3:.0f} ms"
    )
    for name, what in (("scroll", "scrolling by pages"), ("jump", "jumping by the scrollbar")):
        gaps = found[name]
        print(
            f"{what}: longest frame {max(gaps) * 1e3:.0f} ms, "
            f"99.9 % under {quantile(gaps, 0.999) * 1e3:.0f} ms (asked: 50 ms)"
        )
    print(f"turns that exist as widgets at the end: {found['widgets']}")
    marks = found["marks"]
    costs = [
        (cpu - before_cpu) / (number - before) * 1e3
        for (before, _, before_cpu), (number, _, cpu) in pairwise(marks)
    ]
    print(f"streaming {marks[-1][0]} tokens, processor time per token of the whole chat process:")
    quarter = max(1, len(costs) // 4)
    print(
        f"  first quarter {statistics.mean(costs[:quarter]):.2f} ms, "
        f"last quarter {statistics.mean(costs[-quarter:]):.2f} ms (asked: 1 ms)"
    )
    seconds = marks[-1][1] - marks[0][1]
    print(f"  {marks[-1][0] / seconds:.0f} tokens/s shown of {RATE:.0f} tokens/s sent")
    print(
        f"  longest frame {max(found['stream']) * 1e3:.0f} ms, at the end {found['end'] * 1e3:.0f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tokens < 2000:
        parser.error("--tokens 2000 is the least that can be measured")
    if options.inside:
        inside(options.inside, options.tokens)
        return
    found = outside(options.messages, options.tokens)
    if "error" in found:
        raise SystemExit(found["error"])
    report(found, options.messages)


if __name__ == "__main__":
    main()
