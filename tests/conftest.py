"""What several rooms' tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess
from tests.tiny import build_tiny


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a person approve of what the screens look like."""
    parser.addoption(
        "--accept-screens",
        action="store_true",
        help="store the screens of tests/tui/test_snapshots.py as they look now",
    )


def pytest_configure() -> None:
    """Give each of several workers a core of its own, before anything counts cores.

    Engines take a thread a core, and two of them on the same cores wait for each other.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker.startswith("gw") and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker[2:]) % len(cores)]})


@pytest.fixture(autouse=True)
def _ordinary_priority() -> Iterator[None]:
    """Undo what SVT-AV1 does where it may: it has whoever encodes a film run before all others.

    Engines and programs under test, which share the cores with the tests, would starve.
    """
    yield
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(scope="session", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have all tests' homes share what is compiled: it takes five seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMCHAT_NATIVE_DIR", str(tmp_path_factory.getbasetemp() / "native"))
        yield


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test out of the person's own folders and off the network."""
    monkeypatch.setenv("VLMCHAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("VLMCHAT_ENGINE__MODEL", "VLMCHAT_ENGINE__URL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny SmolVLM with random weights."""
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny-smolvlm")


@pytest.fixture(scope="session")
def tiny_idefics3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Idefics3 with random weights."""
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny-idefics3", "idefics3")


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model with many wide layers: an answer that lasts long enough to be cut."""
    return build_tiny(tmp_path_factory.mktemp("models") / "slow", layers=24, intermediate=8192)


@pytest.fixture(scope="module")
def slow_engine(
    slow_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineProcess]:
    """Return a running engine that serves the slow model, by the compiled step from the start."""
    from vlmchat.engine.native import building  # loads torch, which few tests need

    building.compile_in_background(lambda _: None).join()
    with EngineProcess(slow_model, tmp_path_factory.mktemp("slow-engine")) as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="session")
def engine(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """Return a running engine that serves the tiny model."""
    folder = tmp_path_factory.mktemp("engine")
    with EngineProcess(tiny_model, folder, "--media-root", str(folder)) as process:
        process.wait_ready()
        yield process
