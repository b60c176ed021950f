"""The number of threads follows the load of the machine."""

import os
import subprocess
import sys
import time
from collections import namedtuple

import pytest

from vlmchat.engine import threads as module
from vlmchat.engine.threads import SystemLoad, Threads, fastest, usable_cores


class FakeMachine:
    """A clock and a load that a test turns.

    Attributes:
        others: cores that others keep busy from now on.
        ours: cores that we keep busy.
        queue: threads of others that want to compute.
    """

    def __init__(self) -> None:
        self.time = 100.0
        self.others, self.ours, self.queue = 0.0, 0.0, 0
        self._busy, self._own = 50.0, 7.0
        self.told: list[int] = []
        self.looks = 0

    def clock(self) -> float:
        return self.time

    def busy(self) -> tuple[float, float]:
        self.looks += 1
        return self._busy, self._own

    def waiting(self) -> int:
        return self.queue

    def passes(self, seconds: float) -> None:
        self.time += seconds
        self._busy += (self.others + self.ours) * seconds
        self._own += self.ours * seconds


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


@pytest.fixture
def pool(machine: FakeMachine) -> Threads:
    return Threads(machine, machine.clock, machine.told.append)


def settle(pool: Threads, machine: FakeMachine, seconds: float) -> int:
    """Let an answer of so many seconds go by, at 20 tokens a second."""
    for _ in range(round(seconds * 20)):
        machine.passes(0.05)
        pool.now()
    return pool.now()


def test_one_is_given_up_for_each_core_that_others_keep_busy(
    pool: Threads, machine: FakeMachine
) -> None:
    assert pool.use(0, most=4) == 4 and machine.told == [4]
    machine.ours = 3.5
    assert settle(pool, machine, 1) == 4
    machine.others = 0.3  # the chat draws its screen
    assert settle(pool, machine, 1) == 4
    machine.others = 0.9
    assert settle(pool, machine, 0.6) == 3
    machine.others = 2.2
    assert settle(pool, machine, 0.6) == 2
    machine.others = 40
    assert settle(pool, machine, 0.6) == 1
    assert machine.told == [4, 3, 2, 1]


def test_they_come_back_after_a_calm_only(pool: Threads, machine: FakeMachine) -> None:
    pool.use(0, most=2)
    machine.others = 2
    assert settle(pool, machine, 1) == 1
    machine.others = 0
    assert settle(pool, machine, 0.8) == 1
    machine.others = 1  # it was only a pause
    assert settle(pool, machine, 0.6) == 1
    machine.others = 0
    assert settle(pool, machine, 0.8) == 1
    assert settle(pool, machine, 1) == 2


def test_after_a_pause_it_counts_what_is_queued_now(pool: Threads, machine: FakeMachine) -> None:
    pool.use(0, most=2)
    assert settle(pool, machine, 1) == 2
    machine.passes(300)
    machine.queue = 2
    assert pool.now() == 1
    machine.passes(300)
    machine.queue = 0
    assert pool.now() == 2


def test_a_number_that_was_set_stays(pool: Threads, machine: FakeMachine) -> None:
    assert pool.use(3) == 3 and not pool.adapts
    machine.others = 9
    assert settle(pool, machine, 2) == 3
    assert machine.told == [3] and machine.looks == 0


def test_looking_is_rare(pool: Threads, machine: FakeMachine) -> None:
    pool.use(0, most=2)
    for _ in range(1000):
        machine.passes(0.002)
        pool.now()
    assert 6 <= machine.looks <= 9


def test_torch_is_told_again_by_another_thread(pool: Threads, machine: FakeMachine) -> None:
    from threading import Thread

    pool.use(2)
    other = Thread(target=pool.now)
    other.start()
    other.join()
    assert machine.told == [2, 2]


def test_a_container_may_use_what_it_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    quota = tmp_path_factory.mktemp("cgroup") / "cpu.max"
    monkeypatch.setattr(module, "_QUOTA", quota)
    whole = usable_cores()
    quota.write_text("max 100000\n")
    assert usable_cores() == whole
    quota.write_text("50000 100000\n")
    assert usable_cores() == 1


def test_half_the_threads_where_they_are_faster(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {8: 1.0, 4: 0.7, 2: 1.0, 1: 1.8}
    monkeypatch.setattr(module, "_product_seconds", seconds.__getitem__)
    assert fastest(8, machine) == 4 and fastest(2, machine) == 2 and fastest(1, machine) == 1
    machine.queue = 1
    assert fastest(8, machine) == 8


def test_what_the_host_takes_is_no_work_of_others_here(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"user": 5.0, "system": 2.0, "idle": 50.0, "steal": 40.0, "guest": 1.0, "iowait": 3.0}
    given = namedtuple("given", times)(**times)  # as psutil has it
    monkeypatch.setattr("psutil.cpu_times", lambda: given)
    assert SystemLoad().busy()[0] == 7.0


def test_the_system_counts_others_and_us() -> None:
    load = SystemLoad()
    before = load.busy()
    code = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    end = time.process_time() + 0.1
    while time.process_time() < end:
        os.getpid()
    total, own = (new - old for new, old in zip(load.busy(), before, strict=True))
    assert own >= 0.1 and total - own >= 0.2
    assert load.waiting() >= 0
