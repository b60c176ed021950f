"""``vlmchat adapters`` as a shell runs it, and adapters named elsewhere on the command line."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.adapters import save_adapter
from tests.cli.test_ask import COMMAND, refused, run
from tests.finetune.test_shelf import job as finished_job
from tests.finetune.test_shelf import write_adapter
from vlmchat import paths
from vlmchat.config_file import set_value
from vlmchat.finetune import shelf
from vlmchat.finetune.job import Job
from vlmchat.models.adapter import check_adapter
from vlmchat.settings import load_settings

job = finished_job  # a fixture


def done(*arguments: object) -> str:
    """Run what must succeed without a word on standard error; return standard output."""
    ended = run("adapters", *arguments)
    assert ended.returncode == 0 and ended.stderr == "", (ended.stdout, ended.stderr)
    return ended.stdout


@pytest.fixture
def stars(job: Job) -> str:
    """Put an adapter on the shelf and return its name."""
    made = shelf.adopt(job)
    shelf.note_evaluation(made.name, {"exact match": 0.8})
    return made.name


def test_nothing_there_yet() -> None:
    assert "There is no adapter yet" in done()
    assert json.loads(done("--json")) == []


def test_list_and_show(stars: str) -> None:
    write_adapter(shelf.adapters_dir() / "hand \x1b[31m made")
    table = done()
    assert table == done("list") and "\x1b" not in table
    row = next(line for line in table.splitlines() if line.startswith("stars"))
    assert "smolvlm-256m" in row and "SFT LoRA 4" in row and "1.25" in row
    first = next(one for one in json.loads(done("--json")) if one["name"] == "stars")
    assert first["validation_loss"] == 1.25 and first["evaluation"] == {"exact match": 0.8}
    assert first["sha256"].startswith(first["digest"]) and first["settings"]["rank"] == 4
    told = done("show", "stars")
    for words in ("base: smolvlm-256m", "exact match: 0.8", "validation loss: 1.25", "job: stars"):
        assert words in told
    assert json.loads(done("show", "stars", "--json")) == first
    assert "There is no adapter “nowhere”" in refused(2, "adapters", "show", "nowhere")


def test_rename_export_and_delete(stars: str, tmp_path: Path) -> None:
    assert done("rename", stars, "better stars") == "It is called better-stars now.\n"
    target = tmp_path / "out" / "mine"
    assert str(target) in done("export", "better-stars", target)
    check_adapter(target)
    assert "exists already" in refused(2, "adapters", "export", "better-stars", target)
    assert "add --yes" in refused(2, "adapters", "delete", "better-stars")
    assert done("delete", "better-stars", "--yes") == "better-stars is deleted.\n"
    assert shelf.list_adapters() == []


def test_the_settings_follow(stars: str) -> None:
    paths.config_file().parent.mkdir(parents=True, exist_ok=True)
    paths.config_file().write_text('# mine\n[engine]\nadapter = "other"\n')
    done("rename", stars, "stern")
    assert load_settings().engine.adapter == "other"
    set_value("engine.adapter", "stern")
    done("rename", "stern", "better stars")
    assert load_settings().engine.adapter == "better-stars"
    done("delete", "better-stars", "--yes")
    assert not load_settings().engine.adapter
    assert paths.config_file().read_text().startswith("# mine\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_deleting_is_asked_on_a_terminal(stars: str) -> None:
    for answer, words, left in (("n", "It stays", 1), ("y", "is deleted", 0)):
        child = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "adapters", "delete", stars], timeout=30)
        child.expect("for good")
        child.sendline(answer)
        child.expect(words)
        child.expect(pexpect.EOF)
        assert len(shelf.list_adapters()) == left


def on_shelf(base: Path, name: str, **options: Any) -> Path:
    """Put an adapter for `base` on the shelf, with a configuration that names it."""
    return save_adapter(base, shelf.adapters_dir() / name, **options)


@pytest.mark.slow
def test_merge(tiny_model: Path, tmp_path: Path) -> None:
    on_shelf(tiny_model, "birds")
    on_shelf(tiny_model, "prompt", kind="prompt")
    target = tmp_path / "merged"
    ended = run("adapters", "merge", "birds", target, "--json")
    assert ended.returncode == 0, ended.stderr
    row = json.loads(ended.stdout)
    assert row["folder"] == str(target) and row["largest_difference"] < 0.1 * row["largest_logit"]
    assert "Writing the merged weights" in ended.stderr
    assert "learned prompt" in refused(3, "adapters", "merge", "prompt", tmp_path / "other")
    asked = run("ask", "What?", "--model", target, "--json", "--max-new-tokens", "4")
    assert json.loads(asked.stdout)["adapter"] == ""


@pytest.mark.slow
def test_names_of_the_shelf_are_taken_everywhere(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_shelf(tiny_model, "birds")
    question = ("ask", "What?", "--model", tiny_model, "--json", "--max-new-tokens", "8")

    def asked(*arguments: str) -> Mapping[str, Any]:
        ended = run(*question, *arguments)
        assert ended.returncode == 0, ended.stderr
        row: Mapping[str, Any] = json.loads(ended.stdout)
        return row

    plain, tuned = asked(), asked("--adapter", "birds")
    assert plain["adapter"] == "" and tuned["adapter"].startswith("birds@")
    assert plain["text"] != tuned["text"]
    monkeypatch.setenv("VLMCHAT_ENGINE__ADAPTER", "birds")
    assert asked()["text"] == tuned["text"]
    said = refused(3, *question, "--adapter", "nowhere")
    assert "does not exist" in said and "vlmchat adapters" in said
