"""When a product answers and when a person does, and how rows say what is right."""

import numpy as np
import pytest

from sartor.core.types import HAND_OFF, Examples
from sartor.need.grammar import parse_criterion
from sartor.tasks import TASKS, Unreadable
from sartor.tasks.product.target import Outcomes

TASK = TASKS.get("product")()
OUTPUTS = ["a", "b"]


def rows(*targets: tuple[str, ...]) -> Examples:
    ids = tuple(map(str, range(len(targets))))
    return Examples(ids, {"text": ids}, targets)


def test_a_row_may_allow_several_outcomes_or_none():
    form = Outcomes().of(["refund", "late; order"])
    assert form.value(form.read("late; order")) == ("late; order",)
    assert form.value(form.read(HAND_OFF)) == form.value(form.read("[]")) == ()
    with pytest.raises(Unreadable, match="no part of the product answers 'refnud'") as odd:
        form.read("refnud")
    assert "'refund'" in odd.value.fix
    with pytest.raises(Unreadable, match="beside other outcomes"):
        form.read("refund; hand_off")
    assert form.text("refund") == form.text(("refund",)) == "refund"
    assert form.value(form.text(("[1]",))) == ("[1]",)
    assert form.text(()) == HAND_OFF
    assert form.covers("refund", '["late", "refund"]')
    assert not form.covers(HAND_OFF, "refund")


def test_what_no_part_answers_is_left_to_a_person():
    logits = np.array([[0.9, 0.0], [0.0, 0.4], [0.0, 0.0]], np.float32)
    found = TASK.decode(logits, OUTPUTS, {"hand_off_below": 0.5})
    assert [each["outcome"] for each in found] == ["a", HAND_OFF, HAND_OFF]
    assert [each["best"] for each in found] == ["a", "b", HAND_OFF]
    assert "less sure" in found[1]["reason"]
    assert found[2]["reason"] == "no part answers it"
    assert TASK.brief(found[1]).label is None
    assert TASK.brief(found[0]).label == "a"


def test_the_threshold_keeps_the_precision_that_is_asked_for():
    draw = np.random.default_rng(0)
    sure = draw.uniform(0.2, 1.0, 600)
    right = draw.uniform(size=600) < sure
    logits = np.zeros((600, 2), np.float32)
    logits[:, 0] = sure
    examples = rows(*[("a",) if hit else ("b",) for hit in right])
    asked = [parse_criterion("automation_rate[precision >= 0.9] >= 0.1")]
    below = TASK.settle(logits, examples, OUTPUTS, asked)["hand_off_below"]
    answered = sure >= below
    assert 0.05 < answered.mean() < 0.6
    assert right[answered].mean() >= 0.9


def test_without_a_precision_most_rows_end_right():
    logits = np.array([[0.9, 0], [0.8, 0], [0.3, 0], [0.2, 0], [0, 0]], np.float32)
    examples = rows(("a",), ("a",), (), (), ())
    below = TASK.settle(logits, examples, OUTPUTS, ())["hand_off_below"]
    assert 0.3 < below < 0.81
    everything = rows(("a",), ("a",), ("a",), ("b",), ())
    assert TASK.settle(logits, everything, OUTPUTS, ())["hand_off_below"] == 0.0
