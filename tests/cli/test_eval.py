"""``vlmchat eval`` as a shell runs it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.adapters import save_adapter
from tests.cli.test_ask import refused, run
from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved

COLOURS = ("red", "blue", "green", "red")


def questions(folder: Path, count: int = 4) -> Path:
    """Write a set of questions about pictures, and return it."""
    path = folder / "colours.jsonl"
    lines: list[str] = []
    for number in range(count):
        colour = COLOURS[number % len(COLOURS)]
        name = saved(folder / f"{number}.png", 48, 48, colour).name
        row = {"question": f"Which colour ({number})?", "answer": colour, "image": name}
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), "utf-8")
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    head, *found = map(json.loads, path.read_text("utf-8").splitlines())
    assert head["vlmchat_eval"] == 1
    return found


def test_a_set_is_asked_reported_and_gone_on_with(tmp_path: Path) -> None:
    path, out, html = questions(tmp_path), tmp_path / "rows.jsonl", tmp_path / "report.html"
    common = ["eval", path, "--suffix", " One word.", "--in-flight", 1, "--out", out]
    script = Script([Reply(["re", "d"]), Reply(["red\n"]), Reply(status=400, body="{}")])
    with running(FakeEngine(script)) as fake:
        url = ["--engine-url", fake.url]
        first = run(*common, *url, "--html", html, "--json")
        assert first.returncode == 0, first.stderr
        report = json.loads(first.stdout)
        [found] = report["results"]
        assert (found["score"], found["questions"], found["errors"]) == (0.25, 4, 2)
        assert found["metric"] == "exact" and found["low"] <= 0.25 <= found["high"]
        asked = fake.requests[0]
        assert asked["temperature"] == 0 and asked["max_tokens"] == 64
        *_, text = asked["messages"][0]["content"]
        assert text["text"] == "Which colour (0)? One word."
        assert [row["score"] for row in rows(out)] == [1.0, 0.0, 0.0, 0.0]
        page = html.read_text("utf-8")
        assert page.count("<article>") == page.count("data:image/jpeg;base64,") == 3
        before = len(fake.requests)
        fake.script.replies = [Reply(["blue"])]
        again = run(*common, *url)
        # The two that failed are asked again, the others are not.
        assert len(fake.requests) == before + 2
        assert again.returncode == 0, again.stderr
        assert "25.0" in again.stdout and "said" not in again.stdout
    # Saved answers are scored again and compared without an engine.
    text = run("eval", "--compare", out, out, "--metric", "contains", "--wrong", 1).stdout
    assert "colours.jsonl: 4 questions, answers that contain the right one" in text
    assert "p = 1, McNemar's exact test" in text and "Not right (1 of 3)" in text


def test_a_file_of_the_person_is_not_written_over(tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>", "utf-8")
    assert "no report" in refused(2, "eval", questions(tmp_path), "--html", mine)
    assert mine.read_text("utf-8") == "<p>mine</p>"


@pytest.mark.slow
def test_a_tuned_adapter_against_its_base(tiny_model: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tiny_model, tmp_path / "tuned")
    path, out, html = questions(tmp_path, 6), tmp_path / "rows.jsonl", tmp_path / "report.html"
    options = ["--model", tiny_model, "--max-new-tokens", 6, "--out", out, "--html", html]
    done = run("eval", path, *options, "--compare", "base", adapter, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    base, tuned = report["results"]
    assert (base["label"], base["adapter"]) == ("base", "")
    assert tuned["label"] == str(adapter) and tuned["adapter"].startswith("tuned")
    assert base["model"] == tuned["model"]
    assert report["comparison"]["test"] == "McNemar's exact test"
    assert report["comparison"]["p"] == 1.0  # neither knows a colour
    one, other = rows(tmp_path / "rows.1.jsonl"), rows(tmp_path / "rows.2.jsonl")
    assert [row["question"] for row in one] == [row["question"] for row in other]
    assert all(row["said"] for row in one) and any(
        a["said"] != b["said"] for a, b in zip(one, other, strict=True)
    )
    # What the base says is taken to be right: now it is wholly right, and the adapter is not.
    told = [{"question": row["question"], "answer": row["said"], "image": f"{place}.png"}
            for place, row in enumerate(one)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in told), "utf-8")
    out.with_suffix(".1.jsonl").unlink()
    out.with_suffix(".2.jsonl").unlink()
    done = run("eval", path, *options, "--compare", adapter, "base")
    assert done.returncode == 0, done.stderr
    assert "100.0" in done.stdout and "base did better on" in done.stdout
    # The adapter alone, as the engine begins with it, says the same as laid over the base.
    alone = run("eval", path, *options[:4], "--adapter", adapter, "--out", tmp_path / "alone.jsonl")
    assert alone.returncode == 0, alone.stderr
    assert [row["said"] for row in rows(tmp_path / "alone.jsonl")] == [row["said"] for row in other]
