"""System prompts with names: the files, and the command line about them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlmchat import paths, prompts
from vlmchat.errors import UsageError, VlmchatError

SHIPPED = {"brief", "charts", "code", "describer", "signs", "transcriber"}


def _own(name: str, data: bytes) -> Path:
    folder = paths.config_dir() / "prompts"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_bytes(data)
    return path


def test_those_that_come_with_the_program_suit_a_small_model() -> None:
    found = prompts.presets()
    assert set(found) == SHIPPED and not any(preset.own for preset in found.values())
    for preset in found.values():
        text = preset.read()
        assert 0 < len(text) < 300 and "\n" not in text


def test_ones_own_win_and_odd_files_do_no_harm() -> None:
    _own("brief", "\ufeffSay little.\r\nVery little.\n\n".encode())
    _own("no good name", b"x")
    _own("latin", "Gr\xfc\xdfe".encode("latin-1"))
    _own("empty", b" \n")
    _own("long", b"x" * 300_000)
    found = prompts.presets()
    assert set(found) == SHIPPED | {"latin", "empty", "long"}
    assert found["brief"].own and found["brief"].read() == "Say little.\nVery little."
    assert found["brief"].summary() == "Say little."
    for name, what in (("latin", "UTF-8"), ("empty", "is empty"), ("long", "too large")):
        with pytest.raises(UsageError, match=what):
            prompts.resolved(f"@{name}")
        assert what in found[name].summary()


def test_what_stands_for_what() -> None:
    assert prompts.resolved("@brief") == "Answer in one short sentence."
    for text in ("", "You are brief.", "@home you are polite", "me@home", "@"):
        assert prompts.resolved(text) == text
    with pytest.raises(UsageError, match=r"no prompt @breif: did you mean @brief\?"):
        prompts.resolved("@breif")
    with pytest.raises(UsageError, match=r"no prompt @\.\./config: there are brief, charts"):
        prompts.resolved("@../config")


def test_saving_overwrites_nothing_unasked() -> None:
    saved = prompts.save_preset("tiny.model-2", "  One [red] word.\n")
    assert saved.read() == "One [red] word."
    assert prompts.presets()["tiny.model-2"] == saved
    with pytest.raises(UsageError, match=r"“/system save tiny\.model-2 replace” overwrites"):
        prompts.save_preset("tiny.model-2", "Other")
    assert saved.read() == "One [red] word."
    prompts.save_preset("tiny.model-2", "Other", replace=True)
    assert saved.read() == "Other"
    prompts.save_preset("brief", "Mine")  # the program's own stays where it is
    assert prompts.resolved("@brief") == "Mine"
    for name in ("", "../up", "a/b", ".hidden", "a b", "x" * 65, "a\0"):
        with pytest.raises(UsageError, match="cannot be a prompt's name"):
            prompts.save_preset(name, "x")
    with pytest.raises(UsageError, match="no system prompt"):
        prompts.save_preset("nothing", " ")
    assert sorted(item.name for item in prompts.own_dir().iterdir()) == [
        "brief.md",
        "tiny.model-2.md",
    ]


def test_a_link_is_followed(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "mine.md"
    real.parent.mkdir()
    real.write_text("Old")
    prompts.own_dir().mkdir(parents=True)
    (prompts.own_dir() / "mine.md").symlink_to(real)
    with pytest.raises(UsageError, match="already"):
        prompts.save_preset("mine", "New")
    prompts.save_preset("mine", "New", replace=True)
    assert real.read_text() == "New\n" and (prompts.own_dir() / "mine.md").is_symlink()


def test_a_folder_that_cannot_be_written_is_told() -> None:
    paths.config_dir().mkdir(parents=True)
    (paths.config_dir() / "prompts").write_text("a file")
    with pytest.raises(VlmchatError, match="cannot be written"):
        prompts.save_preset("mine", "x")
    assert set(prompts.presets()) == SHIPPED


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        (sys.executable, "-m", "vlmchat.cli.main", *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_command_line() -> None:
    mine = prompts.save_preset("mine", "You are mine.\nWholly.")
    listed = _run("prompts", "list").stdout.splitlines()
    assert "brief        shipped  Answer in one short sentence." in listed
    assert "mine         yours    You are mine." in listed
    rows = json.loads(_run("prompts", "list", "--json").stdout)
    assert {"name": "mine", "own": True, "path": str(mine.path)} in rows
    assert _run("prompts", "show", "@mine").stdout == "You are mine.\nWholly.\n"
    wrong = _run("prompts", "show", "nine")
    assert wrong.returncode == 2 and "did you mean @mine?" in wrong.stderr
    unknown = _run("ask", "--system", "@nine", "Hello")
    assert unknown.returncode == 2 and "There is no prompt @nine" in unknown.stderr
    assert unknown.stdout == ""
