from dataclasses import replace

import pytest

from sartor.core.phrases import Phrase
from sartor.judge.next_steps import Beyond, MoreLabels, NextStep, next_steps
from sartor.judge.planning import fresh_rows, rows_needed
from sartor.judge.verdicts import judge
from sartor.need.verdict import Verdict
from tests.judge.rows import criteria, right_and_wrong, subject

RUNG = NextStep(
    Phrase("Try {name}.", {"name": "lora"}),
    "sartor run need.yaml --method lora",
    Phrase("about 7 minutes"),
    420,
)
SMALLER = NextStep(
    Phrase("Try fewer layers."), "sartor run need.yaml", Phrase("about 1 minute"), 60
)


def steps(need, verdicts, **more):
    return next_steps(need, verdicts, need="need.yaml", bundle="bundle", beyond=Beyond(**more))


def recall_of_57_in_60():
    """20 further rows are of another label: a quarter of the sample does not count."""
    return subject(["yes"] * 60 + ["no"] * 20, ["yes"] * 57 + ["no"] * 23)


def test_a_met_need_has_no_next_steps():
    need = criteria("accuracy >= 0.5")
    assert steps(need, judge(need, right_and_wrong(90, 10)), rung=RUNG, lighter=[SMALLER]) == []


def test_an_unproven_recall_asks_for_a_fresh_sample_large_enough_by_itself():
    need = criteria("recall[label=yes] >= 0.9")
    verdicts = judge(need, recall_of_57_in_60())
    (step,) = steps(need, verdicts, rung=RUNG)
    assert verdicts[0].more is not None
    alone = rows_needed(need[0], verdicts[0].value, chance=0.9)
    assert alone is not None
    enough = max(alone, fresh_rows(verdicts[0].n + verdicts[0].more[1], 0.95))
    assert f"at least {enough:,} rows with label=yes" in step.what
    assert step.command == "sartor judge bundle fresh.csv"
    assert "data.test" in step.what, "a verdict outside a run releases nothing"
    assert "labelling" in step.price.say()


@pytest.mark.parametrize(
    ("text", "right", "rows"),
    [("accuracy >= 0.8", 83, 100), ("accuracy >= 0.9", 57, 60), ("f1[label=yes] >= 0.95", 57, 60)],
)
def test_the_rows_asked_for_decide_when_they_come_alone(text: str, right: int, rows: int):
    need = criteria(text)
    before = right_and_wrong(right, rows - right)
    (verdict,) = judge(need, before)
    assert verdict.state == "unproven"
    (step,) = steps(need, [verdict])
    count = int(step.what.split("at least ")[1].split(" rows")[0].replace(",", ""))
    as_good = round(count * right / rows)

    assert judge(need, right_and_wrong(as_good, count - as_good))[0].state == "met"

    further = round(verdict.n / 2)
    as_good = round(further * right / rows)
    alone = judge(need, right_and_wrong(as_good, further - as_good))[0].state
    assert alone == "unproven", "any number decides; the test would be vacuous"


def test_the_further_rows_of_a_verdict_would_not_decide_alone():
    """Why the step asks for more than `Verdict.more` says."""
    need = criteria("accuracy >= 0.8")
    (verdict,) = judge(need, right_and_wrong(170, 30))
    assert verdict.state == "unproven"
    assert verdict.more is not None
    least = verdict.more[0]
    as_good = round(least * 0.85)
    assert judge(need, right_and_wrong(as_good, least - as_good))[0].state == "unproven"
    (step,) = steps(need, [verdict])
    asked = int(step.what.split("at least ")[1].split(" rows")[0].replace(",", ""))
    assert least < asked < verdict.n + verdict.more[1], "fresh rows are a first look"


def test_one_sample_is_asked_for_all_that_rows_can_decide_and_what_is_rare_sets_its_price():
    need = criteria("accuracy >= 0.84", "recall[label=rare] >= 0.6")
    rows = subject(
        ["rare"] * 10 + ["usual"] * 90,
        ["rare"] * 8 + ["usual"] * 2 + ["usual"] * 80 + ["rare"] * 10,
    )
    verdicts = judge(need, rows)
    (step,) = steps(need, verdicts)
    assert "rows (accuracy >= 0.84)" in step.what
    assert "rows with label=rare (recall[label=rare] >= 0.6)" in step.what
    (alone,) = steps(need[1:], verdicts[1:])
    rare = int(alone.what.split("at least ")[1].split(" rows")[0].replace(",", ""))
    assert step.seconds >= 10 * rare * 16, "one row in ten is rare, so ten are read for each"


def test_a_label_that_no_test_row_has_asks_for_as_many_as_a_proof_takes():
    need = criteria("recall[label=maybe] >= 0.9")
    rows = replace(right_and_wrong(90, 10), outputs=["maybe", "no", "yes"])
    (verdict,) = judge(need, rows)
    assert verdict.n == 0
    (step,) = steps(need, [verdict])
    planned = rows_needed(need[0], 0.95)
    assert f"at least {planned} rows with label=maybe" in step.what


def test_an_empty_slice_asks_for_rows_of_the_slice():
    need = criteria('accuracy[where: lang == "zh"] >= 0.8')
    rows = subject(["yes"] * 9, ["yes"] * 9, extra={"lang": ["en"] * 9})
    (step,) = steps(need, judge(need, rows))
    assert 'rows with lang == "zh"' in step.what


def test_what_sits_at_its_threshold_asks_for_a_better_model_and_not_for_test_rows():
    need = criteria("accuracy >= 0.9")
    verdicts = judge(need, right_and_wrong(90, 10))
    assert verdicts[0].state == "unproven"
    assert verdicts[0].more is None
    found = steps(need, verdicts, rung=RUNG)
    assert found[0] == RUNG
    assert "training rows" in found[1].what
    assert "too near the threshold" in found[1].what
    assert not any("sample" in step.what for step in found)


def test_an_unmet_quality_climbs_and_asks_for_training_rows_cheapest_first():
    need = criteria("recall[label=yes] >= 0.9")
    verdicts = judge(need, subject(["yes"] * 600, ["yes"] * 400 + ["no"] * 200))
    found = steps(need, verdicts, rung=RUNG, lighter=[SMALLER])
    assert found[0] == RUNG
    assert "training rows with label=yes" in found[1].what
    assert [step.seconds for step in found] == sorted(step.seconds for step in found)


def test_a_hidden_second_requirement_offers_the_next_rung_too():
    need = criteria("automation_rate[precision >= 0.97] >= 0.3")
    answered = [True] * 50 + [False] * 50
    rows = subject(["yes"] * 100, ["yes"] * 47 + ["no"] * 3 + ["yes"] * 50, answered=answered)
    verdicts = judge(need, rows)
    assert verdicts[0].state == "unproven"
    assert RUNG in steps(need, verdicts, rung=RUNG), "47 of 50 is below 0.97: a better model helps"


def test_a_bundle_too_big_is_made_smaller_and_not_climbed_from():
    need = criteria("size_mb <= 60")
    big = Verdict("size_mb <= 60", 90.0, 90.0, 90.0, 0, "unmet")
    assert steps(need, [big], rung=RUNG, lighter=[SMALLER]) == [SMALLER]


@pytest.mark.parametrize("text", ["accuracy >= 0.5", "accuracy >= baseline + 0.03"])
def test_a_worn_test_set_asks_for_fresh_rows(text: str):
    need = criteria(text)
    rows = replace(right_and_wrong(95, 5), baseline=["yes"] * 40 + ["no"] * 60)
    verdicts = judge(need, rows, look=6)
    (step,) = steps(need, verdicts)
    assert "fresh random sample" in step.what
    assert "worn" in step.what


def test_a_step_is_english_in_json_and_carries_what_other_languages_need():
    need = criteria("recall[label=yes] >= 0.9", "accuracy >= 0.5")
    (step,) = steps(need, judge(need, recall_of_57_in_60()))
    found = step.as_json()
    assert found["what"] == step.what
    assert found["cost"] == step.price.say()
    assert Phrase.of_json(found["said"]) == step.said
    assert Phrase.of_json(found["price"]) == step.price


def test_a_learning_curve_replaces_the_guess_of_how_many_rows_to_add():
    need = criteria("recall[label=yes] >= 0.9")
    verdicts = judge(need, right_and_wrong(40, 20))
    labels = {need[0].text: MoreLabels(120, 700, 0.95, 0.9)}
    (step,) = steps(need, verdicts, labels=labels)
    assert step.what.startswith(
        "Add 120 to 700 training rows with label=yes (at a confidence of 80 %)"
    )
    assert "0.95" in step.what
    assert step.price.say() == "about 30 minutes of labelling to about 3 hours of labelling"


def test_the_class_whose_labels_are_worth_most_is_named():
    need = criteria("accuracy >= 0.9")
    verdicts = judge(need, right_and_wrong(40, 20))
    labels = {need[0].text: MoreLabels(120, 700, 0.95, 0.9, "refund")}
    (step,) = steps(need, verdicts, labels=labels)
    assert "those of refund first" in step.what


def test_labels_that_would_not_help_are_not_asked_for():
    need = criteria("accuracy >= 0.9")
    verdicts = judge(need, right_and_wrong(40, 20))
    (step,) = steps(need, verdicts, labels={need[0].text: MoreLabels(None, None, 0.95, 0.03)})
    assert "Do not label more" in step.what
    assert "chance 3%" in step.what
    assert "labelling" not in step.price.say()


def test_an_upper_end_beyond_what_can_be_foreseen_is_not_invented():
    need = criteria("accuracy >= 0.9")
    verdicts = judge(need, right_and_wrong(40, 20))
    (step,) = steps(need, verdicts, labels={need[0].text: MoreLabels(400, None, 0.95, 0.6)})
    assert "Add 400 or more training rows" in step.what
    assert step.price.say().startswith("at least ")
