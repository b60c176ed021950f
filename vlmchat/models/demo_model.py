"""The demo model as a folder in the cache: where it lies and how it gets there.

It is made by `vlmchat.demo.build` in a process of its own, because that needs PyTorch and this
room must stay light: the child writes its progress as JSON lines.
"""

import functools
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import vlmchat
from vlmchat import paths
from vlmchat.errors import ModelError
from vlmchat.models import local
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import visible_line

RECIPE_VERSION = 1
"""Counts up when the same parts are put together in another way."""


def shipped_weights() -> Path:
    """Return the folder of the vision weights and configuration that come with the program."""
    return Path(vlmchat.__file__).parent / "demo" / "weights"


@functools.cache
def _key() -> str:
    digest = hashlib.sha256(f"recipe {RECIPE_VERSION}".encode())
    for file in sorted(shipped_weights().rglob("*")):
        if file.is_file():
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def folder() -> Path:
    """Return where the demo model of this version of the program lies once it is made."""
    return paths.cache_dir() / "demo" / _key()


def is_built() -> bool:
    """Return whether the demo model is on this machine."""
    return local.is_complete(folder())


def revision() -> str:
    """Return what tells this demo model from others made of other parts."""
    return _key()


def ensure(progress: ProgressSink) -> Path:
    """Return the demo model's folder, making it first if it is not there.

    Raises:
        ModelError: its parts cannot be fetched or put together.
    """
    target = folder()
    if is_built():
        return target
    progress(Progress("starting", "Preparing the demo model"))
    log = paths.log_dir() / "demo-build.log"
    with log.open("ab") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "vlmchat.demo.build"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
        try:
            problem = _follow(child, progress)
        except BaseException:
            child.terminate()
            raise
        finally:
            code = child.wait()
    if code != 0 or not is_built():
        raise ModelError(
            problem or f"The demo model could not be made (exit code {code}): see “{log}”."
        )
    return target


def _follow(child: "subprocess.Popen[str]", progress: ProgressSink) -> str:
    """Pass the child's progress on until it ends; return its error sentence or nothing."""
    assert child.stdout is not None
    problem = ""
    with child.stdout:
        for line in child.stdout:
            try:
                event = json.loads(line)
                if "error" in event:
                    problem = str(event["error"])
                else:
                    progress(
                        Progress(
                            event["stage"],
                            visible_line(event["text"]),
                            int(event["done"]),
                            int(event["total"]),
                        )
                    )
            except (ValueError, KeyError, TypeError):
                continue  # a library printed something; the last word is the exit code
    return problem
