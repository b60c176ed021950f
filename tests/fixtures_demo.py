"""The demo model made once a test session, the hard way, for every test that asks for it.

The ``conftest.py`` of the demo's tests imports `demo_home` and `demo_making`; tests that use
them carry ``@pytest.mark.registry``.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_COMMAND = [sys.executable, "-m", "vlmchat.demo.build"]


@dataclass(frozen=True)
class Making:
    """How the model came to be.

    Attributes:
        home: the ``VLMCHAT_HOME`` in whose cache it lies.
        left: names of what a maker that was killed in mid-download left there.
        codes: exit codes of the two makers that came after it, both at once.
        said: the events of each of the two.
    """

    home: Path
    left: list[str]
    codes: list[int | None]
    said: list[list[dict[str, Any]]]


def start(home: Path) -> "subprocess.Popen[str]":
    """Start a process that makes the model in `home`."""
    return subprocess.Popen(
        _COMMAND,
        env={**os.environ, "VLMCHAT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def events(child: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    """Wait for `child` and return what it told."""
    out, _ = child.communicate(timeout=240)
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="session")
def demo_making(tmp_path_factory: pytest.TempPathFactory) -> Making:
    """Make the model once: one process is killed in mid-download, then two start at once."""
    home = tmp_path_factory.mktemp("demo-home")
    killed = start(home)
    assert killed.stdout is not None
    for line in killed.stdout:
        if json.loads(line)["stage"] == "downloading":
            break
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    left = [file.name for file in (home / "cache" / "demo").glob("making-*")]
    time.sleep(1)  # the orphaned pip may still be writing
    children = [start(home), start(home)]
    said = [events(child) for child in children]
    return Making(home, left, [child.returncode for child in children], said)


@pytest.fixture(scope="session")
def demo_home(demo_making: Making) -> Path:
    """Return a ``VLMCHAT_HOME`` in whose cache the demo model lies ready."""
    assert demo_making.codes == [0, 0], demo_making.said
    return demo_making.home
