"""How much memory a run could have, and how much of it the chat's own engine takes."""

import contextlib
import shutil
import subprocess

_SECONDS = 5


def free_memory(device: str) -> int:
    """Return the bytes that are free on `device`; blocking.

    Args:
        device: ``cpu`` or ``cuda``.
    """
    if device.startswith("cuda"):
        figures = _asked("--query-gpu=memory.free")
        if figures:
            return max(int(line) for line in figures) * 2**20
    import psutil

    return int(psutil.virtual_memory().available)


def memory_of(pid: int | None, device: str) -> int:
    """Return the bytes of `device` that a process takes; 0 when it is gone; blocking."""
    if pid is None:
        return 0
    if device.startswith("cuda"):
        rows = [line.split(",") for line in _asked("--query-compute-apps=pid,used_memory")]
        return sum(int(used) for owner, used in rows if int(owner) == pid) * 2**20
    import psutil

    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _asked(query: str) -> list[str]:
    """Return what the driver's own tool answers, a line for each; nothing where it is not."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        done = subprocess.run(
            (tool, query, "--format=csv,noheader,nounits"),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.strip() for line in done.stdout.splitlines()]
    return [line for line in rows if line and line.replace(",", "").replace(" ", "").isdigit()]
