"""Models from the Hugging Face Hub: whether it answers, and fetching a model into its cache.

Only configuration, tokenizer and safetensors files are fetched: never pickles, never code.
"""

import errno
import os
import shutil
import threading
from pathlib import Path

from vlmchat.errors import ModelError
from vlmchat.models import local
from vlmchat.models.progress import Progress, ProgressSink
from vlmchat.text import human_bytes, visible_line

ALLOWED = ("*.json", "*.jinja", "*.safetensors", "merges.txt", "vocab.txt")
_SUBFOLDERS = "*/*"  # other formats of the same weights (ONNX, …) lie there
_DEFAULT_ENDPOINT = "https://huggingface.co"
_TRUE = {"1", "ON", "YES", "TRUE"}
_POLL = 0.25


class HubUnreachableError(ModelError):
    """The Hub does not answer, or may not be asked."""


class HubNotFoundError(ModelError):
    """The Hub has no such model."""


def endpoint() -> str:
    """Return the address of the Hub, which ``HF_ENDPOINT`` may change."""
    return (os.environ.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT).rstrip("/")


def is_offline() -> bool:
    """Return whether ``HF_HUB_OFFLINE`` forbids asking the Hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def reachable(timeout: float = 3.0) -> bool:
    """Return whether the Hub answers within `timeout` seconds, name look-up included."""
    if is_offline():
        return False
    answers: list[bool] = []
    # A name look-up knows no time limit, so it waits in a thread that nobody waits for.
    asking = threading.Thread(target=lambda: answers.append(_ask(timeout)), daemon=True)
    asking.start()
    asking.join(timeout)
    return bool(answers and answers[0])


def _ask(timeout: float) -> bool:
    import httpx2

    try:
        return httpx2.head(endpoint(), timeout=timeout).status_code < 500
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
        return False


def download(repo_id: str, revision: str, progress: ProgressSink) -> Path:
    """Fetch a model into the Hub's cache and return its snapshot folder.

    What is already there is not fetched again, so an interrupted download goes on with the files
    that are missing.

    Args:
        repo_id: ``owner/name``.
        revision: branch, tag or commit; empty for ``main``.
        progress: is told the bytes.

    Raises:
        HubUnreachableError: there is no network, or it broke off.
        HubNotFoundError: the Hub has no such model.
        ModelError: gated, no such revision, disk full, or refused; one sentence.
    """
    if not reachable():
        raise _unreachable(repo_id)
    try:
        return _download(repo_id, revision or "main", progress)
    except ModelError:
        raise
    except Exception as error:
        raise _explained(error, repo_id, revision or "main") from error


def _download(repo_id: str, revision: str, progress: ProgressSink) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    text = f"Downloading {visible_line(repo_id)}"
    progress(Progress("starting", f"Asking the Hub for {visible_line(repo_id)}"))
    plan = snapshot_download(
        repo_id,
        revision=revision,
        cache_dir=local.hub_cache(),
        endpoint=endpoint(),
        allow_patterns=list(ALLOWED),
        ignore_patterns=_SUBFOLDERS,
        dry_run=True,
    )
    assert isinstance(plan, list)
    if not any(one.filename.endswith(".safetensors") for one in plan):
        raise ModelError(f"“{visible_line(repo_id)}” holds no safetensors weights on the Hub.")
    total = sum(one.file_size or 0 for one in plan)
    missing = sum(one.file_size or 0 for one in plan if one.will_download)
    _check_space(missing)

    results: list[Path | BaseException] = []

    def work() -> None:
        try:
            results.append(
                Path(
                    snapshot_download(
                        repo_id,
                        revision=revision,
                        cache_dir=local.hub_cache(),
                        endpoint=endpoint(),
                        allow_patterns=list(ALLOWED),
                        ignore_patterns=_SUBFOLDERS,
                    )
                )
            )
        except BaseException as error:
            results.append(error)

    before = _stored_bytes(repo_id)
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    while worker.is_alive():
        fresh = max(0, _stored_bytes(repo_id) - before)
        progress(Progress("downloading", text, min(total - missing + fresh, total), total))
        worker.join(_POLL)
    result = results[0]
    if isinstance(result, BaseException):
        raise result
    progress(Progress("downloading", text, total, total))
    return result


def _stored_bytes(repo_id: str) -> int:
    """Return the bytes of the repository in the cache, those of files on their way included."""
    size = 0
    for file in (local.repository_folder(repo_id) / "blobs").glob("*"):
        try:
            size += file.stat().st_size
        except OSError:
            continue  # renamed between listing and looking
    return size


def _check_space(needed: int) -> None:
    folder = local.hub_cache()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelError(
            f"The download needs {human_bytes(needed)} and {human_bytes(free)} are free on the "
            f"disk of “{visible_line(str(local.hub_cache()))}”: make room, or set HF_HOME to "
            "another disk."
        )


def _unreachable(repo_id: str) -> HubUnreachableError:
    why = (
        "HF_HUB_OFFLINE forbids asking the Hub"
        if is_offline()
        else "the Hugging Face Hub does not answer"
    )
    return HubUnreachableError(
        f"“{visible_line(repo_id)}” is not (wholly) on this machine and {why}: "
        "try again where there is a network, or take --model demo."
    )


def _explained(error: BaseException, repo_id: str, revision: str) -> ModelError:
    """Return `error` of the Hub's library as one sentence."""
    import httpx2
    from huggingface_hub import errors

    shown = f"“{visible_line(repo_id)}”"
    wrapped = isinstance(error, errors.DryRunError | errors.LocalEntryNotFoundError)
    if wrapped and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, errors.OfflineModeIsEnabled | httpx2.TransportError | ConnectionError):
        return _unreachable(repo_id)
    missing = f"The Hugging Face Hub has no model {shown}, or it is private."
    cache = f"“{visible_line(str(local.hub_cache()))}”"
    match error:
        case errors.GatedRepoError():
            sentence = (
                f"{shown} is gated: accept its terms on its Hub page, then log in with "
                "`hf auth login`."
            )
        case errors.RepositoryNotFoundError() | errors.HFValidationError():
            return HubNotFoundError(missing)
        case errors.RevisionNotFoundError():
            sentence = f"{shown} has no revision “{visible_line(revision)}” on the Hub."
        case errors.HfHubHTTPError(response=response) if response is not None:
            if response.status_code == 401:
                return HubNotFoundError(missing)
            sentence = (
                f"The Hugging Face Hub refused {shown} with HTTP {response.status_code}: "
                "try again later."
            )
        case OSError(errno=errno.ENOSPC):
            sentence = (
                f"The disk became full while {shown} was fetched: make room in {cache} and "
                "try again; what arrived whole is kept."
            )
        case OSError(errno=errno.EACCES | errno.EPERM | errno.EROFS):
            sentence = f"{cache} cannot be written: set HF_HOME to a folder that can."
        case _:
            lines = str(error).strip().splitlines()
            detail = visible_line(lines[0])[:200].rstrip(".") if lines else type(error).__name__
            sentence = f"{shown} could not be fetched ({detail})."
    return ModelError(sentence)
