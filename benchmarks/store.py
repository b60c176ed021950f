"""How fast conversations are opened and searched.

Fills a new database and prints medians beside what is asked of them: a conversation of 10 000
messages opened, 2 000 conversations searched, and one step of a streaming reply saved.

    python benchmarks/store.py --runs 9
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vlmchat.chat.messages import Message, TextPart, user_message
from vlmchat.store.store import Store

WORDS = [
    *("picture", "circle", "red", "blue", "star", "chart", "value", "highest"),
    *("label", "describe", "left", "right", "above", "below", "photo", "street"),
    *("night", "garden", "window", "table", "cup", "bird", "river", "mountain"),
    *("cloud", "letter", "number", "small"),
]


def sentence(chance: random.Random, words: int = 30) -> str:
    return " ".join(chance.choices(WORDS, k=words))


def fill(store: Store, chance: random.Random, conversations: int, long: int) -> int:
    """Write the conversations and return the long one's id."""
    for number in range(conversations):
        thread = store.new_thread(f"Conversation {number}")
        tip: int | None = None
        for _ in range(4):
            tip = store.add(thread, tip, user_message(sentence(chance)), author="person")
            answer = Message("assistant", (TextPart(sentence(chance, 60)),))
            tip = store.add(thread, tip, answer, author="model")
    thread = store.new_thread("Long")
    tip = None
    for _ in range(long):
        tip = store.add(thread, tip, user_message(sentence(chance)), author="person")
    needle = Message("assistant", (TextPart("a zeppelin over the harbour"),))
    store.add(thread, tip, needle, author="model")
    return thread


def median_ms(runs: int, work: Callable[[], object]) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--conversations", type=int, default=2000)
    parser.add_argument("--long", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder)) as store:
        thread = fill(store, random.Random(1), options.conversations, options.long)
        tip = store.thread(thread).tip
        assert tip is not None
        empty = Message("assistant", (TextPart(""),))
        reply = store.add(thread, tip, empty, author="model", state="streaming")
        text = sentence(random.Random(2), 4000)
        rows: list[tuple[str, int, Callable[[], object]]] = [
            (f"open a conversation of {options.long} messages", 300, lambda: store.path(thread)),
            ("list the conversations", 50, store.threads),
            ("search for a rare word", 50, lambda: store.search("zeppelin")),
            ("search for a word in most messages", 50, lambda: store.search("circle")),
            ("search for two words, the second half typed", 50, lambda: store.search("red ci")),
            ("save a step of a reply of 25 kB", 10, lambda: store.grow(reply, text)),
        ]
        for name, allowed, work in rows:
            print(f"{median_ms(options.runs, work):8.1f} ms  (asked: {allowed} ms)  {name}")


if __name__ == "__main__":
    main()
