"""Prices in a need and beside it: completed from the shipped ones, refused with line and key."""

import datetime
import json

import pytest

from sartor.core.errors import NeedError
from sartor.core.types import Roles
from sartor.need.costs import MAX_BYTES, Costs, Machine, PerUse, PriceBook, read_book
from sartor.need.file import parse_need

ROLES = Roles(inputs={"text": "text"}, targets={"label": "label"})
HEAD = """name: x
task: text_classification
data: {train: a.csv, text: text, label: label}
accept: [accuracy >= 0.5]
costs:
"""


def need(costs: str):
    return parse_need(HEAD + costs, "need.yaml", lambda _: ROLES)


def faults(costs: str):
    with pytest.raises(NeedError) as caught:
        need(costs)
    return caught.value.faults


def test_what_a_need_leaves_out_of_a_target_stays_as_it_is_shipped():
    found = need("  targets: {vm: {rent_per_month: 20, vcpus: 4}}\n").costs
    assert found is not None
    vm = found.targets["vm"]
    assert isinstance(vm, Machine)
    assert (vm.rent_per_month, vm.vcpus, vm.memory_mib) == (20, 4, 4096)
    assert (vm.dated, vm.source) == (None, ""), "the shipped date does not speak for this price"


def test_only_using_a_shipped_target_otherwise_keeps_its_date():
    found = need("  targets: {vm: {utilisation: 0.8}}\n").costs
    assert found is not None
    assert found.targets["vm"].dated == datetime.date(2025, 6, 1)


def test_a_target_of_ones_own_stands_beside_the_shipped_ones(tmp_path):
    text = (
        "  target: aliyun\n  targets:\n    aliyun:\n      kind: machine\n      currency: CNY\n"
        "      dated: 2026-10-01\n      rent_per_month: 300\n      vcpus: 2\n"
        "      memory_mib: 4096\n"
    )
    found = need(text).costs
    assert found is not None
    book = read_book(found, tmp_path)
    assert set(book.targets) == {"aliyun", "cloud_functions", "lambda", "own_machine", "vm"}
    assert book.named(None) == "aliyun"
    assert book.named("vm") == "vm"


def test_a_need_with_costs_survives_being_held_in_python():
    asked = need(
        "  target: vm\n  price_per_1000: 0.5\n  requests: 1000\n  targets: {lambda: {speed: 0.8}}\n"
    )
    again = parse_need(json.dumps(asked.as_mapping()), "need.yaml", lambda _: ROLES)
    assert again.costs == asked.costs
    assert again.costs is not None
    assert again.costs.requests == [1000]


def test_a_file_of_prices_replaces_the_shipped_and_the_need_replaces_the_file(tmp_path):
    (tmp_path / "prices.yaml").write_text(
        "vm: {rent_per_month: 10}\nlambda: {per_million_requests: 0.3}\n"
    )
    found = need("  prices: prices.yaml\n  targets: {vm: {rent_per_month: 11}}\n").costs
    assert found is not None
    book = read_book(found, tmp_path)
    vm, by_use = book.targets["vm"], book.targets["lambda"]
    assert isinstance(vm, Machine)
    assert isinstance(by_use, PerUse)
    assert vm.rent_per_month == 11
    assert by_use.per_million_requests == 0.3
    assert PriceBook.of_json(json.loads(json.dumps(book.as_json())), found) == book


@pytest.mark.parametrize(
    ("costs", "line", "what", "fix"),
    [
        ("  tagret: vm\n", 6, "unknown key 'tagret'", "did you mean 'target'"),
        ("  price_per_1000: -1\n", 6, "costs.price_per_1000 is -1", "above 0"),
        ("  price_per_1000: cheap\n", 6, "costs.price_per_1000 is 'cheap'", "above 0"),
        ("  requests: [1000, 0]\n", 6, "costs.requests.1 is 0", "correct"),
        ("  targets: vm\n", 6, "costs.targets is 'vm'", "write a mapping"),
        ("  targets: {vm: 5}\n", 6, "costs.targets.vm is 5, not a mapping", "indent"),
        ("  targets: {lamda: {}}\n", 6, "no shipped target, and has no kind", "'lambda'"),
        ("  targets: {x: {kind: rented}}\n", 6, "costs.targets.x.kind is 'rented'", "per_use"),
        ("  targets:\n    vm:\n      rent: 5\n", 8, "unknown key 'rent'", "rent_per_month"),
        ("  targets:\n    vm:\n      vcpus: 0\n", 8, "costs.targets.vm.vcpus is 0", "correct"),
        ("  targets:\n    vm:\n      rent_per_month: -5\n", 8, "rent_per_month is -5", "0 or more"),
        ("  targets:\n    vm:\n      rent_per_month: '5'\n", 8, "is '5': input", "0 or more"),
        (
            "  targets:\n    vm:\n      rent_per_month: .inf\n",
            8,
            "rent_per_month is inf",
            "correct",
        ),
        ("  targets:\n    vm: {utilisation: 2}\n", 7, "utilisation is 2", "correct"),
        ("  targets:\n    vm: {currency: dollars}\n", 7, "currency is 'dollars'", "correct"),
        ("  targets:\n    x: {kind: machine, currency: USD}\n", 7, "x.vcpus is missing", "add"),
        (
            "  targets:\n    x: {kind: per_use, currency: USD, per_gib_second: 1,"
            " per_million_requests: 1}\n",
            7,
            "neither sizes nor all of memory_least_mib",
            "correct",
        ),
        ("  targets:\n    lambda: {memory_most_mib: 1}\n", 7, "below memory_least_mib", "correct"),
    ],
)
def test_a_fault_of_costs_has_its_line_its_key_and_a_way_out(costs, line, what, fix):
    found = faults(costs)
    fault = next((f for f in found if what in f.what), None)
    assert fault is not None, found
    assert fault.line == line
    assert fix in fault.fix


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"vm: {rent_per_month: -1}\n", "vm.rent_per_month is -1"),
        (b"vm: {rent_per_month: 1}\nvm: {rent_per_month: 2}\n", "already on line 1"),
        (b"vm: &a {rent_per_month: 1}\nx: *a\n", "alias *a is not allowed"),
        (b"- vm\n", "not a mapping"),
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * (MAX_BYTES + 1), "bytes are more than"),
        ("".join(f"t{i}: {{}}\n" for i in range(60)).encode(), "60 targets"),
    ],
)
def test_a_file_of_prices_is_not_trusted(tmp_path, content, what):
    (tmp_path / "prices.yaml").write_bytes(content)
    with pytest.raises(NeedError, match=r"prices\.yaml") as caught:
        read_book(Costs(prices="prices.yaml"), tmp_path)
    assert any(what in fault.what for fault in caught.value.faults)


def test_a_file_of_prices_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NeedError, match="file of prices does not exist"):
        read_book(Costs(prices="none.yaml"), tmp_path)
