"""Fetching models from the Hugging Face Hub, when the person asked for one."""

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vlmchat.errors import ModelError
from vlmchat.models.local import hub_cache
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import human_bytes, visible_line

_T = TypeVar("_T")
# Weights as safetensors only: pickles can run code, and other runtimes' files are only size.
PATTERNS = ["*.json", "*.safetensors", "*.jinja", "merges.txt", "vocab.txt"]
_UNWANTED = ["onnx/*", "*.onnx", "runs/*", "checkpoint-*/*"]
_POLL_SECONDS = 0.2
_PROBE_SECONDS = 3.0


def endpoint() -> str:
    """Return the Hub's address; ``HF_ENDPOINT`` names another."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def is_offline() -> bool:
    """Return whether the person has forbidden the Hub (``HF_HUB_OFFLINE``)."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def reachable(timeout: float = _PROBE_SECONDS) -> bool:
    """Return whether the Hub answers within `timeout` seconds."""
    if is_offline():
        return False
    import httpx2 as httpx

    answered = threading.Event()

    def probe() -> None:
        try:
            httpx.head(endpoint(), timeout=timeout)
        except Exception:  # any failure means that it is not reachable
            return
        answered.set()

    # Looking a name up may outlast every timeout of the client: a thread can be left behind.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(timeout)
    return answered.is_set()


def download(repo_id: str, revision: str, progress: ProgressSink) -> Path:
    """Fetch a model into the Hub's cache and return its folder.

    What was fetched before is kept, a broken download goes on where it stopped.

    Args:
        repo_id: ``owner/name``.
        revision: branch, tag or commit.
        progress: told the bytes fetched.

    Raises:
        ModelError: unknown, not permitted, no network, disk full; one sentence.
    """
    from huggingface_hub import snapshot_download

    cache = hub_cache()

    def fetch(dry: bool) -> object:
        return snapshot_download(
            repo_id,
            revision=revision,
            cache_dir=cache,
            allow_patterns=PATTERNS,
            ignore_patterns=_UNWANTED,
            dry_run=dry,
        )

    files = _translated(repo_id, revision, lambda: fetch(True))
    assert isinstance(files, list)
    missing = sum(file.file_size for file in files if file.will_download)
    _check_space(cache, missing, repo_id)
    blobs = cache / f"models--{repo_id.replace('/', '--')}" / "blobs"
    with _watching(blobs, missing, f"Downloading {visible_line(repo_id)}", progress):
        path = _translated(repo_id, revision, lambda: fetch(False))
    return Path(str(path))


class _watching:  # noqa: N801 - used like a function
    """Reports the growth of a folder while a block runs.

    The Hub client's own progress bars differ with its version and its transfer backend.
    """

    def __init__(self, folder: Path, total: int, text: str, progress: ProgressSink) -> None:
        self._folder, self._total, self._text, self._progress = folder, total, text, progress
        self._done = threading.Event()
        self._before = _folder_bytes(folder)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            grown = max(0, _folder_bytes(self._folder) - self._before)
            done = min(grown, self._total)
            self._progress(Progress("downloading", self._text, done, self._total))
            if self._done.wait(_POLL_SECONDS):
                return


def _folder_bytes(folder: Path) -> int:
    """Return the bytes that the files in `folder` occupy (sparse ones count what is written)."""
    total = 0
    try:
        for entry in os.scandir(folder):
            if entry.is_file(follow_symlinks=False):
                info = entry.stat(follow_symlinks=False)
                total += min(info.st_size, getattr(info, "st_blocks", 1 << 60) * 512)
    except OSError:
        pass
    return total


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the file system that `folder` lies or will lie on."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _check_space(cache: Path, need: int, repo_id: str) -> None:
    free = free_bytes(cache)
    if need > free:
        raise ModelError(
            f"“{visible_line(repo_id)}” needs {human_bytes(need)} of disk and "
            f"{human_bytes(free)} are free in {cache}: make room, or set HF_HOME to another disk."
        )


def _translated(repo_id: str, revision: str, call: Callable[[], _T]) -> _T:
    """Return what `call` returns, with the Hub client's errors as sentences."""
    from huggingface_hub import errors

    shown, where = visible_line(repo_id), visible_line(revision)
    try:
        return call()
    except errors.GatedRepoError:
        raise ModelError(
            f"“{shown}” is gated: accept its terms on the Hub and log in with hf auth login."
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"“{shown}” has no revision “{where}”: check it on the Hub.") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise ModelError(
            f"There is no model “{shown}” on the Hub (or it is private): check the name; "
            "vlmchat models lists the known ones."
        ) from None
    except errors.LocalEntryNotFoundError as error:
        raise _unreachable(shown) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ModelError(
                f"The disk is full ({hub_cache()}): make room and start again; "
                "what was fetched is kept."
            ) from None
        raise _unreachable(shown) from error
    except Exception as error:
        # The HTTP library's own errors share no base with the Hub client's.
        raise _unreachable(shown) from error


def _unreachable(shown: str) -> ModelError:
    why = "HF_HUB_OFFLINE is set" if is_offline() else "the Hub does not answer"
    return ModelError(
        f"“{shown}” is not on this machine and {why}: connect to a network, "
        "or use --model demo."
    )
