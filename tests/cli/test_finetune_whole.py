"""From a log to an adapter that answers and is judged: real program, trainer and engine."""

import json
from pathlib import Path

import pytest

from tests.cli.test_ask import run
from tests.cli.test_finetune import follows_schema
from tests.finetune.logs import asked, read, write_log
from tests.pictures import saved
from tests.plain.piping import piped
from vlmchat.finetune.shelf import open_adapter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_trained_asked_and_judged(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "a.png")
    rows = [asked(f"What is {n}?", "There are three.", "a.png") for n in range(10)]
    log = write_log(tmp_path / "stars.jsonl", rows)
    done = run(
        *("finetune", log, "--model", tiny_model, "--json", "--learning-rate", 0.01),
        *("--threads", 1),
        *("--epochs", 3, "--accumulation", 3, "--eval-steps", 4, "--validation-share", 0.2),
        seconds=600,
    )
    assert done.returncode == 0, done.stderr
    data, estimate, job, *events, adapter = [json.loads(line) for line in done.stdout.splitlines()]
    assert (data["usable"], estimate["validation_rows"]) == (10, 2)
    for event in events:
        follows_schema(event)
    losses = [event["loss"] for event in events if event["event"] == "validation"]
    assert losses[-1] < losses[0] and events[-1]["reason"] in ("finished", "early")
    assert adapter["name"] == job["id"] == "stars"
    card = open_adapter("stars").card
    assert card.rows == 8 and card.settings is not None and card.settings.learning_rate == 0.01
    # Watched again, it tells the same, and is put on the shelf no second time.
    assert run("finetune", "--watch", "stars").stdout.splitlines()[-2] == "Adapter: stars"

    question = ("--max-new-tokens", 4, "--json", "-a", tmp_path / "a.png", "What is 3?")
    done = run("ask", "--model", tiny_model, "--adapter", "stars", *question)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["adapter"].startswith("stars@")

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    said = "/set max_tokens 6\n/judge stars\n1\nwhat\n2\n/quit\n"
    spoken = piped(said, "--plain", "--model", tiny_model)
    assert spoken.returncode == 0, spoken.stdout
    out = spoken.stdout
    assert "Question 1 of 2: What is" in out and "Answer 2: " in out
    assert "Note: That is none of them." in out and "Note: The adapter was better" in out
    card = open_adapter("stars").card
    assert card.evaluation["judged"] == 2
    (file,) = (tmp_path / "home" / "data" / "comparisons").glob("stars-*/preferences.jsonl")
    examples, dropped = read(file)
    assert dropped == [] and [one.kind for one in examples] == ["preference"] * 2
    assert all(one.media for one in examples)


def test_prompts_that_cannot_be_judged_in_plain_lines(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    spoken = piped("/judge\n/judge none\n/quit\n", "--plain", "--model", tiny_model)
    assert "Error: There is no adapter to judge yet: /finetune makes one." in spoken.stdout
    assert "Error: There is no adapter “none”" in spoken.stdout
