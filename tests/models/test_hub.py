"""Fetching from the Hub, in a process whose environment names a Hub of our own."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models.hub_server import COMMIT, HubServer
from vlmchat.models import hub

# The Hub's library reads its environment at import, hence a process a test.
_PULL = """
import json, sys
from vlmchat.errors import ModelError
from vlmchat.models.resolve import pull
steps = []
try:
    found = pull(sys.argv[1], lambda one: steps.append((one.stage, one.done, one.total)))
    print(json.dumps({"path": str(found.path), "revision": found.revision, "steps": steps}))
except ModelError as error:
    print(json.dumps({"error": str(error)}))
assert not {"torch", "transformers"} & set(sys.modules)
"""


def pull(spec: str, url: str, cache: Path) -> dict[str, object]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": url,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DOWNLOAD_TIMEOUT": "3",
    }
    done = subprocess.run(
        [sys.executable, "-c", _PULL, spec],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def repository(tiny_model: Path, tmp_path: Path) -> Path:
    """Return the tiny model with files beside it that nobody should fetch."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for file in tiny_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling.py").write_text("raise SystemExit\n")
    return folder


def test_a_model_is_fetched_with_progress_and_without_pickles_and_code(
    repository: Path, tmp_path: Path
) -> None:
    with HubServer(repository) as server:
        found = pull("owner/tiny", server.url, tmp_path / "hub")
    assert "error" not in found, found
    names = {file.name for file in Path(str(found["path"])).iterdir()}
    assert found["revision"] == COMMIT
    assert "model.safetensors" in names
    assert not names & {"pytorch_model.bin", "modeling.py"}
    assert not {"pytorch_model.bin", "modeling.py"} & set(server.fetched)
    steps = found["steps"]
    assert isinstance(steps, list)
    stage, done, total = steps[-1]
    assert stage == "downloading"
    assert (
        done
        == total
        == sum(
            file.stat().st_size
            for file in repository.iterdir()
            if file.suffix not in (".bin", ".py")
        )
    )


@pytest.mark.slow
def test_a_broken_download_is_one_sentence_and_goes_on_later(
    repository: Path, tmp_path: Path
) -> None:
    with HubServer(repository) as server:
        server.break_after = 1000
        first = pull("owner/tiny", server.url, tmp_path / "hub")
        assert "error" in first
        assert "\n" not in str(first["error"])
        server.break_after = 0
        server.fetched.clear()
        second = pull("owner/tiny", server.url, tmp_path / "hub")
    assert "error" not in second, second
    assert "model.safetensors" in server.fetched
    assert "config.json" not in server.fetched


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("owner/nothing", "has no model “owner/nothing”"),
        ("owner/gated", "“owner/gated” is gated"),
        ("owner/tiny@gone", "“owner/tiny” has no revision “gone”"),
        ("huggingfacetb/SmolVLM2-500M", "did you mean smolvlm2-500m"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    repository: Path, tmp_path: Path, spec: str, said: str
) -> None:
    with HubServer(repository) as server:
        found = pull(spec, server.url, tmp_path / "hub")
    assert said in str(found.get("error"))


def test_a_disk_too_small_is_refused_before_fetching(repository: Path, tmp_path: Path) -> None:
    with HubServer(repository) as server:
        server.claimed_size = 5 * 10**14
        found = pull("owner/tiny", server.url, tmp_path / "hub")
    assert "The download needs 500 TB and" in str(found["error"])
    assert "are free" in str(found["error"])
    assert not server.fetched


def test_a_disk_that_fills_up_while_fetching(
    repository: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(4_000_000)

    def fill() -> None:
        free = shutil.disk_usage(disk).free
        (disk / "somebody else's").write_bytes(bytes(free - 100_000))

    with HubServer(repository) as server:
        server.before_weights = fill
        found = pull("owner/tiny", server.url, disk / "hub")
    assert "disk became full" in str(found["error"])


def test_an_unreachable_hub_is_said_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    found = pull("smolvlm2-500m", "http://127.0.0.1:9", tmp_path / "hub")
    assert "does not answer" in str(found["error"])
    assert time.monotonic() - began < 10


def test_reachable_keeps_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        assert not hub.reachable(0.5)
        assert time.monotonic() - began < 1.5


def test_offline_is_respected(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer(repository) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        assert hub.reachable()
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert not hub.reachable()
