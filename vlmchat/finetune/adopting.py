"""Putting the result of a job on the shelf once, whoever watches its end."""

from vlmchat.errors import VlmchatError
from vlmchat.finetune.files import told, write_whole
from vlmchat.finetune.job import Job
from vlmchat.finetune.shelf import Adapter, adopt, list_adapters

_MARK = "adopted"
_SECONDS = 60.0


def adopt_once(job: Job) -> Adapter | None:
    """Put a job's adapter on the shelf, unless that was done before; blocking.

    The chat, another chat and the shell may all watch the same job end. What was deleted or
    renamed since does not come back.

    Returns:
        The adapter; ``None`` when it was there before and is there no more.

    Raises:
        UsageError: the job is still running.
        ModelError: the job's adapter is missing or damaged.
        JobError: the disk is full, or the folder not writable.
    """
    from filelock import FileLock

    with (
        told(f"The result of “{job.id}” cannot be kept"),
        FileLock(job.folder / "adopt.lock", timeout=_SECONDS),
    ):
        there = next((one for one in list_adapters() if one.card.job == job.id), None)
        if there is None and not (job.folder / _MARK).exists():
            there = adopt(job)
        if there is not None:
            write_whole(job.folder / _MARK, f"{there.name}\n".encode())
        return there


def is_adopted(job: Job) -> bool:
    """Return whether a job's adapter was put on the shelf; blocking."""
    if (job.folder / _MARK).exists():
        return True
    try:
        return any(one.card.job == job.id for one in list_adapters())
    except VlmchatError:
        return False
