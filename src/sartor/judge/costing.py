"""What a bundle costs to run on a target, from the processor time and the memory it takes.

With c the processor seconds of a request (alone where it is billed by itself, in batches on a
machine that is full) and s the speed of the target's vCPUs beside the core that measured, a request
is c / s vCPU-seconds of work. Then, where a target bills by use,

    duration d = c / s / min(vCPUs, 1), rounded up to the target's step
    request    = d · (GiB · price + vCPUs · price) + price of a request

for the size of memory that makes a request cheapest among those that hold the bundle. A request is
taken to run alone, on one vCPU at most, and cold starts are left out. Where a target costs the same
however much it is used,

    month      = rent + purchase / (12 · years) + watts / 1000 · 730.5 h · price of a kWh
    requests   = vCPUs · s · utilisation · 2,629,800 s / c, that one machine answers in a month
    machines   = requests wanted / requests of one, rounded up

with a process for each vCPU, so that 1,000 requests cost 1,000 · month / requests of one: what they
cost on a machine that is as busy as `utilisation` says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf
from statistics import median

import numpy as np

from sartor.core.types import Use
from sartor.judge.api import CannotMeasure
from sartor.need.costs import Machine, PerUse

HOURS = 730.5
"""Of a month: a twelfth of 365.25 days."""
SECONDS = HOURS * 3600
HEADROOM = 1.2
"""Memory taken for each MiB that was seen in use at once."""
HORIZON = 10**9
"""Requests a month up to which a break-even is looked for."""
_STEPS = 20_000
_ROUNDING = 1e-9  # Of a step: c / s / share may miss a whole number by a rounding error.


@dataclass(frozen=True, slots=True)
class Size:
    """Memory in MiB and vCPUs, billed together."""

    memory_mib: float
    vcpus: float


@dataclass(frozen=True, slots=True)
class Lines:
    """What a month costs as a function of its requests.

    Args:
        rates: A request's price, an entry for each thing billed.
        free: Requests for which each is free.
        month: Of one machine; 0 where nothing is paid for standing ready.
        capacity: Requests that one machine answers in a month.
    """

    rates: tuple[float, ...] = ()
    free: tuple[float, ...] = ()
    month: float = 0.0
    capacity: float = inf

    def cost(self, requests: float) -> float:
        """Of so many requests in a month, at least one machine included."""
        used = sum(
            rate * max(requests - free, 0.0)
            for rate, free in zip(self.rates, self.free, strict=True)
        )
        return used + self.month * max(1, ceil(requests / self.capacity * (1 - _ROUNDING)))

    def per_1000(self) -> float:
        """Of a thousand further requests: nothing free, machines as busy as they may be."""
        return 1000 * (sum(self.rates) + self.month / self.capacity)

    def bends(self, low: float, high: float) -> Iterator[int]:
        """Whole numbers of requests in (low, high) next to where the cost bends or jumps."""
        yield from (floor(f) + d for f in self.free for d in (0, 1) if low < f < high)
        if self.month and self.capacity < high:
            first = max(1, floor(low / self.capacity))
            last = min(floor(high / self.capacity), first + _STEPS)
            for k in range(first, last + 1):
                yield from (floor(k * self.capacity) + d for d in (0, 1))


def needs_mib(use: Use) -> float:
    """Memory to have where each request is billed: what was seen, with headroom."""
    return HEADROOM * use.memory_mib


def lines(name: str, target: PerUse | Machine, use: Use, cpu: float | None = None) -> Lines:
    """How a month's cost follows from its requests.

    Args:
        name: Of the target, for messages.
        target: Its prices.
        use: What the bundle takes.
        cpu: Processor seconds of a request; of the median of `seconds_on` when None.

    Raises:
        CannotMeasure: If the target has not enough memory.
    """
    work = (use.cpu if cpu is None else cpu) / target.speed
    if isinstance(target, Machine):
        work = (float(median(seconds_on(target, use))) if cpu is None else cpu) / target.speed
        # A pass has one thread, so each vCPU gets a process of its own.
        processes = max(1, round(target.vcpus))
        if target.memory_mib < processes * HEADROOM * _busy(use):
            raise _too_large(name, target.memory_mib, use, processes)
        capacity = target.vcpus * target.utilisation * SECONDS / max(work, 1e-12)
        return Lines(month=month_of(target), capacity=capacity)
    size = size_on(name, target, use)
    seconds = float(_duration(work, np.array([size.vcpus]), target.duration_step_ms)[0])
    gib = size.memory_mib / 1024
    rates = (
        seconds * gib * target.per_gib_second,
        seconds * size.vcpus * target.per_vcpu_second,
        target.per_million_requests / 1e6,
    )
    free = (
        target.free_gib_seconds / (seconds * gib),
        target.free_vcpu_seconds / (seconds * size.vcpus),
        target.free_requests,
    )
    return Lines(rates, free)


def seconds_on(target: PerUse | Machine, use: Use) -> tuple[float, ...]:
    """Processor seconds of a request in each fresh process: in batches on a machine that is paid
    whether it is busy or not, alone where each request is billed."""
    return (use.busy_seconds or use.cpu_seconds) if isinstance(target, Machine) else use.cpu_seconds


def month_of(machine: Machine) -> float:
    """What one machine costs a month, used or not."""
    power = machine.watts / 1000 * HOURS * machine.per_kwh
    return machine.rent_per_month + machine.purchase / (12 * machine.years) + power


def size_on(name: str, target: PerUse, use: Use) -> Size:
    """The memory that makes a request cheapest, of those that hold the bundle; of equals the
    largest, which answers soonest.

    Raises:
        CannotMeasure: If none holds it.
    """
    memory, vcpus = _sizes(target)
    most = float(memory.max())
    if target.memory_mib is not None:
        at_least = np.flatnonzero(memory >= target.memory_mib)
        wanted = at_least[:1]
        most = target.memory_mib
    else:
        wanted = np.arange(len(memory))
    fits = wanted[memory[wanted] >= needs_mib(use)]
    if not len(fits):
        raise _too_large(name, most, use)
    memory, vcpus = memory[fits], vcpus[fits]
    seconds = _duration(use.cpu / target.speed, vcpus, target.duration_step_ms)
    price = seconds * (memory / 1024 * target.per_gib_second + vcpus * target.per_vcpu_second)
    best = int(np.flatnonzero(price <= price.min() * (1 + 1e-9))[-1])
    return Size(float(memory[best]), float(vcpus[best]))


def duration_on(target: PerUse, size: Size, use: Use) -> float:
    """Billed seconds of a request."""
    return float(
        _duration(use.cpu / target.speed, np.array([size.vcpus]), target.duration_step_ms)[0]
    )


def break_even(here: Lines, other: Lines, above: int = 0, horizon: int = HORIZON) -> int | None:
    """The smallest number of requests a month, above `above`, at which the other is cheaper.

    Args:
        here: Where the bundle runs.
        other: Where it could.
        above: Requests that are had already.
        horizon: Where the search ends.

    Returns:
        A whole number, so the two cost the same within one request's price where neither jumps;
        None if it is not cheaper anywhere up to the horizon.
    """
    marks = {above + 1, horizon}
    for one in (here, other):
        marks |= {n for n in one.bends(above, horizon) if above < n < horizon}
    points = sorted(marks)
    for low, high in zip(points, points[1:] or points, strict=False):
        if other.cost(low) < here.cost(low):
            return low
        if other.cost(high) < here.cost(high):
            return _first(here, other, low, high)
    return None


def _first(here: Lines, other: Lines, low: int, high: int) -> int:
    """Between two marks both are straight, so the sign of the difference changes once."""
    while high - low > 1:
        middle = (low + high) // 2
        if other.cost(middle) < here.cost(middle):
            high = middle
        else:
            low = middle
    return high


def cheapest(costs: Mapping[str, float]) -> str:
    """The target that costs least; the first by name of equals."""
    return min(sorted(costs), key=lambda name: costs[name])


def one_currency(targets: Sequence[PerUse | Machine]) -> bool:
    """Whether their prices can be compared."""
    return len({target.currency for target in targets}) <= 1


def _sizes(target: PerUse) -> tuple[np.ndarray, np.ndarray]:
    """(sizes,) memory in MiB, rising, and (sizes,) vCPUs."""
    if target.sizes:
        pairs = np.array(sorted(target.sizes), np.float64)
        return pairs[:, 0], pairs[:, 1]
    least, most, step = (
        float(part or 1.0)
        for part in (target.memory_least_mib, target.memory_most_mib, target.memory_step_mib)
    )
    memory = np.arange(least, most + step / 2, step)
    return memory, memory / float(target.mib_per_vcpu or 1.0)


def _duration(work: float, vcpus: np.ndarray, step_ms: float) -> np.ndarray:
    """Billed seconds of `work` vCPU-seconds on one vCPU at most."""
    steps = work / np.minimum(vcpus, 1.0) * 1000 / step_ms
    return np.maximum(np.ceil(steps * (1 - _ROUNDING)), 1.0) * step_ms / 1000


def _busy(use: Use) -> float:
    return max(use.memory_mib, use.busy_memory_mib)


def _too_large(name: str, most: float, use: Use, processes: int = 1) -> CannotMeasure:
    memory = _busy(use) if processes > 1 else use.memory_mib
    times = f" in each of {processes} processes" if processes > 1 else ""
    return CannotMeasure(
        f"the bundle takes {memory:,.0f} MiB, {HEADROOM * memory:,.0f} MiB with headroom,"
        f"{times} and {name} has {most:,.0f} MiB.",
        fix="name a target with more memory, or a smaller backbone under prefer.backbones.",
    )
