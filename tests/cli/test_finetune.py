"""``vlmchat finetune`` as a shell runs it, with a trainer that only plays one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chat.conversations import example
from tests.cli.test_ask import run as run_real
from tests.finetune.logs import asked, write_log
from tests.pictures import saved
from tests.terminal import Terminal
from vlmchat import paths
from vlmchat.cli.tuning_options import as_options, chosen
from vlmchat.cli.tuning_screen import curve_of
from vlmchat.errors import UsageError
from vlmchat.finetune.events import json_schema
from vlmchat.finetune.job import Job, list_jobs
from vlmchat.finetune.settings import RunSettings
from vlmchat.finetune.shelf import list_adapters
from vlmchat.store.store import Store

PROGRAM = "tests.cli.finetuning"
COMMAND = [sys.executable, "-m", PROGRAM, "finetune"]


def run(*arguments: object, **script: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, **scripted(script)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def scripted(script: dict[str, int]) -> dict[str, str]:
    return {f"SCRIPT_{name.upper()}": str(value) for name, value in script.items()}


def rows_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def told(job: Job) -> str:
    return job.events_file.read_text("utf-8") if job.events_file.exists() else ""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log of twelve good rows and three bad ones."""
    saved(tmp_path / "a.png")
    rows = [asked(f"What is {n}?", f"It is {n}.", *["a.png"] * (n % 2)) for n in range(12)]
    bad = [rows[0], asked("x", "y", "none.png"), {"messages": []}]
    return write_log(tmp_path / "logs.jsonl", [*rows, *bad])


@contextmanager
def begun(*arguments: object, **script: int) -> Iterator["subprocess.Popen[str]"]:
    """Run the program in the background."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, **scripted(script)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        for job in list_jobs():
            if job.alive():
                job.ask("cancel")


def the_job() -> Job:
    until(list_jobs)
    (job,) = list_jobs()
    return job


def test_dry_run(log: Path, tiny_model: Path) -> None:
    done = run(log, "--model", tiny_model, "--dry-run", "--preview")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("Rows: 12 of 15 ") for line in lines)
    assert "⟦ It is 0.<end_of_utterance>⟧" in done.stdout
    assert any(line.startswith("Needs: ") and "of memory" in line for line in lines)
    left_out = [line for line in lines if line.startswith("Left out: ")]
    assert len(left_out) == 1 + 3 and all("logs.jsonl, line 1" in one for one in left_out[1:])
    assert list_jobs() == [] and done.stderr == ""


def test_lines_on_a_pipe(log: Path, tiny_model: Path) -> None:
    done = run(log, "--model", tiny_model, "--out", "my circles", "--epochs", 1, "--no-text",
               "--vision")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "Step 4 of 4, loss 0.5, learning rate 0.0001, 100 tokens/s" in lines
    assert "Validation at step 2: loss 1, the best so far" in lines
    assert "Answer 1 at step 2: [b]A circle␛[31m 2" in lines
    assert lines[-2:] == ["Adapter: my-circles", "Use it: vlmchat ask --adapter my-circles …"]
    (adapter,) = list_adapters()
    assert adapter.name == "my-circles" and adapter.card.job == the_job().id
    settings = the_job().spec().settings
    assert (settings.epochs, settings.text, settings.vision) == (1.0, False, True)


def test_json_rows(log: Path, tiny_model: Path) -> None:
    done = run(log, "--model", tiny_model, "--json", "--device", "cpu", "--threads", 1)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    data, estimate, job, *events, adapter = rows_of(done)
    assert data["event"] == "data" and (data["rows"], data["usable"]) == (15, 12)
    gone = len(data["dropped"]) + len(data["duplicates"]) + len(data["oversize"])
    assert data["rows"] == data["usable"] + gone
    assert [item["line"] for item in data["dropped"]] == [14, 15]
    assert data["dropped"][0]["why"] == "missing" and data["missing"]
    assert data["duplicates"][0]["first"]["line"] == 1
    assert estimate["event"] == "estimate" and estimate["fits"] is True
    assert estimate["rows"] + estimate["validation_rows"] == 12 and estimate["memory"] > 0
    assert set(estimate["settings"]) == set(RunSettings.model_fields)
    assert job["event"] == "job" and Path(job["folder"]) == the_job().folder
    assert adapter["event"] == "adapter" and adapter["job"] == job["id"]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "started" and kinds[-1] == "ended" and kinds.count("step") == 4
    for event in events:
        follows_schema(event)
    assert [json.loads(line) for line in told(the_job()).splitlines()] == events
    assert "arguments: --device cpu --threads 1" in the_job().log_file.read_text()


def follows_schema(event: dict[str, Any]) -> None:
    """Check an event against the published schema, as far as names, kinds and constants go."""
    schema = json_schema()
    name = schema["discriminator"]["mapping"][event["event"]].rpartition("/")[2]
    fields = schema["$defs"][name]["properties"]
    assert set(event) == set(fields)
    types: dict[str, tuple[type, ...]] = {
        **{"number": (int, float), "integer": (int,), "string": (str,), "boolean": (bool,)},
        **{"null": (type(None),), "object": (dict,)},
    }
    for key, value in event.items():
        allowed = fields[key].get("anyOf", [fields[key]])
        kinds = [types[one["type"]] for one in allowed if "type" in one]
        assert not kinds or any(isinstance(value, kind) for kind in kinds), (key, value)


def test_dry_run_as_json_has_two_rows(log: Path, tiny_model: Path) -> None:
    done = run(log, "--model", tiny_model, "--json", "--dry-run")
    assert [row["event"] for row in rows_of(done)] == ["data", "estimate"]


@pytest.mark.slow
def test_files_outside_are_not_read_unasked(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    picture = saved(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "logs").mkdir()
    rows = [asked("What?", "That.", str(picture)), asked("Who?", "They.")]
    log = write_log(tmp_path / "logs" / "x.jsonl", rows)
    done = run(log, "--model", tiny_model)
    assert done.returncode == 2 and list_jobs() == []
    assert "--allow-outside" in done.stderr and "a.png" in done.stderr
    done = run(log, "--model", tiny_model, "--dry-run", "--json")
    assert done.returncode == 0 and "--allow-outside" in done.stderr
    assert rows_of(done)[0]["outside"] == [str(picture)]
    for option, usable in (("--allow-outside", 2), ("--yes", 2), ("--skip-outside", 1)):
        done = run(log, "--model", tiny_model, option, "--dry-run", "--json")
        assert rows_of(done)[0]["usable"] == usable and done.stderr == ""


@pytest.mark.slow
def test_refused(log: Path, tiny_model: Path, tmp_path: Path) -> None:
    def sentence(*arguments: object) -> str:
        done = run(*arguments)
        assert done.returncode == 2, done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr.splitlines()[-1]

    assert "nothing to learn from" in sentence()
    assert "does not exist" in sentence(tmp_path / "none.jsonl")
    assert "The rank cannot be 0" in sentence(log, "--rank", 0, "--model", tiny_model)
    assert "patience" in sentence(log, "--patience", "often", "--model", tiny_model)
    assert "Nothing would be trained" in sentence(log, "--no-text", "--model", tiny_model)
    assert "DPO needs" in sentence(log, "--method", "dpo", "--model", tiny_model)
    assert "CUDA only" in sentence(log, "--quantization", "4bit", "--device", "cpu", "--threads", 1)
    assert "two things" in sentence("--list", "--stop", "x")
    assert "takes no data" in sentence(log, "--resume", "x")
    assert "takes no data" in sentence("--watch", "x", "--rank", 4)
    assert "There is no job “x”" in sentence("--watch", "x")
    assert run(log, "--method", "magic").returncode == 2
    (tmp_path / "empty.jsonl").write_text("")
    assert "SFT needs" in sentence(tmp_path / "empty.jsonl", "--model", tiny_model)


def test_preferences_choose_the_method(tmp_path: Path, tiny_model: Path) -> None:
    answer = {"prompt": "Who?", "chosen": "They.", "rejected": "Nobody."}
    log = write_log(tmp_path / "p.jsonl", [answer, {**answer, "prompt": "What?"}])
    _, estimate = rows_of(run(log, "--model", tiny_model, "--dry-run", "--json", "--rank", 4))
    assert (estimate["settings"]["method"], estimate["settings"]["rank"]) == ("mpo", 4)
    done = run(log, "--model", tiny_model, "--dry-run", "--json", "--method", "sft")
    assert rows_of(done)[1]["settings"]["method"] == "sft"


@pytest.mark.slow
def test_rated_replies_of_the_chats(tiny_model: Path) -> None:
    assert "no saved conversation" in run("--from-chats", "--model", tiny_model).stderr
    with Store(paths.data_dir()) as store:
        store.restore(example())
    found = [
        rows_of(run(*options, "--model", tiny_model, "--dry-run", "--json", "--method", "sft"))
        for options in (["--from-chats"], ["--chat", 1], ["--from-chats", "--every-reply"])
    ]
    usable = [rows[0]["usable"] for rows in found]
    assert usable[0] == usable[1] > 0 and usable[2] >= usable[0]


def test_a_failure_is_a_sentence(log: Path, tiny_model: Path) -> None:
    done = run(log, "--model", tiny_model, fail=3)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("vlmchat: The job “logs” failed: The disk is full: make room.")
    assert list_adapters() == []
    assert run("--watch", "logs").returncode == 3


@pytest.mark.slow
def test_a_killed_trainer_is_resumed(log: Path, tiny_model: Path) -> None:
    done = run(log, "--model", tiny_model, steps=6, die=3)
    assert done.returncode == 3 and "--resume logs goes on" in done.stderr
    (row,) = json.loads(run("--list", "--json").stdout)
    assert (row["id"], row["state"], row["step"]) == ("logs", "dead", 3)
    done = run("--resume", "logs", steps=6)
    assert done.returncode == 0, done.stderr
    assert "after step 2" in done.stdout and "Adapter: logs" in done.stdout
    assert "done: prepare a new one" in run("--resume", "logs").stderr
    # Whoever looks on later finds the same adapter, and makes no second one.
    again = run("--watch", "logs")
    assert again.returncode == 0 and "Adapter: logs" in again.stdout and len(list_adapters()) == 1


@pytest.mark.slow
def test_detached_watched_paused_stopped(log: Path, tiny_model: Path) -> None:
    done = run(log, "--model", tiny_model, "--detach", hold=2)
    assert done.returncode == 0 and "--watch logs shows it" in done.stderr
    job = the_job()
    until(lambda: '"step":2' in told(job).replace(" ", ""))
    assert "logs" in run("--list").stdout and "running" in run("--list").stdout
    assert "is running already" in run("--resume", "logs").stderr
    with begun("--watch", "logs") as watching:
        shown = watching.stdout
        assert shown is not None
        until(lambda: "Step 2" in shown.readline())
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=30)
        assert watching.returncode == 130 and "The job goes on" in said and job.alive()
        done = run("--pause", "logs")
        assert done.returncode == 0 and "is paused" in done.stderr
        done = run("--resume", "logs", "--detach")
        assert done.returncode == 0 and "Job: logs" in done.stdout
    until(lambda: not job.alive())
    assert "is not running" in run("--stop", "logs").stderr


@pytest.mark.slow
def test_stop_keeps_the_best(log: Path, tiny_model: Path) -> None:
    run(log, "--model", tiny_model, "--detach", hold=2)
    done = run("--stop", "logs")
    assert done.returncode == 0 and "Stopped at step 2, as asked" in done.stdout
    assert [one.name for one in list_adapters()] == ["logs"]
    run(log, "--model", tiny_model, "--detach", "-o", "other", hold=2)
    assert run("--cancel", "other").returncode == 0
    assert len(list_adapters()) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_and_keeps_the_best(log: Path, tiny_model: Path, times: int) -> None:
    with begun(log, "--model", tiny_model, hold=2) as process:
        shown = process.stdout
        assert shown is not None and process.stderr is not None
        until(lambda: "Step 2" in shown.readline())
        job = the_job()
        if times == 1:
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=30)
            assert process.returncode == 130 and "Stopping" in said and "Adapter: logs" in out
            assert job.state() == "stopped" and len(list_adapters()) == 1
        else:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
            assert process.returncode == 143 and "The job goes on" in said and job.alive()
            job.ask("stop")
            until(lambda: not job.alive())


def test_every_setting_has_its_option(tiny_model: Path) -> None:
    shown = run_real("finetune", "--help").stdout
    for name in RunSettings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown
    assert "finetune" in run_real("--help").stdout
    assert chosen(None, {"patience": "none"}).patience is None
    assert chosen("quick", {"rank": 4}).rank == 4 and chosen("quick", {}).epochs == 1.0
    with pytest.raises(UsageError, match="patience"):
        chosen(None, {"patience": "x"})
    smaller = chosen(None, {"rank": 4, "connector": True, "patience": "none"})
    assert as_options(smaller, chosen(None, {})) == "--rank 4 --connector --patience none"


def test_curve() -> None:
    assert curve_of([1.0]) == "" and curve_of([3, 2, 1]) == "█▅▁"
    assert len(curve_of([1.0 / n for n in range(1, 500)])) == 60


# On a terminal ---------------------------------------------------------------------------------


def drawn(tmp_path: Path, *arguments: object, **script: int) -> Terminal:
    os.environ.update(scripted(script))
    return Terminal(
        "finetune", *arguments, home=tmp_path / "home", columns=160, rows=50, program=PROGRAM
    )


@pytest.fixture
def _script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the script's variables go with the test."""
    for name in ("STEPS", "HOLD", "FAIL", "DIE"):
        monkeypatch.setenv(f"SCRIPT_{name}", "0")


@pytest.mark.slow
@pytest.mark.usefixtures("_script")
def test_a_terminal_is_drawn_on(log: Path, tiny_model: Path, tmp_path: Path) -> None:
    with drawn(tmp_path, log, "--model", tiny_model, steps=6, hold=4) as terminal:
        terminal.wait("3 rows are left out. Start? [y/N]")
        assert "12 of 15" in terminal.text
        terminal.send_line("y")
        screen = terminal.wait("step 4 of 6 (67%)")
        terminal.wait("best 0.5")
        assert "Ctrl+C stops it and keeps the best adapter" in terminal.text, screen
        assert "Answer 1 at step 2: [b]A circle␛[31m 2" in terminal.text
        terminal.press("ctrl+c")
        assert terminal.wait_exit(30) == 130
        terminal.wait("/adapter logs")
        assert "Stopping, the best adapter so far is kept" in terminal.text


@pytest.mark.slow
@pytest.mark.usefixtures("_script")
def test_a_person_is_asked_about_files_outside(tmp_path: Path, tiny_model: Path) -> None:
    for name in ("one", "two", "logs"):
        (tmp_path / name).mkdir()
    pictures = [saved(tmp_path / name / f"{n}.png") for name in ("one", "two") for n in (1, 2)]
    rows = [asked(f"What {n}?", "That.", str(one)) for n, one in enumerate(pictures)]
    log = write_log(tmp_path / "logs" / "x.jsonl", rows)
    with drawn(tmp_path, log, "--model", tiny_model, "--dry-run") as terminal:
        terminal.wait("lies outside the log's folder.")
        terminal.send_line("y")
        terminal.wait(lambda text: text.count("[y/N]") == 2)
        terminal.press("enter")
        assert terminal.wait_exit() == 0
        terminal.wait("2 of 4 ")
