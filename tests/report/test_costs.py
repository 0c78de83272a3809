"""The page shows what serving costs, as it was found, in both languages."""

from typing import Any

import pytest

from sartor.core.errors import WorkspaceError
from sartor.core.types import Use
from sartor.judge.comparing import compare_targets
from sartor.need.costs import Costs, Machine, PriceBook, read_book
from sartor.report.page import render
from sartor.report.result import read_costs
from sartor.report.terminal import cost_lines, cost_table
from tests.report.samples import full_result

USE = Use((0.004, 0.005, 0.006), 300.0)


@pytest.fixture
def found(tmp_path) -> dict[str, Any]:
    costs = Costs(target="vm", price_per_1000=0.5, requests=[1_000_000])
    return compare_targets(USE, read_book(costs, tmp_path))


def test_the_page_shows_cost_margin_and_break_even(found):
    page = render(full_result() | {"serving_costs": found})
    rows = {row["target"]: row for row in found["targets"]}
    assert "USD 42.00" in page, "a month of the rented machine"
    assert "5.0 ms of processor time" in page
    assert f"{rows['lambda']['monthly'][0][0]:.2f}" in page
    assert f"USD {1_000_000 / 1000 * 0.5 - 42:.2f}" in page, "the margin of a month"
    (beside,) = (o for o in found["beside_target"] if o["target"] == "lambda")
    assert f"lambda is cheaper than vm below {beside['requests']:,} requests a month." in page
    assert 'href="#costs"' in page


def test_without_costs_the_page_has_no_such_section():
    assert 'id="costs"' not in render(full_result())


def test_the_chinese_page_says_it_in_chinese(found):
    page = render(full_result() | {"serving_costs": found}, language="zh")
    assert "运行成本" in page
    for english in ("What serving costs", "processor time", "requests a month", "Left out"):
        assert english not in page


def test_a_screen_has_a_currency_on_every_amount_and_the_doubt(found):
    costs = read_costs(found)
    table = cost_table(costs)
    cells = [str(cell) for cell in table.columns[2].cells]
    assert len(cells) == 8
    assert all(cell.startswith("USD ") for cell in cells)
    # 5 ms at 42 USD for 2 vCPUs half busy: 525,960,000 requests a month, 4 and 6 ms beside it.
    assert "USD 0.0000799 (0.0000639 – 0.0000958)" in cells
    above, below = cost_lines(costs)
    assert "(4.00 – 6.0, 3 fresh serving processes)" in above[0]
    assert any("prices as of 2025-06-01" in line for line in below)


def test_a_target_without_room_says_so_and_has_no_amounts(found):
    book = read_book(Costs(), None)  # type: ignore[arg-type]
    big = compare_targets(Use((0.005,), 9_000.0), book)
    page = render(full_result() | {"serving_costs": big})
    assert "lambda has 10,240 MiB" in page
    assert {r["target"] for r in big["targets"] if "why" in r} == {"lambda", "vm", "own_machine"}
    assert found["comparable"]


def test_prices_in_two_currencies_are_shown_and_not_compared(tmp_path):
    own = Machine(kind="machine", currency="CNY", rent_per_month=100, vcpus=2, memory_mib=4096)
    book = PriceBook({**read_book(Costs(), tmp_path).targets, "aliyun": own}, Costs())
    found = compare_targets(USE, book)
    page = render(full_result() | {"serving_costs": found})
    assert "CNY 100.00" in page
    assert "different currencies" in page
    assert found["cheapest_from"] == []


def test_a_table_that_is_not_one_is_refused():
    with pytest.raises(WorkspaceError, match="cpu_ms"):
        read_costs({"cpu_ms": "fast", "busy_ms": [1, 1, 1], "memory_mib": 1})
