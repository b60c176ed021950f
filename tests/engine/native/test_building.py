"""Compiling ends with a library or with a sentence, whatever the machine is like."""

import os
import threading
from pathlib import Path

import pytest

from tests.engine.native.conftest import Compiled
from vlmchat.engine.native import building
from vlmchat.engine.native.building import Build, Found, compile_in_background, library
from vlmchat.engine.native.library import Library


def _program(path: Path, lines: str) -> list[str]:
    path.write_text(f"#!/bin/sh\nfor last; do :; done\n{lines}\n")
    path.chmod(0o755)
    return [str(path)]


@pytest.fixture
def copying(compiled: Compiled, tmp_path: Path) -> list[str]:
    """Return a compiler that is fast: it copies what was compiled before."""
    made = Path(compiled("").functions._name)
    return _program(tmp_path / "copy-c++", f'cp "{made}" "$last"')


def test_made_once_and_found(copying: list[str], tmp_path: Path) -> None:
    build = Build(compiler=copying, folder=tmp_path / "made")
    assert build.find() == Found(None, "The native decode step is not compiled yet.")
    first = build.make()
    assert first.library is not None
    assert build.make().library is first.library
    assert build.find().library is first.library
    assert [path.suffix for path in (tmp_path / "made").iterdir()] == [".so"]


def test_another_compiler_makes_another(copying: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "made"
    Build(compiler=copying, folder=folder).make()
    os.utime(copying[0], (1, 1))
    assert Build(compiler=copying, folder=folder).find().library is None
    Build(compiler=[*copying, "-g"], folder=folder).make()
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("keep", [0, 20, 5000, -1])
def test_cut_short(copying: list[str], tmp_path: Path, keep: int) -> None:
    build = Build(compiler=copying, folder=tmp_path / "made")
    build.make()
    (path,) = (tmp_path / "made").iterdir()
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:keep])
    found = build.find()
    assert found.library is None and "damaged" in found.reason
    assert build.make().library is not None
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("echo 'decode.cpp:1: error: no such thing' >&2; exit 1", "error: no such thing"),
        ("exit 3", "ended with 3"),
        ("echo nonsense > $last", "cannot be compiled"),
        ("true", "cannot be compiled"),
        ("kill -9 $$", "cannot be compiled"),
    ],
)
def test_a_compiler_that_fails(tmp_path: Path, lines: str, reason: str) -> None:
    build = Build(compiler=_program(tmp_path / "c++", lines), folder=tmp_path / "made")
    found = build.make()
    assert found.library is None and reason in found.reason
    assert found.reason.endswith(".") and "\n" not in found.reason
    assert not list((tmp_path / "made").iterdir())


def test_a_compiler_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_SECONDS", 0.2)
    build = Build(compiler=_program(tmp_path / "c++", "exec sleep 60"), folder=tmp_path / "made")
    assert "timed out" in build.make().reason


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Build(compiler=["no-such-c++"], folder=tmp_path).make()
    assert found.reason.endswith("install g++ or clang++ (no-such-c++ is not there).")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert library().reason.endswith("install g++ or clang++.")


def test_a_folder_that_cannot_be_made(copying: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = Build(compiler=copying, folder=tmp_path / "file" / "made").make()
    assert "cannot be kept in" in found.reason


def test_a_home_that_cannot_be_made(
    copying: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("VLMCHAT_NATIVE_DIR")
    monkeypatch.setenv("VLMCHAT_HOME", str(tmp_path / "file"))
    assert "cannot be made" in Build(compiler=copying).make().reason


def test_a_processor_without_avx2(
    copying: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "processor_features", frozenset)
    found = Build(compiler=copying, folder=tmp_path).make()
    assert found.reason == "The native decode step needs a processor with AVX2."


def test_a_library_of_another_version(
    copying: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "VERSION", 99)
    assert "not 99" in Build(compiler=copying, folder=tmp_path / "made").make().reason


def test_not_our_library(tmp_path: Path) -> None:
    import _ctypes

    with pytest.raises(OSError, match="lacks vlmchat_version"):
        Library(Path(_ctypes.__file__))


def test_many_at_once(copying: list[str], tmp_path: Path) -> None:
    found: list[Found] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(Build(compiler=copying, folder=tmp_path / "made").make())
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and all(one.library for one in found)
    assert len(list((tmp_path / "made").iterdir())) == 1


def test_in_the_background(copying: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", copying[0])
    assert library().library is None
    found: list[Found] = []
    compile_in_background(found.append).join(60)
    assert found[0].library is not None
    assert library().library is found[0].library
