"""The most memory that this process has had at once."""

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Return the largest resident size of this process so far; 0 where no system call tells."""
    if _STATUS.exists():  # the other figure begins with the parent's at the fork
        return int(_STATUS.read_text("ascii").split("VmHWM:")[1].split()[0]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
