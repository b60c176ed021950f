"""Fonts and pictured objects from the registries' clients."""

import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from vlmchat.demo.drawing import sources


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where nothing was collected yet."""
    monkeypatch.setenv("VLMCHAT_DRAWING_DIR", str(tmp_path / "drawing"))
    sources.forget()
    yield tmp_path
    sources.forget()


def _archive(path: Path, *names: str) -> str:
    with tarfile.open(path, "w:gz") as packed:
        for name in names:
            member = tarfile.TarInfo(f"package/{name}")
            member.size = 4
            packed.addfile(member, BytesIO(b"font"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _client(folder: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program `npm` on the search path that brings `archive`."""
    program = folder / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncp "{archive}" ./brought.tgz\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_what_is_taken_is_checked_and_put_whole(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = empty / "font.tgz"
    sha256 = _archive(archive, "LICENSE", "files/roboto-latin-400-normal.woff", "files/other.woff2")
    _client(empty, archive, monkeypatch)
    package = replace(sources.FONTS[2], sha256=sha256)
    monkeypatch.setattr(sources, "PACKAGES", (package,))
    monkeypatch.setattr(sources, "FONTS", (package,))
    assert sources.fonts() == ()
    said: list[str] = []
    assert sources.collect(said.append) == []
    assert said == ["The font Roboto, regular and bold (OFL-1.1)"]
    [font] = sources.fonts()
    folder = Path(font).parent
    assert {path.name for path in folder.iterdir()} == {"LICENSE", Path(font).name}
    assert sources.missing() == []
    assert [path.name for path in sources.home().iterdir()] == [folder.name]


def test_another_content_is_a_sentence_and_leaves_nothing(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = empty / "font.tgz"
    _archive(archive, "files/roboto-latin-400-normal.woff")
    _client(empty, archive, monkeypatch)
    monkeypatch.setattr(sources, "PACKAGES", sources.FONTS[:1])
    [problem] = sources.collect(lambda _: None)
    assert "other contents" in problem
    assert list(sources.home().iterdir()) == []


def test_a_missing_client_is_a_sentence(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.setattr(sources, "PACKAGES", sources.FONTS[:1])
    [problem] = sources.collect(lambda _: None)
    assert "need" in problem
    assert "npm" in problem


@pytest.mark.slow
@pytest.mark.registry
def test_the_real_packages_can_be_drawn_with(empty: Path) -> None:
    from random import Random

    from vlmchat.demo.drawing import lettering, things

    assert sources.collect(lambda _: None) == []
    assert len(sources.fonts()) == 2 * len(sources.FONTS)
    assert len(things.available()) == len(things.listed())
    assert all(len(things.drawings(thing)) >= 2 for thing in things.listed())
    for number in range(40):
        lettering.draw(Random(number), 1.0)
        things.draw(Random(number), 1.0)
