"""Runs ``vlmchat --plain`` as a shell does."""

import os
import subprocess
import sys

TIMEOUT = 120


def piped(text: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Pipe `text` into plain mode and return what came of it."""
    done = subprocess.run(
        [sys.executable, "-m", "vlmchat.cli.main", *map(str, arguments)],
        input=text,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done
