"""A batch that is killed again and again ends with every picture exactly once, in order.

Runs ``vlmchat batch`` on drawn pictures against an engine that goes on, and kills it (SIGKILL)
at a random moment, from its start to some answers later, so often; some of the pictures are broken.
At the end the file must have a row for each picture, in order, and each answer must be the one
that an undisturbed run gives.

    python benchmarks/batch_kills.py --kills 20
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.engine_process import TOKEN, EngineProcess
from tests.pictures import saved
from tests.tiny import build_tiny

COMMAND = [sys.executable, "-m", "vlmchat.cli.main", "batch"]
BROKEN_EVERY = 7


def drawn(folder: Path, count: int) -> Path:
    """Draw pictures of different sizes; some files are broken."""
    folder.mkdir()
    for number in range(count):
        path = saved(folder / f"{number:04}.png", 40 + number % 50, 40 + number // 50)
        if number % BROKEN_EVERY == 3:
            path.write_bytes(path.read_bytes()[:60])
    return folder


def seconds(command: list[str]) -> float:
    """Return how long a command takes."""
    began = time.perf_counter()
    subprocess.run(command, check=False, capture_output=True)
    return time.perf_counter() - began


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def until_done(model: Path, work: Path, pictures: int, kills: int, seed: int) -> int:
    """Run a batch to its end through so many kills, and return how many there were.

    Raises:
        AssertionError: a picture is missing, double or out of order, or has another answer.
    """
    chance = random.Random(seed)
    folder, killed = drawn(work / "pictures", pictures), 0
    # Always one way to compute: before the native one is compiled answers may differ at ties.
    with EngineProcess(model, work, "--native", "off") as engine:
        engine.wait_ready()
        common = [*COMMAND, str(folder), "--prompt", "What is it?", "--max-new-tokens", "12"]
        common += ["--engine-url", engine.url, "--api-key", TOKEN, "--in-flight", "4", "--out"]
        starting = seconds([*COMMAND, "--help"])
        working = max(seconds([*common, str(work / "whole.jsonl")]) - starting, 0.0)
        out = work / "killed.jsonl"
        ended = False
        while not ended:
            process = subprocess.Popen([*common, str(out)], stderr=subprocess.PIPE, text=True)
            if killed < kills:
                # Some while it starts, most while it works; the work is to last for all of them.
                before = out.stat().st_size if out.exists() else 0
                time.sleep(chance.uniform(starting / 2, starting + 1.5 * working / kills))
                process.kill()
                _, said = process.communicate()
                after = out.stat().st_size if out.exists() else 0
                if process.returncode == -9:
                    killed += 1
                    print(f"kill {killed}: {before} → {after} bytes", flush=True)
                    if chance.random() < 0.3 and after:  # as if the power had gone in mid-line
                        with out.open("r+b") as file:
                            file.truncate(after - chance.randint(1, min(40, after)))
                    continue
            else:
                _, said = process.communicate()
            ended = True
            assert process.returncode == 1, said  # some pictures are broken
    found, whole = rows(out), rows(work / "whole.jsonl")
    assert [row["index"] for row in found] == list(range(pictures))
    assert [row["source"] for row in found] == sorted(str(path) for path in folder.iterdir())
    for row, expected in zip(found, whole, strict=True):
        assert (row["answer"], row["error"]) == (expected["answer"], expected["error"]), row
    return killed


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = build_tiny(work / "model")
        kills = until_done(model, work, options.pictures, options.kills, options.seed)
        print(f"{options.pictures} pictures, {kills} kills: each once, in order, the same answers")
    return 0 if kills >= options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
