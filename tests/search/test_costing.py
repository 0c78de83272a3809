"""Costs in a search: measured once a run, a floor before anything is trained, a way out after."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sartor.bundle import Bundle, write_bundle
from sartor.core.errors import NeedError
from sartor.core.types import Backbone, Examples, Use
from sartor.core.workspace import Workspace
from sartor.judge.api import CannotMeasure
from sartor.judge.verdicts import judge
from sartor.llm import prompt
from sartor.need.costs import Costs, Machine, PriceBook, read_book
from sartor.need.file import parse_need
from sartor.need.grammar import parse_criterion
from sartor.need.verdict import Verdict
from sartor.search.assess import Held
from sartor.search.costing import Costing, asks_for_costs, kept_here
from sartor.search.estimates import Work
from sartor.search.feasible import Body, Sieve, refuse_empty
from sartor.search.judging import roles_of
from sartor.search.lighter import cheaper_target, missed_cost
from sartor.search.rungs import Aim, build_rungs
from sartor.tasks import TASKS
from tests.serve.conftest import LABELS, manifest_of, parts  # noqa: F401

VM = Machine(kind="machine", currency="USD", rent_per_month=42, vcpus=2, memory_mib=4096)
BOOK = PriceBook({**read_book(Costs(), Path()).targets, "vm": VM}, Costs(target="vm"))
TWO = Use((0.010, 0.012), 200.0)
NEED = """name: x
task: text_classification
data: {{train: a.csv, text: text, label: label}}
accept: ['{accept}']
"""


def bundle_of(folder: Path, content: dict[str, Path]) -> Bundle:
    return write_bundle(folder, manifest_of(), content, "name: tickets\n")


def test_a_run_measures_a_bundle_once_and_a_resumed_run_replays_it(tmp_path, parts):  # noqa: F811
    bundle = bundle_of(tmp_path / "bundle", parts)
    run = Workspace.open(tmp_path).new_run()
    known = {"cpu_seconds": [0.25, 0.5], "memory_mib": 77.0, "threads": 1}
    known |= {"busy_seconds": [0.3, 0.6], "busy_memory_mib": 99.0}
    run.fact(f"use {bundle.manifest.id[:16]}", lambda: known)
    again = Workspace.open(tmp_path).run(run.number)
    found = Costing(BOOK, again.fact).use(str(bundle.folder), ["money back"])
    assert found == Use((0.25, 0.5), 77.0, 1, (0.3, 0.6), 99.0)


def test_what_a_language_model_charges_is_not_known(tmp_path):
    file = tmp_path / prompt.FILE
    file.write_text("{}")
    bundle = bundle_of(tmp_path / "bundle", {prompt.FILE: file})
    costing = Costing(BOOK, kept_here())
    with pytest.raises(CannotMeasure, match="language model"):
        costing.use(str(bundle.folder), ["money back"])
    assert costing.table(str(bundle.folder), ["money back"]) is None


def test_nothing_is_measured_where_no_cost_is_asked_for():
    def find(name, measure):
        raise AssertionError(f"{name} was looked for")

    assert Costing(BOOK, find, asked=False).table("nowhere", ["x"]) is None
    plain = parse_need(NEED.format(accept="accuracy >= 0.5"), "need.yaml", roles_of)
    asks = parse_need(NEED.format(accept="cost_per_1000[target=vm] <= 1"), "need.yaml", roles_of)
    assert (asks_for_costs(plain), asks_for_costs(asks)) == (False, True)
    assert asks_for_costs(plain.model_copy(update={"costs": Costs()}))


def test_a_cost_below_what_the_arithmetic_takes_is_out_of_reach():
    minilm = Backbone("minilm", "folder", "", "0" * 64, "MIT", ("en",), 22_700_000, 6, 384)
    work = Work(100_000, 10_000, 110_000, 180.0, text_tokens=64)
    floor = 1000 * 42 * Body(minilm, 6).latency_ms(work) / 1000 / (730.5 * 3600)

    def left_out(threshold: float) -> list[str]:
        sieve = Sieve([parse_criterion(f"cost_per_1000 <= {threshold}")], book=BOOK)
        aim = Aim("text_classification", 0, sieve)
        return [d.why for d in build_rungs([minilm], ["lora"], aim, lambda *_: work)[1]]

    (why,) = left_out(0.9 * floor)
    assert "is out of reach: minilm with 6 layers costs at least" in why
    assert not left_out(1.1 * floor)


def test_a_machine_that_costs_more_than_a_month_may_is_told_before_anything_is_trained():
    criterion = parse_criterion("monthly_cost[requests=1000, target=vm] <= 10", line=7)
    minilm = Backbone("minilm", "folder", "", "0" * 64, "MIT", ("en",), 22_700_000, 6, 384)
    work = Work(100_000, 10_000, 110_000, 180.0, text_tokens=64)
    aim = Aim("text_classification", 0, Sieve([criterion], book=BOOK))
    _, dropped = build_rungs([minilm], ["head"], aim, lambda *_: work)
    with pytest.raises(NeedError) as caught:
        refuse_empty("need.yaml", [criterion], dropped)
    (fault,) = caught.value.faults
    assert fault.line == 7
    assert "costs at least 42" in fault.what
    assert fault.fix.startswith("write monthly_cost[requests=1000, target=vm] <= 63, name another")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cost_per_1000[target=lambda] <= 0.0002", "own_machine"),
        ("monthly_cost[requests=1000] <= 1", "lambda"),
        ("monthly_cost[requests=1000] <= 0.00001", None),
    ],
)
def test_a_missed_cost_names_the_cheapest_target_that_meets_it(text, named):
    step = cheaper_target(parse_criterion(text), BOOK, TWO, "bundle")
    if named is None:
        assert step is None
        return
    assert step is not None
    assert step.what.startswith(f"On {named} it would cost ")
    assert step.command == "sartor cost bundle"


def test_only_a_cost_that_was_measured_and_missed_looks_for_another_target():
    cost, speed = parse_criterion("cost_per_1000 <= 1"), parse_criterion("latency_p95_ms <= 1")
    missed = Verdict(cost.text, 2, 2, 2, 6, "unmet")
    assert missed_cost(cost, missed)
    assert not missed_cost(speed, missed)
    assert not missed_cost(cost, replace(missed, n=0))
    assert not missed_cost(cost, replace(missed, state="met"))


def test_a_cascade_is_priced_in_proportion_to_its_time():
    rows = Examples(("a",), {"text": ("money back",)}, ("refund",))
    task = TASKS.get("text_classification")()
    costing = Costing(BOOK, lambda name, _: {})
    held = Held(task, LABELS, rows, (), 1, costing=costing)
    plain = replace(
        held.subject(rows, [{"label": "refund", "best": "refund"}]),
        timing=lambda: np.full((1, 4), 8.0),
        using=lambda: Use((0.010,), 200.0),
        prices=BOOK,
    )
    criterion = parse_criterion("cost_per_1000[target=vm] <= 1")
    (before,) = judge([criterion], plain)
    (after,) = judge([criterion], held.sped(plain, lambda ms: ms / 4))
    assert after.value == pytest.approx(before.value / 4)
