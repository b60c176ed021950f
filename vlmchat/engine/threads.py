"""How many threads the engine computes with: as many as cores are free, looked at again and again.

Threads that share a layer wait for each other at its end. On cores of their own that costs
microseconds; where one has to queue behind another program's thread, all wait for it, at every
layer, and a token takes twenty times as long. So one thread is given up for each core that others
keep busy, this program's own screen among them, and taken back once they have gone.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import psutil
import torch

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25  # the system counts in hundredths of a second
_STALE_SECONDS = 2.0  # a mean over longer says nothing about now
_CALM_SECONDS = 1.0  # threads come back after so long a calm
_ALLOWED = 0.4  # of a core that others may use without being given one
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Load(Protocol):
    """Where readings come from."""

    def busy(self) -> tuple[float, float]:
        """Return how many seconds all cores have computed, and how many of them for us."""

    def waiting(self) -> int:
        """Return how many threads of others want to compute at this moment; a rough figure."""


class SystemLoad(Load):
    """The load of this machine."""

    def busy(self) -> tuple[float, float]:
        """Return how many seconds all cores have computed, and how many of them for us."""
        times = psutil.cpu_times()._asdict()
        # A guest's time is in its host's already, and what waits for a disk does not compute. What
        # a virtual machine's host keeps for others (steal) is not got back by giving up a thread:
        # two threads were twice as fast as one at a sixth of the time stolen.
        apart = ("idle", "iowait", "guest", "guest_nice", "steal")
        return sum(value for name, value in times.items() if name not in apart), time.process_time()

    def waiting(self) -> int:
        """Return how many threads of others want to compute; 0 where the system does not say.

        The least of three looks: whoever only woke up for a moment is not meant.
        """
        least = _runnable()
        for _ in range(2):
            if least:
                time.sleep(0.001)
                least = min(least, _runnable())
        return least


def _runnable() -> int:
    """Return how many threads but the one that asks are on a core or in the queue for one."""
    try:
        fields = Path("/proc/loadavg").read_text("ascii").split()
        return max(0, int(fields[3].partition("/")[0]) - 1)
    except (OSError, ValueError, IndexError):
        return 0


class Threads:
    """Decides how many threads to use, and tells torch; asked by the thread that computes.

    Args:
        load: where readings come from.
        clock: seconds; never goes back.
        tell: told every new number.
    """

    def __init__(
        self,
        load: Load | None = None,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[int], object] = torch.set_num_threads,
    ) -> None:
        self._load = load or SystemLoad()
        self._clock = clock
        self._tell = tell
        self._lock = threading.Lock()
        self._adapts = False
        self._most = 0
        self._count = 0
        self._told: tuple[int, int] | None = None  # thread and number
        self._looked = -math.inf
        self._seen = (0.0, 0.0)
        self._calm_since: float | None = None

    @property
    def most(self) -> int:
        """The number on an idle machine."""
        return self._most or usable_cores()

    @property
    def adapts(self) -> bool:
        """Whether the number follows the load."""
        return self._adapts

    def use(self, wanted: int, most: int | None = None) -> int:
        """Begin, and return the number to begin with.

        Args:
            wanted: the number; 0 has it follow the load.
            most: the most in that case; by default what is fastest while nobody else computes.
        """
        self._adapts = wanted == 0
        self._most = wanted or most or fastest(usable_cores(), self._load)
        self._count = self._most
        self._looked, self._calm_since, self._told = -math.inf, None, None
        self._say()
        log.info("%d threads%s", self._most, " at most" if self._adapts else "")
        return self._most

    def now(self) -> int:
        """Return how many threads to use from here on; torch has been told.

        Cheap enough to be asked before every token: the load is looked at four times a second.
        """
        if not self._most:
            self.use(0)
        with self._lock:
            now = self._clock()
            if self._adapts and now - self._looked >= _LOOK_SECONDS:
                self._look(now)
            self._say()
            return self._count

    def _look(self, now: float) -> None:
        before, since = self._seen, now - self._looked
        self._seen, self._looked = self._load.busy(), now
        if since > _STALE_SECONDS:
            others, settled = float(self._load.waiting()), True
        else:
            total, own = (new - old for new, old in zip(self._seen, before, strict=True))
            others, settled = max(0.0, total - own) / since, False
        free = max(1, self._most - max(0, math.ceil(others - _ALLOWED)))
        if free <= self._count or settled:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
            return
        elif now - self._calm_since < _CALM_SECONDS:
            return
        if free != self._count:
            log.info("%d threads: others keep %.1f cores busy", free, others)
        self._count, self._calm_since = free, None

    def _say(self) -> None:
        """Tell torch, which keeps the number apart for each thread that computes."""
        told = threading.get_ident(), self._count
        if told != self._told:
            self._told = told
            self._tell(self._count)


threads = Threads()
"""Of this process: torch has one number for all models, too."""


def usable_cores() -> int:
    """Return how many cores this process may have to itself: physical, allowed and paid for."""
    process = psutil.Process()
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    allowed = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else physical
    return max(1, min(physical, allowed, _quota() or physical))


def _quota() -> int | None:
    """Return how many cores' time a container is given, rounded up; ``None`` for all."""
    try:
        limit, period = _QUOTA.read_text("ascii").split()
        return None if limit == "max" else math.ceil(int(limit) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def fastest(cores: int, load: Load) -> int:
    """Return whether `cores` threads are the fastest, or half as many, by trying both.

    Two threads of one physical core pass for two cores in many virtual machines. While others
    compute, nothing can be said, and `cores` it is.
    """
    half = -(-cores // 2)
    if cores == 1 or load.waiting():
        return cores
    ours, fewer = _product_seconds(cores), _product_seconds(half)
    return half if fewer < 0.9 * ours else cores


def _product_seconds(count: int) -> float:
    """Return the seconds of a matrix product with `count` threads, the best of some."""
    torch.set_num_threads(count)
    left, right = (torch.ones(rows, 768, dtype=torch.float32) for rows in (256, 768))
    best = math.inf
    for _ in range(6):
        began = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - began)
    return best
