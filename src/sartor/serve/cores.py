"""What this process may use: physical cores within affinity and quota, and free memory.

Two hardware threads of one core share the units that multiply, so a second one adds waiting, not
speed. A container's quota is time: threads beyond it are stopped in the middle of a pass.
"""

import os
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path, PurePosixPath


def cores(root: Path = Path("/")) -> int:
    """Physical cores this process may keep busy, at least 1.

    Args:
        root: Where `proc` and `sys` lie.
    """
    try:
        allowed = _physical(os.sched_getaffinity(0), root)
    except AttributeError:  # macOS has no affinity
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *_quotas(root)]))


def apart(threads: int, root: Path = Path("/")) -> list[list[int]]:
    """Processors for each of the threads that share a pass, its caller first.

    The physical cores that the process may use, dealt out evenly, so that no two of a pass are
    given one core. Empty where nothing is shared, where it cannot be told, or where there are fewer
    cores than threads.

    Args:
        threads: Of a pass.
        root: Where `proc` and `sys` lie.
    """
    try:
        allowed = sorted(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        return []
    kept: dict[str, list[int]] = {}
    for cpu in allowed:
        kept.setdefault(_siblings(cpu, root), []).append(cpu)
    found = list(kept.values())
    if not 1 < threads <= len(found):
        return []
    ends = [len(found) * each // threads for each in range(threads + 1)]
    dealt = [found[low:high] for low, high in pairwise(ends)]
    return [[cpu for core in group for cpu in core] for group in dealt]


@contextmanager
def keeping_to(processors: Collection[int]) -> Generator[None]:
    """Run a block of the calling thread on some processors; where it may not, as before.

    Args:
        processors: Those; none for as before.
    """
    before: set[int] = os.sched_getaffinity(0) if processors else set()
    kept = before.intersection(processors)
    if kept and kept != before:
        with suppress(OSError):
            os.sched_setaffinity(0, kept)
    try:
        yield
    finally:
        if kept and kept != before:
            with suppress(OSError):
                os.sched_setaffinity(0, before)


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that may still be taken, by the machine and its control groups; None if unknown.

    Args:
        root: Where `proc` and `sys` lie.
    """
    found = [*_available(root), *_left(root)]
    return min(found) if found else None


def _available(root: Path) -> Iterator[int]:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        fields = next(line.split() for line in lines if line.startswith("MemAvailable:"))
        yield int(fields[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):  # not Linux
        return


def _left(root: Path) -> Iterator[int]:
    for controllers, group in _groups(root):
        place = root / "sys/fs/cgroup" / ("memory" if controllers else "") / group
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        names = names if controllers else ("memory.max", "memory.current")
        if controllers and "memory" not in controllers.split(","):
            continue
        try:
            most, taken = (int((place / name).read_text()) for name in names)
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
        yield max(0, most - taken)


def _physical(allowed: Iterable[int], root: Path) -> int:
    """Cores that the allowed hardware threads lie on; each is its own where nothing says more."""
    return len({_siblings(cpu, root) for cpu in allowed})


def _siblings(cpu: int, root: Path) -> str:
    place = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    try:
        return place.read_text().strip()
    except OSError:
        return str(cpu)


def _quotas(root: Path) -> Iterator[int]:
    """Cores' worth of time that each control group around this process allows, rounded."""
    for controllers, group in _groups(root):
        if not controllers:
            yield from _read(root / "sys/fs/cgroup" / group, "cpu.max")
        elif "cpu" in controllers.split(","):
            where = root / "sys/fs/cgroup/cpu" / group
            yield from _read(where, "cpu.cfs_quota_us", "cpu.cfs_period_us")


def _groups(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """(controllers, path) of the control groups around this process; no controllers in version 2.

    Inside a container its own group is often mounted as the root: then only the root is there.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        own = PurePosixPath(path.lstrip("/"))
        for group in (own, *own.parents):
            yield controllers, group


def _read(group: Path, *names: str) -> Iterator[int]:
    try:
        quota, period = " ".join((group / name).read_text() for name in names).split()
        if int(quota) > 0 and int(period) > 0:
            yield max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no such group, or "max": no quota
        return
