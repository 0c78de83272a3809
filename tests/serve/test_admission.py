"""Under a flood little waits and much is answered; bursts and steady clients are left alone.

Time is virtual: a model takes the seconds that it says, and nothing here depends on the machine's.
"""

import asyncio
import math
import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from sartor.serve.admission import INTERVAL_S, RELAX_S, Admission
from sartor.serve.batcher import Batcher
from sartor.serve.room import Busy
from tests.serve.virtual import Model, VirtualLoop, run

TEXTS = [
    random.Random(0).randbytes(250 * (1 + n % 6)).hex()[: 150 * (1 + n % 6)] for n in range(48)
]
"""Of 150 to 900 characters: 6 to 21 ms each, alone."""


@dataclass(slots=True)
class Desk:
    """Asks a batcher and keeps book, in virtual seconds."""

    loop: VirtualLoop
    model: Model = field(default_factory=Model)
    most_s: float = 2.0
    batcher: Batcher = field(init=False)
    answered: list[tuple[float, float]] = field(default_factory=list)
    """When each was asked, and how long it took."""
    refused: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.batcher = Batcher(self.model, max_wait_s=self.most_s, clock=self.loop.time)

    async def ask(self, number: int, texts: list[str] | None = None) -> bool:
        at = self.loop.time()
        texts = texts or [TEXTS[number % len(TEXTS)]]
        try:
            answers = await self.batcher.submit(texts)
        except Busy:
            self.refused.append((at, self.loop.time() - at))
            return False
        assert [answer["label"] for answer in answers] == texts
        self.answered.append((at, self.loop.time() - at))
        return True

    async def alone(self, count: int = 100) -> float:
        """The 99th percentile of one client alone."""
        first = len(self.answered)
        for number in range(count):
            assert await self.ask(number)
        return p99(self.answered[first:])

    async def closed(self, clients: int, seconds: float) -> float:
        """Answers a second to clients that ask again when they are answered."""
        first, until = len(self.answered), self.loop.time() + seconds

        async def client(number: int) -> None:
            while self.loop.time() < until:
                if not await self.ask(number):
                    await asyncio.sleep(0.5)
                number += clients

        await asyncio.gather(*map(client, range(clients)))
        return (len(self.answered) - first) / seconds

    async def flood(self, rate: float, seconds: float) -> None:
        """So many a second, whatever becomes of them."""
        draw, tasks = random.Random(1), []
        until, number = self.loop.time() + seconds, 0
        while self.loop.time() < until:
            tasks.append(asyncio.create_task(self.ask(number)))
            number += 1
            await asyncio.sleep(draw.expovariate(rate))
        await asyncio.gather(*tasks)


def p99(times: list[tuple[float, float]]) -> float:
    return float(np.percentile([seconds for _, seconds in times], 99))


@pytest.mark.parametrize(("batch_s", "char_s"), [(0.003, 20e-6), (0.0005, 1e-6), (0.02, 2e-4)])
def test_ten_times_too_much_makes_nobody_who_is_let_in_wait_long(batch_s: float, char_s: float):
    async def story(loop: VirtualLoop) -> None:
        desk = Desk(loop, Model(batch_s, char_s))
        usual = await desk.alone()
        rate = await desk.closed(8, 200 * usual)
        began, lasts = loop.time(), 100 * max(usual, 0.01)
        await desk.flood(10 * rate, lasts)
        settled = began + 8 * max(INTERVAL_S, 2 * usual)
        late = [one for one in desk.answered if one[0] > settled]
        assert p99(late) <= 1.75 * max(usual, 0.005)
        assert len(late) >= 0.75 * rate * (began + lasts - settled), "what can be done is done"
        waited = [seconds for at, seconds in desk.refused if at > settled and seconds]
        assert not waited, "it was known at the door that there was no room"
        ended = loop.time()
        assert await desk.alone() <= 1.01 * usual
        assert loop.time() - ended < 200 * usual

    run(story)


def test_a_burst_and_steady_clients_are_refused_nothing():
    async def story(loop: VirtualLoop) -> None:
        desk = Desk(loop)
        await desk.alone()
        assert await asyncio.gather(*map(desk.ask, range(120))) == [True] * 120
        rate = await desk.closed(4, 5)
        assert await desk.closed(100, 10) >= rate
        await desk.flood(0.9 * rate, 10)
        assert not desk.refused
        assert desk.batcher.allowed_s == 2

    run(story)


@pytest.mark.parametrize(("rate", "intervals"), [(2_000, 3), (600, 10)])
def test_what_waited_when_a_flood_came_to_light_is_answered_once_it_is_over(
    rate: int, intervals: int
):
    async def story(loop: VirtualLoop) -> None:
        desk = Desk(loop)
        await desk.alone()
        await desk.flood(rate, intervals * INTERVAL_S)
        assert max(seconds for _, seconds in desk.answered) > INTERVAL_S
        assert all(not seconds for _, seconds in desk.refused)

    run(story)


def test_what_a_flood_that_goes_on_leaves_no_room_for_is_refused_in_the_end():
    async def story(loop: VirtualLoop) -> None:
        desk = Desk(loop)
        await desk.alone()
        began = loop.time()
        await desk.flood(2_000, 4)
        waited = [(at, seconds) for at, seconds in desk.refused if seconds]
        assert waited
        assert all(at < began + 4 * INTERVAL_S for at, _ in waited), "only those from before it"
        assert all(2 <= seconds < 2.1 for _, seconds in waited)
        assert desk.batcher.waiting_s == 0

    run(story)


def test_a_little_too_much_makes_nobody_wait_long_either():
    async def story(loop: VirtualLoop) -> None:
        desk = Desk(loop)
        usual = await desk.alone()
        rate = await desk.closed(32, 5)
        began = loop.time()
        await desk.flood(1.3 * rate, 25)
        late = [one for one in desk.answered if one[0] > began + 15]
        assert np.median([seconds for _, seconds in late]) <= 5 * usual
        assert len(late) >= 0.75 * rate * 10

    run(story)


def test_large_requests_and_small_ones_get_through_a_flood_beside_one_another():
    async def story(loop: VirtualLoop) -> None:
        desk = Desk(loop)
        usual = await desk.alone()
        flooding = asyncio.create_task(desk.flood(1_500, 6))
        await asyncio.sleep(1)
        began = loop.time()
        while not await desk.ask(0, TEXTS * 2):
            await asyncio.sleep(0.01)
        took = loop.time() - began
        assert took < 4
        small = [one for one in desk.answered if began < one[0] < began + took / 2]
        assert len(small) > 10
        assert np.median([seconds for _, seconds in small]) <= 4 * usual
        await flooding

    run(story)


def test_a_server_that_is_flooded_from_its_first_request_finds_its_pace():
    async def story(loop: VirtualLoop) -> None:
        desk = Desk(loop)
        await desk.flood(1_500, 4)
        late = [one for one in desk.answered if one[0] > 2]
        assert p99(late) <= 3 * 0.021
        assert len(late) >= 0.6 * 2 * 100

    run(story)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def flooded(most_s: float = 2.0) -> tuple[Admission, Clock]:
    clock = Clock()
    found = Admission(most_s, clock)
    for _ in range(20):
        found.computed(100, 0.02, alone=True)
    for _ in range(4):
        clock.now += 1.01 * INTERVAL_S
        found.offered(1_000, waiting_s=1.0)
        found.computed(100, 0.05, alone=False)
    return found, clock


def test_growth_in_two_intervals_leaves_half_a_usual_requests_time():
    found, _ = flooded()
    assert found.tight
    assert found.bound_s == 0.01
    assert found.batch_s == found.usual_s == 0.02


def test_growth_alone_counts_only_once_the_queue_is_deep():
    clock = Clock()
    found = Admission(2.0, clock)
    for _ in range(9):
        clock.now += 1.01 * INTERVAL_S
        found.offered(1_000, waiting_s=0.49)
    assert not found.tight


def test_a_moment_in_which_nothing_waits_is_no_growth():
    clock = Clock()
    found = Admission(2.0, clock)
    for _ in range(9):
        clock.now += 1.01 * INTERVAL_S
        found.idle()
        found.offered(1_000, waiting_s=1.0)
    assert not found.tight


def test_the_bound_comes_back_over_seconds_without_a_refusal():
    found, clock = flooded()
    bounds = [found.bound_s]
    ended = clock.now
    while found.tight:
        clock.now += 0.5
        found.idle()
        found.offered(1, waiting_s=0.0)
        bounds.append(found.bound_s)
    assert bounds == sorted(bounds)
    assert RELAX_S - 1 <= clock.now - ended <= RELAX_S + 1
    assert found.bound_s == 2.0
    assert math.isinf(found.batch_s)


def test_each_interval_with_a_refusal_halves_what_came_back():
    found, clock = flooded()
    clock.now += RELAX_S / 2
    found.idle()
    found.offered(1, waiting_s=0.0)
    half = found.bound_s
    found.refused(waiting_s=0.5)
    clock.now += 1.01 * INTERVAL_S
    found.refused(waiting_s=0.5)
    assert found.bound_s == pytest.approx(half / 2, rel=0.02)
    for _ in range(12):
        clock.now += 1.01 * INTERVAL_S
        found.refused(waiting_s=0.5)
    assert found.bound_s == 0.01


def test_what_takes_longer_under_pressure_is_not_called_usual():
    found, _ = flooded()
    for _ in range(100):
        found.computed(100, 0.2, alone=True)
    assert found.usual_s == 0.02


def test_a_flood_is_what_has_three_of_four_refused_and_ends_when_nobody_comes():
    found, clock = flooded()
    assert not found.flooded
    for refused, then in ((2, False), (3, True)):
        clock.now += 1.01 * INTERVAL_S
        found.offered(100, waiting_s=0.1)
        for _ in range(refused):
            found.refused(waiting_s=0.1)
        clock.now += 1.01 * INTERVAL_S
        found.offered(100, waiting_s=0.1)
        assert found.flooded == then
    clock.now += 2.01 * INTERVAL_S
    assert not found.flooded


def test_nothing_is_ever_refused_without_a_bound():
    found, clock = flooded(math.inf)
    clock.now += 1.01 * INTERVAL_S
    found.refused(waiting_s=1e9)
    assert not found.tight
    assert math.isinf(found.bound_s)


def test_the_bound_is_never_above_what_the_server_was_told():
    found, _ = flooded(0.004)
    assert found.tight
    assert found.bound_s == 0.004
