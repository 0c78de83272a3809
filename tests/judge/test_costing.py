"""Costs against sums done by hand, and what must hold of any of them."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sartor.core.types import Use
from sartor.judge.api import CannotMeasure
from sartor.judge.comparing import turns
from sartor.judge.costing import Lines, break_even, cheapest, lines, month_of, size_on
from sartor.need.costs import Costs, Machine, PerUse, read_book

SHIPPED = read_book(Costs(), Path()).targets
LAMBDA = SHIPPED["lambda"]
CLOUD = SHIPPED["cloud_functions"]
VM = Machine(kind="machine", currency="USD", rent_per_month=42, vcpus=2, memory_mib=4096)


def use(cpu: float, memory: float = 200.0) -> Use:
    return Use((cpu,), memory)


def changed(target, **values):
    return target.model_copy(update=values)


def test_a_lambda_of_one_vcpu_bills_the_processor_time_as_it_is():
    fixed = changed(LAMBDA, memory_mib=1769.0)
    found = lines("lambda", fixed, use(0.0123))
    # 12.3 ms round up to 13 ms; 1,769 MiB are 1.7275 GiB.
    second = 1769 / 1024 * 0.0000166667
    assert found.cost(1_000_000) == pytest.approx(1e6 * 0.013 * second + 0.20)
    assert found.per_1000() == pytest.approx(1000 * (0.013 * second + 0.2e-6))


def test_with_half_the_memory_a_lambda_takes_twice_as_long():
    half = changed(LAMBDA, memory_mib=884.5, memory_step_mib=0.5)
    found = lines("lambda", half, use(0.010))
    assert found.per_1000() == pytest.approx(1000 * (0.020 * 884.5 / 1024 * 0.0000166667 + 2e-7))


def test_beyond_one_vcpu_more_memory_makes_nothing_faster():
    two = changed(LAMBDA, memory_mib=3538.0)
    found = lines("lambda", two, use(0.010))
    assert found.per_1000() == pytest.approx(1000 * (0.010 * 3538 / 1024 * 0.0000166667 + 2e-7))


def test_the_memory_is_the_cheapest_that_holds_the_bundle_with_headroom():
    found = size_on("lambda", LAMBDA, use(0.010, 500.0))
    assert found.memory_mib >= 600, "500 MiB and a fifth more"
    prices = [
        changed(LAMBDA, memory_mib=float(m)) for m in (600, 885, 1179, found.memory_mib, 1769, 3000)
    ]
    costs = [lines("lambda", p, use(0.010, 500.0)).per_1000() for p in prices]
    assert min(costs) == costs[3]


def test_a_cloud_function_bills_vcpus_and_memory_in_steps_of_100_ms():
    fixed = changed(CLOUD, memory_mib=1024.0)
    found = lines("cloud_functions", fixed, use(0.100))
    # 100 ms on 0.583 vCPU are 171.5 ms, billed as 200 ms.
    assert found.per_1000() == pytest.approx(1000 * (0.2 * (0.583 * 24e-6 + 2.5e-6) + 0.4e-6))


def test_a_rented_machine_is_paid_whole_and_a_second_one_when_the_first_is_full():
    found = lines("vm", VM, use(0.010))
    each = 2 * 0.5 * 730.5 * 3600 / 0.010
    assert each == pytest.approx(262_980_000)
    assert found.cost(1) == 42
    assert found.cost(262_980_000) == 42
    assert found.cost(262_980_001) == 84
    assert found.per_1000() == pytest.approx(42 / 262_980)


def test_ones_own_machine_costs_its_share_of_the_price_and_the_power():
    own = Machine(
        kind="machine",
        currency="EUR",
        purchase=960,
        years=4,
        watts=50,
        per_kwh=0.3,
        vcpus=8,
        memory_mib=16384,
    )
    assert month_of(own) == pytest.approx(960 / 48 + 0.05 * 730.5 * 0.3)


def test_a_faster_target_takes_less_time():
    fast = changed(VM, speed=2.0)
    assert lines("vm", fast, use(0.01)).per_1000() == lines("vm", VM, use(0.005)).per_1000()


def test_what_is_free_is_taken_off_a_month_and_never_off_the_next_thousand():
    free = changed(LAMBDA, memory_mib=1769.0, free_requests=1_000_000, free_gib_seconds=400_000)
    found, full = (
        lines("lambda", free, use(0.1)),
        lines("lambda", changed(LAMBDA, memory_mib=1769.0), use(0.1)),
    )
    assert found.cost(1_000_000) == 0, "172,754 GiB-seconds are free"
    billed = 3_000_000 * 0.1 * 1769 / 1024 - 400_000
    assert found.cost(3_000_000) == pytest.approx(billed * 0.0000166667 + 2 * 0.2)
    assert found.per_1000() == full.per_1000()


@pytest.mark.parametrize(
    ("name", "target", "memory", "most"),
    [("lambda", LAMBDA, 8_600.0, "10,240"), ("vm", VM, 1_710.0, "4,096")],
)
def test_a_bundle_that_does_not_fit_is_refused_with_both_numbers(name, target, memory, most):
    with pytest.raises(CannotMeasure) as caught:
        lines(name, target, use(0.01, memory))
    assert f"{memory:,.0f} MiB" in caught.value.what
    assert f"{name} has {most} MiB" in caught.value.what
    assert "more memory" in caught.value.fix


cpus = st.floats(1e-4, 5.0)
volumes = st.integers(1, 10**9)
memories = st.floats(10.0, 1_600.0)
targets = st.sampled_from([*SHIPPED.items(), ("vm2", VM)])


@given(targets, cpus, memories, volumes, volumes)
def test_more_requests_never_cost_less(named, cpu, memory, one, other):
    found = lines(*named, use(cpu, memory))
    low, high = sorted((one, other))
    assert found.cost(low) <= found.cost(high)


@given(targets, cpus, cpus, memories, volumes)
def test_more_processor_time_never_costs_less(named, one, other, memory, requests):
    low, high = sorted((one, other))
    found = [lines(*named, use(cpu, memory)) for cpu in (low, high)]
    assert found[0].per_1000() <= found[1].per_1000() * (1 + 1e-9)
    assert found[0].cost(requests) <= found[1].cost(requests) * (1 + 1e-9)


@given(targets, cpus, memories, memories, volumes)
def test_more_memory_never_costs_less(named, cpu, one, other, requests):
    low, high = sorted((one, other))
    found = [lines(*named, use(cpu, memory)) for memory in (low, high)]
    assert found[0].cost(requests) <= found[1].cost(requests) * (1 + 1e-9)


@given(targets, cpus, memories, st.floats(1.1, 5.0))
def test_a_request_that_takes_longer_on_every_machine_costs_what_a_slow_target_asks(
    named, cpu, memory, slower
):
    name, target = named
    slow = changed(target, speed=target.speed / slower)
    assert lines(name, slow, use(cpu, memory)).per_1000() == pytest.approx(
        lines(name, target, use(cpu * slower, memory)).per_1000()
    )


@given(targets, targets, cpus, st.integers(0, 10**7))
def test_a_break_even_is_where_the_other_becomes_the_cheaper(one, two, cpu, above):
    assume(one != two)
    here, other = lines(*one, use(cpu)), lines(*two, use(cpu))
    found = break_even(here, other, above)
    if found is None:
        for requests in (above + 1, 10 * above + 1, 10**8, 10**9):
            assert other.cost(requests) >= here.cost(requests)
        return
    assert found > above
    assert other.cost(found) < here.cost(found)
    if found > above + 1:
        assert other.cost(found - 1) >= here.cost(found - 1)


@given(st.floats(1e-8, 1e-2), st.floats(0.5, 5_000.0), cpus)
def test_at_a_break_even_use_and_rent_cost_the_same_within_a_request(rate, rent, cpu):
    by_use = Lines((rate,), (0.0,))
    machine = lines("vm", changed(VM, rent_per_month=rent), use(cpu))
    assume(rent / rate < min(machine.capacity, 1e9) - 2)
    found = break_even(by_use, machine)
    assert found == math.floor(rent / rate * (1 + 1e-12)) + 1 or found == math.ceil(rent / rate)
    assert by_use.cost(found) - machine.cost(found) <= rate * (1 + 1e-6)


@given(cpus, memories)
def test_turns_name_the_cheapest_target_from_volume_to_volume(cpu, memory):
    priced = {name: lines(name, target, use(cpu, memory)) for name, target in SHIPPED.items()}
    found = turns(priced)
    assert found[0]["requests"] == 1
    for turn in found:
        costs = {name: each.cost(turn["requests"]) for name, each in priced.items()}
        assert costs[turn["target"]] == min(costs.values()) == costs[cheapest(costs)]
    for before, after in pairwise(found):
        last = after["requests"] - 1
        assert priced[before["target"]].cost(last) == min(p.cost(last) for p in priced.values())


def test_the_shipped_prices_are_dated_and_have_a_source():
    assert set(SHIPPED) == {"lambda", "cloud_functions", "vm", "own_machine"}
    for target in SHIPPED.values():
        assert target.dated is not None
        assert target.source.startswith("https://")
        assert target.currency == "USD"
    assert isinstance(LAMBDA, PerUse)
