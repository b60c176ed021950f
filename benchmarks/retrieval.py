"""Finding drawn scenes by their captions, and captions by their scenes, with the demo model.

Each caption is scored for each picture through the engine's own ``POST /v1/score``, as
``vlmchat find`` does. Of the matrix both directions are told: recall at 1 and 5 against chance, and
against ranking without what is subtracted (the caption's likelihood without a picture, or with a
grey one in its place).

    python benchmarks/retrieval.py --work run                     # draws 200, scores, goes on
    python benchmarks/retrieval.py --work run --seconds 150       # where it was stopped
    python benchmarks/retrieval.py --work run --report            # what is there so far
"""

import argparse
import asyncio
import io
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from vlmchat.chat.messages import Message
from vlmchat.cli.loading import ready_engine
from vlmchat.client.supervisor import EngineOptions
from vlmchat.demo.drawing.examples import lesson, seeded
from vlmchat.retrieve.ranking import ANY, Asker

SEED = 8
CAPTIONS_FILE, ANY_FILE = "scores.jsonl", "any.jsonl"
Matrix = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Recall:
    """The share of queries whose own match is among the first 1, and the first 5."""

    at_1: float
    at_5: float

    @classmethod
    def of(cls, scores: Matrix, right: Sequence[int]) -> "Recall":
        """Return it for a matrix with a query a row, in which the column `right` belongs to it.

        What scores as high as the right one counts as before it.
        """
        own = scores[range(len(right)), right]
        before = (scores >= own[:, None]).sum(1) - 1
        return cls(float((before < 1).mean()), float((before < 5).mean()))

    def __str__(self) -> str:
        return f"{100 * self.at_1:5.1f} %   {100 * self.at_5:5.1f} %"


def drawn(folder: Path, count: int, level: float) -> list[str]:
    """Draw scenes that no two captions fit into `folder`; return their captions, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    captions: list[str] = []
    index = 0
    while len(captions) < count:
        scene = lesson("scene", seeded("describe", "eval", SEED, index), level, "eval")
        index += 1
        caption = next(one.answer for one in scene.asked if one.task == "describe")
        if caption in captions:
            continue
        path = folder / f"{len(captions):03d}.png"
        if not path.exists():
            buffer = io.BytesIO()
            scene.images[0].save(buffer, "PNG")
            path.write_bytes(buffer.getvalue())
        captions.append(caption)
    return captions


async def scored(asker: Asker, work: Path, captions: Sequence[str], seconds: float) -> None:
    """Score the captions, and `ANY`, for each picture that has not been, and for none."""
    begin = time.monotonic()
    names = ["none", "grey", *(f"{index:03d}.png" for index in range(len(captions)))]
    known = {file: read(work, file) for file in (CAPTIONS_FILE, ANY_FILE)}
    for name, (file, sentences) in product(names, ((CAPTIONS_FILE, captions), (ANY_FILE, ANY))):
        if name in known[file] or time.monotonic() - begin > seconds:
            continue
        scores = await asker.scores(about(asker, work, name), sentences)
        row = {"picture": name, "scores": [[one.logprob, one.tokens] for one in scores]}
        with (work / file).open("a") as rows:
            rows.write(json.dumps(row) + "\n")
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)


def about(asker: Asker, work: Path, name: str) -> Message:
    """Return the question about a drawn picture, about none, or about a grey one."""
    if name in ("none", "grey"):
        return replace(asker, prior="text" if name == "none" else "blank").about_nothing()
    return asker.about(work / "pictures" / name)


def read(work: Path, name: str) -> dict[str, Any]:
    """Return the rows that are there, by picture."""
    path = work / name
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["picture"]: np.array(row["scores"]) for row in map(json.loads, lines)}


def report(rows: dict[str, Any], usual: dict[str, Any]) -> str:
    """Return what was found: for the pictures that are there, among all captions.

    Args:
        rows: log-likelihoods and tokens of the captions, by picture.
        usual: the same of the sentences in `ANY`.
    """
    pictures = sorted(name for name in rows if name.endswith(".png") and name in usual)
    own = [int(name.removesuffix(".png")) for name in pictures]
    seen = np.stack([rows[name][:, 0] / rows[name][:, 1] for name in pictures])
    prior = {name: rows[name][:, 0] / rows[name][:, 1] for name in ("none", "grey")}
    ways = {
        "log-likelihood of all tokens": np.stack([rows[name][:, 0] for name in pictures]),
        "a token": seen,
        "a token, less without a picture": seen - prior["none"],
        "a token, less with a grey picture": seen - prior["grey"],
    }
    count, captions = seen.shape
    lines = [f"{count} pictures, {captions} captions; recall at 1 and at 5"]
    lines += ["", _line("captions for a picture", "   @1        @5"), _chance(captions)]
    lines += [_line(name, Recall.of(matrix, own)) for name, matrix in ways.items()]
    # What is subtracted of a caption is the same for all pictures, and changes nothing here.
    among = list(range(count))
    of_any = np.stack([(usual[name][:, 0] / usual[name][:, 1]).mean() for name in pictures])
    ways["a token, less of any sentence"] = seen - of_any[:, None]
    ways["a token, less the captions' mean"] = seen - seen.mean(1, keepdims=True)
    lines += ["", _line("pictures for a caption", "   @1        @5"), _chance(count)]
    lines += [_line(name, Recall.of(matrix[:, own].T, among)) for name, matrix in ways.items()]
    return "\n".join(lines)


def _line(name: str, said: object) -> str:
    return f"{name:36} {said}"


def _chance(count: int) -> str:
    return _line("chance", Recall(1 / count, min(5 / count, 1.0)))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--level", type=float, default=0.0, help="how hard the drawings are, 0…1")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--model", default="demo")
    parser.add_argument("--report", action="store_true", help="of what is there; score nothing")
    given = parser.parse_args()
    if not given.report:
        captions = drawn(given.work / "pictures", given.count, given.level)
        async with ready_engine(EngineOptions(given.model)) as (engine, info):
            asker = Asker(engine.client, videos=info.video)
            await scored(asker, given.work, captions, given.seconds)
    print(report(read(given.work, CAPTIONS_FILE), read(given.work, ANY_FILE)))


if __name__ == "__main__":
    asyncio.run(main())
