"""``vlmchat doctor`` and ``vlmchat models`` say what is, and what to do."""

import json
from pathlib import Path

import pytest

from tests.cli.test_ask import run
from vlmchat.cli.examination import picture_protocol


def test_doctor_examines_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("doctor", "--json")
    assert done.returncode == 0, done.stdout
    findings = json.loads(done.stdout)
    topics = {finding["topic"] for finding in findings}
    assert topics == {"Versions", "Device", "Engine", "Terminal", "Folders", "Settings", "Models"}
    texts = "\n".join(finding["text"] for finding in findings)
    for words in (
        "torch 2.",
        "transformers 5.",
        "memory:",
        "cores",
        "cache:",
        "switched off",
        "computed by",
    ):
        assert words in texts
    assert all(finding["advice"] for finding in findings if finding["state"] == "bad")


def test_doctor_in_words() -> None:
    done = run("doctor")
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert done.stdout.startswith("Versions\n") and "\nFolders\n" in done.stdout


def test_doctor_finds_a_bad_configuration(tmp_path: Path) -> None:
    config = tmp_path / "home" / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[engine]\nquant = '3bit'\n")
    done = run("doctor")
    assert done.returncode == 3
    assert "line 2" in done.stdout and "mend" in done.stdout


def test_doctor_finds_a_folder_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("VLMCHAT_HOME", str(tmp_path / "file"))
    done = run("doctor")
    assert done.returncode == 3 and "set VLMCHAT_HOME" in done.stdout


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"KITTY_WINDOW_ID": "1"}, "kitty graphics"),
        ({"TERM_PROGRAM": "ghostty"}, "kitty graphics"),
        ({"TERM_PROGRAM": "WezTerm"}, "sixel"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color"}, "half blocks"),
    ],
)
def test_picture_protocols(environment: dict[str, str], protocol: str) -> None:
    assert picture_protocol(environment) == protocol


def test_models_are_listed() -> None:
    rows = json.loads(run("models", "--json").stdout)
    assert len(rows) == 7 and not any(row["on_this_machine"] for row in rows)
    for row in rows:
        memory = row["memory_bytes"]
        assert memory["none"] > memory["8bit"] > memory["4bit"] > 5e8
        assert row["licence"] == "Apache-2.0" and row["context"] >= 8192
    table = run("models").stdout
    assert all(row["id"] in table for row in rows) and "…" not in table


def test_pulling_what_cannot_be_had() -> None:
    done = run("models", "pull", "smolvlm-9b")
    assert done.returncode == 3 and "did you mean" in done.stderr
    done = run("models", "pull", "smolvlm-256m")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()[-1:]) == 1
