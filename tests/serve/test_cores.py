"""Threads are counted as the machine can use them: physical cores, within affinity and quota."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sartor.bundle import Bundle
from sartor.serve.cores import apart, cores, free_memory, keeping_to
from sartor.serve.session import Session


def machine(root: Path, siblings: dict[int, str]) -> None:
    for cpu, listed in siblings.items():
        place = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        place.parent.mkdir(parents=True)
        place.write_text(listed + "\n")


def written(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text + "\n")


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch):
    def allow(*cpus: int) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(cpus), raising=False)

    return allow


def test_two_hardware_threads_of_a_core_are_one(tmp_path: Path, allowed):
    machine(tmp_path, {0: "0,4", 1: "1,5", 4: "0,4", 5: "1,5"})
    allowed(0, 1, 4, 5)
    assert cores(tmp_path) == 2
    allowed(0, 4)
    assert cores(tmp_path) == 1
    allowed(0, 1)
    assert cores(tmp_path) == 2


def test_without_a_topology_every_thread_is_a_core(tmp_path: Path, allowed):
    allowed(0, 1, 2)
    assert cores(tmp_path) == 3


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("150000 100000", 2), ("20000 100000", 1), ("damaged", 8), ("0 0", 8)],
)
def test_a_containers_quota_bounds_them(tmp_path: Path, allowed, quota: str, expected: int):
    allowed(*range(8))
    written(tmp_path, "proc/self/cgroup", "0::/")
    written(tmp_path, "sys/fs/cgroup/cpu.max", quota)
    assert cores(tmp_path) == expected


def test_the_narrowest_of_the_groups_around_counts(tmp_path: Path, allowed):
    allowed(*range(8))
    written(tmp_path, "proc/self/cgroup", "0::/pod/server")
    written(tmp_path, "sys/fs/cgroup/cpu.max", "max 100000")
    written(tmp_path, "sys/fs/cgroup/pod/cpu.max", "300000 100000")
    written(tmp_path, "sys/fs/cgroup/pod/server/cpu.max", "400000 100000")
    assert cores(tmp_path) == 3


def test_the_older_form_of_the_quota_is_read(tmp_path: Path, allowed):
    allowed(*range(8))
    written(tmp_path, "proc/self/cgroup", "9:memory:/m\n4:cpu,cpuacct:/docker/1")
    written(tmp_path, "sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "200000")
    written(tmp_path, "sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us", "100000")
    assert cores(tmp_path) == 2
    written(tmp_path, "sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", "-1")
    assert cores(tmp_path) == 8


def test_free_memory_is_what_the_machine_and_the_container_leave(tmp_path: Path):
    assert free_memory(tmp_path) is None
    written(tmp_path, "proc/meminfo", "MemTotal: 90 kB\nMemAvailable:    50 kB")
    assert free_memory(tmp_path) == 50 * 1024
    written(tmp_path, "proc/self/cgroup", "0::/pod")
    written(tmp_path, "sys/fs/cgroup/pod/memory.max", "30000")
    written(tmp_path, "sys/fs/cgroup/pod/memory.current", "10000")
    written(tmp_path, "sys/fs/cgroup/memory.max", "max")
    assert free_memory(tmp_path) == 20_000
    written(tmp_path, "proc/self/cgroup", "5:memory:/docker/1")
    written(tmp_path, "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "7000")
    written(tmp_path, "sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes", "8000")
    assert free_memory(tmp_path) == 0


def test_this_machine_has_some():
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_each_thread_of_a_pass_has_cores_of_its_own(tmp_path: Path, allowed):
    allowed(0, 1)
    assert apart(2, tmp_path) == [[0], [1]]
    assert apart(1, tmp_path) == []
    assert apart(3, tmp_path) == [], "more threads than cores"
    machine(tmp_path, {0: "0,4", 1: "1,5", 2: "2,6", 3: "3,7", 4: "0,4", 5: "1,5"})
    machine(tmp_path, {6: "2,6", 7: "3,7"})
    allowed(*range(8))
    assert apart(4, tmp_path) == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert apart(2, tmp_path) == [[0, 4, 1, 5], [2, 6, 3, 7]], "half of the machine each"
    allowed(2, 3, 6, 7)
    assert apart(2, tmp_path) == [[2, 6], [3, 7]]


def test_where_threads_cannot_be_placed_they_run_anywhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert apart(2) == []
    with keeping_to([]):
        pass


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_the_threads_of_a_pass_keep_to_their_cores_and_the_caller_for_its_time(bundle: Bundle):
    places = apart(2)
    if not places:
        pytest.skip("one core")
    tasks, mine = set(os.listdir("/proc/self/task")), os.sched_getaffinity(0)
    session = Session.open(bundle.path("model.onnx"), 2)
    assert (list(session.caller), session.outputs) == (places[0], 3)

    def placed() -> bool:
        """Whether a thread that was started for the session keeps to its share."""
        for task in {*os.listdir("/proc/self/task")} - tasks:
            with suppress(ProcessLookupError):  # one of the test runner's, which has ended
                if os.sched_getaffinity(int(task)) == set(places[1]):
                    return True
        return False

    # A thread places itself, when it first runs.
    until = time.monotonic() + 20
    while not placed() and time.monotonic() < until:
        time.sleep(0.01)
    assert placed()
    with keeping_to(session.caller):
        assert os.sched_getaffinity(0) == set(places[0])
    with pytest.raises(KeyError), keeping_to(session.caller):
        raise KeyError
    assert os.sched_getaffinity(0) == mine
    with keeping_to([max(mine) + 1]):
        assert os.sched_getaffinity(0) == mine, "what it may not use, it does not"
    assert Session.open(bundle.path("model.onnx"), 1).caller == []
