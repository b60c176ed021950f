"""The recipe from nothing, for a few minutes: losses fall, and the engine's answers see."""

import base64
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.engine_process import EngineProcess
from vlmchat.demo.drawing import examples, judging
from vlmchat.demo.drawing.examples import Example

# A small, coarse tower, so that three minutes of two idle cores are enough; scenes only.
SETTINGS = """
[tower]
patch = 24
hidden = 128
layers = 4
inner = 512
scale = 2
[run]
compile = false
held_out = 16
log_steps = 5
[optimizer]
warmup_steps = 10
[slots]
batch = 24
[reading]
rank = 8
lessons = 8
level = 0.0
[language]
tasks = ["colour"]
images = 20
lessons = 4
slots_only = 16
[curriculum]
kinds = ["scene"]
rise = 0.0
"""
LEVEL = 0.0


def trained(work: Path, model: Path, *more: str) -> list[dict[str, Any]]:
    """Train, or go on, and return what the log says of the steps."""
    file = work / "settings.toml"
    file.write_text(SETTINGS)
    command = [sys.executable, "-m", "vlmchat.demo.train", "--work", str(work)]
    command += ["--model", str(model), "--settings", str(file), *more]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=560)
    lines = map(json.loads, (work / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == "step"]


def answers(engine: EngineProcess, asked: Sequence[Example]) -> list[str]:
    """Return what the real engine says, greedily."""
    said = []
    for one in asked:
        buffer = io.BytesIO()
        one.images[0].save(buffer, "PNG")
        url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": one.question},
        ]
        body = {
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 16,
            "temperature": 0,
        }
        reply = engine.http.post("/v1/chat/completions", json=body).json()
        said.append(reply["choices"][0]["message"]["content"])
    return said


@pytest.mark.slow
@pytest.mark.registry
@pytest.mark.timeout(1200)
def test_a_few_minutes_from_nothing_make_a_model_that_sees_colours(
    demo_home: Path, tmp_path: Path
) -> None:
    model = next(it.parent for it in (demo_home / "cache" / "demo").glob("*/tokenizer.json"))
    work = tmp_path / "run"
    work.mkdir()
    first = trained(work, model, "--steps", "180")
    assert first[-1]["losses"]["loss"] < 0.6 * first[0]["losses"]["loss"]
    second = trained(work, model, "--phase", "2", "--steps", "60")
    steps = [line for line in second if line["phase"] == 2]
    assert steps[-1]["losses"]["loss"] < 0.6 * steps[0]["losses"]["loss"]
    third = trained(work, model, "--phase", "3", "--steps", "5")
    assert third[-1]["phase"] == 3 and third[-1]["losses"]["loss"] < steps[0]["losses"]["loss"]
    whole = tmp_path / "model"
    export = [sys.executable, "-m", "vlmchat.demo.train", "--work", str(work)]
    subprocess.run([*export, "--model", str(model), "--assemble", str(whole)], check=True)
    asked = [examples.example("colour", "eval", 5, index, LEVEL) for index in range(60)]
    with EngineProcess(whole, tmp_path) as engine:
        engine.wait_ready()
        said = answers(engine, asked)
    right = sum(
        judging.right(one.task, one.facts, one.answer, text)
        for one, text in zip(asked, said, strict=True)
    )
    # One of eight colours by chance; 60 answers of which 21 are right happen by chance once in
    # a hundred thousand times.
    assert right >= 21, list(zip((one.answer for one in asked), said, strict=True))[:10]
