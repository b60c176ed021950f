"""Which editor is the person's own."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmchat.errors import UsageError
from vlmchat.talk.desktop.external_editor import editor_command


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a maker of executables; nothing else is on the path, and no editor is set."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)

    def make(name: str, body: str = "") -> Path:
        program = folder / name
        program.write_text(f"#!{sys.executable}\n{body}\n")
        program.chmod(0o755)
        return program

    return make


def test_which_editor(programs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="set EDITOR"):
        editor_command()
    programs("vi")
    assert editor_command() == ["vi"]
    programs("nano")
    assert editor_command() == ["nano"]
    programs("code")
    monkeypatch.setenv("EDITOR", "code --wait")
    assert editor_command() == ["code", "--wait"]
    spaced = programs("my editor")
    monkeypatch.setenv("VISUAL", f"'{spaced}' -n")
    assert editor_command() == [str(spaced), "-n"]
    monkeypatch.setenv("VISUAL", str(spaced))
    assert editor_command() == [str(spaced)]
    monkeypatch.setenv("VISUAL", "  ")
    assert editor_command() == ["code", "--wait"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [("emacs -nw", "no such program"), ("'unclosed", "mend its quotes")],
)
def test_no_such_editor(
    value: str, sentence: str, programs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs("vi")
    monkeypatch.setenv("EDITOR", value)
    with pytest.raises(UsageError, match=sentence):
        editor_command()
