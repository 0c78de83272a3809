"""Logits become answers: probabilities that add up, a label or a reason for none."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.errors import DataError, Diverged
from sartor.core.types import Examples
from sartor.need.grammar import parse_criterion
from sartor.tasks import TASKS

TASK = TASKS.get("text_classification")()
OUTPUTS = ["refund", "发票", "other"]
floats = st.floats(width=32)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
rows_of = lambda numbers: st.lists(st.tuples(numbers, numbers, numbers), max_size=6)  # noqa: E731
decisions = st.fixed_dictionaries(
    {
        "temperature": st.floats(0.05, 20),
        "weights": st.fixed_dictionaries({name: st.floats(0.02, 55) for name in OUTPUTS}),
        "abstain_below": st.floats(0, 1),
    }
)


def labelled(*labels: str) -> Examples:
    return Examples(
        ids=tuple(map(str, range(len(labels)))),
        inputs={"text": tuple("t" for _ in labels)},
        target=labels,
    )


def decode(rows: list[tuple[float, ...]], **decision: object) -> list[dict]:
    return TASK.decode(np.array(rows, np.float32).reshape(-1, 3), OUTPUTS, decision)


@given(rows_of(finite), decisions)
def test_probabilities_add_up_and_the_label_is_none_only_below_the_threshold(rows, decision):
    answers = decode(rows, **decision)
    assert len(answers) == len(rows)
    for answer in answers:
        chances = answer["probabilities"]
        assert list(chances) == OUTPUTS
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert all(0 <= p <= 1 for p in chances.values())
        best = answer["best"]
        weighted = {name: p * decision["weights"][name] for name, p in chances.items()}
        assert weighted[best] == pytest.approx(max(weighted.values()), rel=1e-4)
        gap = chances[best] - decision["abstain_below"]
        if abs(gap) > 1e-5:
            assert (answer["label"] is None) == (gap < 0)
        assert answer["label"] in (None, best)
        assert ("reason" in answer) == (answer["label"] is None)


@given(rows_of(floats), decisions)
def test_every_answer_is_json_whatever_the_model_says(rows, decision):
    text = json.dumps(decode(rows, **decision), allow_nan=False, ensure_ascii=False)
    for row, answer in zip(rows, json.loads(text), strict=True):
        if not np.isfinite(row).all():
            assert answer["label"] is None
            assert "not a number" in answer["reason"]


def test_one_broken_row_does_not_spoil_its_batch():
    rows = [(5.0, 0.0, 0.0), (float("nan"), 1.0, 2.0), (0.0, float("inf"), 0.0)]
    whole = decode(rows)
    assert whole[0] == decode(rows[:1])[0]
    assert [answer["label"] for answer in whole] == ["refund", None, None]


def test_a_small_probability_does_not_become_an_impossible_one():
    (answer,) = decode([(30.0, 0.0, 0.0)])
    assert answer["probabilities"]["other"] == pytest.approx(np.exp(-30), rel=1e-4)


def test_a_weight_changes_the_answer_but_not_the_probabilities():
    plain = decode([(1.0, 0.5, 0.0)])[0]
    moved = decode([(1.0, 0.5, 0.0)], weights={"other": 10.0})[0]
    assert (plain["label"], moved["label"]) == ("refund", "other")
    assert plain["probabilities"] == moved["probabilities"]


def test_the_reason_of_an_abstention_holds_both_numbers():
    (answer,) = decode([(0.0, 0.0, 0.0)], abstain_below=0.9)
    assert answer["reason"] == "less sure than the chosen threshold (0.33 < 0.90)"


def test_a_higher_temperature_spreads_the_probabilities_and_keeps_the_answer():
    sharp, flat = decode([(2.0, 1.0, 0.0)])[0], decode([(2.0, 1.0, 0.0)], temperature=5.0)[0]
    assert sharp["label"] == flat["label"]
    assert sharp["probabilities"]["refund"] > flat["probabilities"]["refund"] + 0.1


def test_the_outputs_are_the_declared_labels_in_their_order_or_those_that_occur():
    assert TASK.outputs(labelled("b", "a", "b"), None) == ["a", "b"]
    assert TASK.outputs(labelled("b", "a"), ["c", "b", "a"]) == ["c", "b", "a"]


@pytest.mark.parametrize("labels", [(), ("a",), ("a", "a")])
def test_fewer_than_two_labels_are_nothing_to_tell_apart(labels):
    with pytest.raises(DataError, match="nothing to tell apart"):
        TASK.outputs(labelled(*labels), None)


def settled(criteria: list[str], rows: int = 400) -> dict:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, rows)
    logits = random.normal(0, 1.2, (rows, 3)) + 3 * np.eye(3)[truth] * [0.4, 1, 1]
    examples = labelled(*(OUTPUTS[i] for i in truth))
    asked = [parse_criterion(text) for text in criteria]
    return TASK.settle(logits.astype(np.float32), examples, OUTPUTS, asked)


def test_a_need_that_asks_for_no_label_and_no_abstention_gets_neither():
    decision = settled(["accuracy >= 0.9", "size_mb <= 60"])
    assert decision["weights"] == dict.fromkeys(OUTPUTS, 1.0)
    assert decision["abstain_below"] == 0
    assert decision["temperature"] != 1


def test_a_need_moves_the_decision_and_the_decision_is_json():
    decision = settled(["recall[label=refund] >= 0.9", "automation_rate[precision >= 0.9] >= 0.5"])
    assert json.loads(json.dumps(decision)) == decision
    assert decision["weights"]["refund"] > 1
    assert 0 < decision["abstain_below"] < 1


def test_of_two_automation_criteria_the_stricter_decides():
    loose, strict = (
        "automation_rate[precision >= 0.8] >= 0.5",
        "automation_rate[precision >= 0.9] >= 0.5",
    )
    both = settled([loose, strict])["abstain_below"]
    assert both == settled([strict, loose])["abstain_below"] == settled([strict])["abstain_below"]
    assert both > settled([loose])["abstain_below"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_model_whose_outputs_are_no_numbers_has_diverged(bad):
    logits = np.zeros((2, 3), np.float32)
    logits[1, 2] = bad
    with pytest.raises(Diverged, match="1 of 2 validation rows"):
        TASK.settle(logits, labelled("refund", "other"), OUTPUTS, [])


def test_a_validation_label_that_no_training_row_has_is_named():
    with pytest.raises(DataError, match="'Refnd'"):
        TASK.settle(np.zeros((2, 3), np.float32), labelled("refund", "Refnd"), OUTPUTS, [])


def test_no_validation_rows_settle_nothing():
    decision = TASK.settle(np.zeros((0, 3), np.float32), labelled(), OUTPUTS, [])
    assert decision["temperature"] == 1
    assert decision["abstain_below"] == 0


def test_the_task_says_what_it_reads():
    assert TASK.roles.names() == ["text", "label"]
