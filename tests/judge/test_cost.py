"""Criteria of cost: what they mean, what they prove, and how a mistake in one is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from sartor.core.errors import NeedError
from sartor.core.types import Use
from sartor.judge.resolve import Rows, bind
from sartor.judge.verdicts import judge, priced_anew
from sartor.need.costs import Costs, Machine, PriceBook, read_book
from sartor.need.criterion import Criterion
from tests.judge.rows import criteria, subject

SIX = Use((0.010, 0.011, 0.012, 0.010, 0.009, 0.010), 200.0)
VM = Machine(kind="machine", currency="USD", rent_per_month=42, vcpus=2, memory_mib=4096)


def book(**stated) -> PriceBook:
    costs = Costs(**stated)
    return replace(read_book(costs, Path()), targets={**read_book(costs, Path()).targets, "vm": VM})


def bundle(use: Use = SIX, prices: PriceBook | None = None):
    found = subject(["a"], ["a"])
    return replace(
        found, using=lambda: use, prices=prices or book(), conditions="this machine, 2 threads"
    )


def faults(*texts: str, prices: PriceBook | None = None):
    with pytest.raises(NeedError) as caught:
        bind(
            criteria(*texts),
            file="need.yaml",
            outputs=["a"],
            rows=Rows({"text": ["x"]}),
            book=prices or book(target="vm"),
        )
    return caught.value.faults


def test_the_value_is_the_median_process_and_the_interval_the_range():
    (found,) = judge(criteria("cost_per_1000[target=vm] <= 0.001"), bundle())
    a_second = 42 / (2 * 0.5 * 730.5 * 3600)
    assert found.value == pytest.approx(1000 * 0.010 * a_second)
    assert (found.low, found.high) == pytest.approx((9 * a_second, 12 * a_second))
    assert (found.n, found.state) == (6, "met")
    assert found.note == "vm, USD: prices of the need; this machine, batch 1, 1 threads"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("monthly_cost[requests=100000000] <= 42", "met"),
        ("monthly_cost[requests=100000000, target=vm] < 42", "unmet"),
        # 262,980,000 requests at 10 ms fill one machine, 219,150,000 at 12 ms.
        ("monthly_cost[requests=240000000] <= 50", "unproven"),
        ("monthly_cost[requests=1e9] <= 50", "unmet"),
    ],
)
def test_a_month_is_judged_at_its_requests_on_the_target_of_the_need(text, state):
    (found,) = judge(criteria(text), bundle(prices=book(target="vm")))
    assert found.state == state


def test_without_a_bundle_or_without_room_the_note_says_why():
    (rival,) = judge(criteria("cost_per_1000[target=vm] <= 1"), subject(["a"], ["a"]))
    assert (rival.state, rival.n) == ("unproven", 0)
    assert "recorded answers" in rival.note
    (big,) = judge(criteria("cost_per_1000[target=lambda] <= 1"), bundle(Use((0.01,), 9_000.0)))
    assert "lambda has 10,240 MiB" in big.note
    assert (big.state, big.n) == ("unproven", 0)


def test_prices_that_changed_change_a_stored_verdict_and_no_other():
    asked = criteria("accuracy >= 0.01", "cost_per_1000[target=vm] <= 0.0002")
    first = judge(asked, bundle())
    assert first[1].state == "met"
    dear = VM.model_copy(update={"rent_per_month": 420.0})
    again = priced_anew(asked, first, bundle(prices=PriceBook({"vm": dear})))
    assert again[0] is first[0]
    assert again[1].state == "unmet"
    assert again[1].value == pytest.approx(10 * first[1].value)


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("cost_per_1000[target=lamda] <= 1", "no prices for the target 'lamda'", "lambda"),
        ("cost_per_1000[requests=5] <= 1", "takes no parameter 'requests'", "target"),
        ("cost_per_1000[where: text == x] <= 1", "not to some of the rows", "where"),
        ("cost_per_1000 <= baseline", "has no cost_per_1000", "write a number"),
        ("cost_per_1000 <= -1", "above 0 for every bundle", "above 0"),
        ("cost_per_1000[target=5] <= 1", "target is no name", "target=lambda"),
        ("monthly_cost <= 30", "requests is missing", "requests=1000000"),
        ("monthly_cost[requests=many] <= 30", "no whole number", "requests=1000000"),
        ("monthly_cost[requests=-5] <= 30", "no whole number", "requests=1000000"),
        ("monthly_cost[requests=0.5] <= 30", "no whole number", "requests=1000000"),
        ("monthly_cost[requests >= 5] <= 30", "no whole number", "requests=1000000"),
        ("monthly_cost[request=5] <= 30", "no parameter 'request'", "did you mean 'requests'"),
        ("monthly_costs[requests=5] <= 30", "no metric", "did you mean 'monthly_cost'"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_write(text, what, fix):
    fault = faults("accuracy >= 0.5", text)[0]
    assert fault.line == 2
    assert what in fault.what
    assert fix in fault.fix


def test_a_criterion_that_names_no_target_needs_one_of_the_need():
    (fault,) = faults("cost_per_1000 <= 1", prices=book())
    assert "names no target, and neither does the need" in fault.what
    assert "cloud_functions, lambda, own_machine, vm" in fault.fix
    bind(
        criteria("cost_per_1000 <= 1", "monthly_cost[requests=1000, target=lambda] <= 9"),
        file="need.yaml",
        outputs=["a"],
        rows=Rows({"text": ["x"]}),
        book=book(target="vm"),
    )


def test_one_measurement_serves_all_criteria_of_cost():
    asked: list[Criterion] = criteria(
        "cost_per_1000[target=vm] <= 1", "monthly_cost[requests=10, target=lambda] <= 1"
    )
    assert [v.state for v in judge(asked, bundle())] == ["met", "met"]


def test_a_machine_is_priced_as_busy_and_a_billed_request_as_alone():
    use = Use((0.010,), 200.0, 1, (0.020,), 300.0)
    asked = criteria("cost_per_1000[target=vm] <= 1", "cost_per_1000[target=lambda] <= 1")
    busy, alone = judge(asked, bundle(use)), judge(asked, bundle(Use((0.010,), 200.0)))
    assert busy[0].value == pytest.approx(2 * alone[0].value)
    assert busy[1].value == alone[1].value
    # Two processes of 1,800 MiB with headroom do not fit 4,096; one request at a time is as before.
    crowd = judge(asked, bundle(Use((0.010,), 200.0, 1, (0.020,), 1_800.0)))
    assert "in each of 2 processes and vm has 4,096 MiB" in crowd[0].note
    assert crowd[1].value == alone[1].value
