"""The demo model made once a test session, for every test that asks for it.

The root ``conftest.py`` imports `demo_home`; tests that use it carry ``@pytest.mark.registry``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a ``VLMCHAT_HOME`` in whose cache the demo model lies ready."""
    home = tmp_path_factory.mktemp("demo-home")
    done = subprocess.run(
        [sys.executable, "-m", "vlmchat.demo.build"],
        env={**os.environ, "VLMCHAT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return home
