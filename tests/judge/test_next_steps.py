from dataclasses import replace

from sartor.judge.next_steps import NextStep, binding, next_steps
from sartor.judge.verdicts import judge
from sartor.need.verdict import Verdict
from tests.judge.rows import criteria, right_and_wrong, subject

RUNG = NextStep("Try lora.", "sartor run need.yaml --from lora", "about 7 minutes", 420)
SMALLER = NextStep("Try fewer layers.", "sartor run need.yaml --smaller", "about 1 minute", 60)


def steps(need, verdicts, **more):
    return next_steps(need, verdicts, need="need.yaml", bundle="bundle", **more)


def test_a_met_need_has_no_next_steps():
    need = criteria("accuracy >= 0.5")
    assert steps(need, judge(need, right_and_wrong(90, 10)), rung=RUNG, smaller=SMALLER) == []
    assert binding(need, judge(need, right_and_wrong(90, 10))) is None


def test_an_unproven_recall_asks_for_rows_of_its_label():
    need = criteria("recall[label=yes] >= 0.9")
    verdicts = judge(need, subject(["yes"] * 60 + ["no"] * 20, ["yes"] * 57 + ["no"] * 23))
    (step,) = steps(need, verdicts, rung=RUNG)
    assert verdicts[0].more is not None
    least, most = verdicts[0].more
    assert f"Label {least:,} – {most:,} more test rows with label=yes" in step.what
    assert step.command == "sartor judge bundle more.csv"
    assert "labelling" in step.cost


def test_an_unmet_quality_climbs_and_asks_for_training_rows_cheapest_first():
    need = criteria("recall[label=yes] >= 0.9")
    verdicts = judge(need, subject(["yes"] * 600, ["yes"] * 400 + ["no"] * 200))
    found = steps(need, verdicts, rung=RUNG, smaller=SMALLER)
    assert found[0] == RUNG
    assert "training rows with label=yes" in found[1].what
    assert [step.seconds for step in found] == sorted(step.seconds for step in found)


def test_a_bundle_too_big_is_made_smaller_and_not_climbed_from():
    need = criteria("size_mb <= 60")
    big = Verdict("size_mb <= 60", 90.0, 90.0, 90.0, 0, "unmet")
    assert steps(need, [big], rung=RUNG, smaller=SMALLER) == [SMALLER]


def test_a_worn_test_set_asks_for_fresh_rows():
    need = criteria("accuracy >= 0.5")
    verdicts = judge(need, right_and_wrong(95, 5), look=6)
    (step,) = steps(need, verdicts)
    assert "fresh test rows" in step.what
    assert "worn" in step.what


def test_the_binding_criterion_is_the_one_furthest_from_being_met():
    need = criteria("accuracy >= 0.89", "recall[label=yes] >= 0.99", "size_mb <= 60")
    verdicts = judge(need, right_and_wrong(90, 10))[:2]
    size = Verdict("size_mb <= 60", 61.0, 61.0, 61.0, 0, "unmet")
    found = binding(need, [*verdicts, size])
    assert found is not None
    assert found.criterion == "recall[label=yes] >= 0.99"
    far = binding(need, [*verdicts, replace(size, value=900.0, low=900.0, high=900.0)])
    assert far is not None
    assert far.criterion == "size_mb <= 60"
