"""Merging an adapter into its base, by a process of its own: PyTorch has no place in this one."""

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from vlmchat import paths
from vlmchat.chat.formats.values import short
from vlmchat.errors import ModelError, UsageError
from vlmchat.finetune.files import JobError, sync_folder, told
from vlmchat.finetune.job import BaseModelRef
from vlmchat.finetune.preparing import find_base
from vlmchat.finetune.shelf import Adapter
from vlmchat.models.adapter import check_mergeable
from vlmchat.models.local import is_complete
from vlmchat.models.progress import Progress, ProgressSink, ignore_progress
from vlmchat.text import human_bytes, visible_line

_LOOK_SECONDS = 0.2
COMMAND = (sys.executable, "-m", "vlmchat.engine.merging")


@dataclass(frozen=True, slots=True)
class Merged:
    """A model that an adapter was merged into.

    Attributes:
        folder: where it is.
        largest: difference of a logit from base and adapter, on a short prompt with a picture.
        scale: largest of these logits.
        dtype: that they were computed in.
    """

    folder: Path
    largest: float
    scale: float
    dtype: str

    def sentence(self) -> str:
        """Return what a person should know."""
        return (
            f"The merged model is in {visible_line(str(self.folder))}; on a short prompt its "
            f"logits differ from base and adapter by at most {self.largest:.2g} of "
            f"{self.scale:.3g} ({self.dtype})."
        )


def merge(
    adapter: Adapter,
    target: Path,
    *,
    base: str | None = None,
    progress: ProgressSink = ignore_progress,
    command: Sequence[str] = COMMAND,
    stop: Event | None = None,
) -> Merged:
    """Merge an adapter into a full model; blocking.

    Args:
        adapter: of the shelf.
        target: folder to be made, laid out as the base's is.
        base: the model, where it is not the one that the adapter names.
        progress: is told what happens; it may raise to end the work.
        command: the process that does it.
        stop: when set from another thread, ends the work.

    Raises:
        UsageError: something is at `target` already, the base is not known, or it was stopped.
        ModelError: the base cannot be had, the adapter does not fit it, or has nothing to merge.
        JobError: it cannot be written.
    """
    target = target.expanduser().absolute()
    if target.exists():
        raise UsageError(f"“{short(target)}” exists already: choose another name.")
    check_mergeable(adapter.folder)
    model = _base_folder(adapter, base, progress)
    with told(f"The merged model cannot be written to {short(target.parent)}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(model, target.parent)
        temporary = target.parent / f".{target.name[:80]}.{secrets.token_hex(6)}.part"
        temporary.mkdir()
        try:
            arguments = ("--base", model, "--adapter", adapter.folder, "--out", temporary)
            found = _run((*command, *map(str, arguments)), progress, stop or Event())
            temporary.rename(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Merged(target, float(found["largest"]), float(found["scale"]), str(found["dtype"]))


def _base_folder(adapter: Adapter, base: str | None, progress: ProgressSink) -> Path:
    """Return the folder of the model to merge into; it is fetched if need be.

    Raises:
        UsageError: nobody says which.
        ModelError: it cannot be had.
    """
    named: BaseModelRef = adapter.card.base
    if base is None:
        for there in (named.folder, named.id):
            if there and Path(there).is_absolute() and is_complete(Path(there)):
                return Path(there)
        if not named.id:
            raise UsageError(
                f"The adapter “{short(adapter.name)}” names no base: add --base MODEL."
            )
        pinned = named.revision and named.id != "demo"
        base = f"{named.id}@{named.revision}" if pinned else named.id
    return find_base(base, progress=progress).folder


def _check_room(model: Path, folder: Path) -> None:
    needed = sum(file.stat().st_size for file in model.iterdir() if file.is_file())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise JobError(
            f"The merged model needs {human_bytes(needed)} and {short(folder)} has "
            f"{human_bytes(free)} free: choose another folder."
        )


def _run(command: Sequence[str], progress: ProgressSink, stop: Event) -> dict[str, Any]:
    """Run the process to its end and return its last line.

    Raises:
        ModelError: it said why not, or ended without a word.
    """
    log_file = paths.log_dir() / "merge.log"
    found: dict[str, Any] = {}
    with log_file.open("wb") as log, _ended(command, log) as process:
        assert process.stdout is not None
        Thread(target=_kill_when, args=(stop, process), daemon=True).start()
        for row in map(json.loads, process.stdout):
            if "text" in row:
                progress(Progress("converting", row["text"], row["done"], row["total"]))
            else:
                found = row
        process.wait()
    if stop.is_set():
        raise UsageError("Merging was stopped: nothing was written.")
    if "error" in found:
        raise ModelError(found["error"])
    if "largest" not in found:
        raise ModelError(f"The adapter could not be merged: the reason is in {log_file}.")
    return found


def _kill_when(stop: Event, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        if stop.wait(_LOOK_SECONDS):
            process.kill()
            return


@contextmanager
def _ended(command: Sequence[str], log: Any) -> Iterator["subprocess.Popen[bytes]"]:  # noqa: ANN401
    """Start a process that does not outlive the block, however that ends."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
