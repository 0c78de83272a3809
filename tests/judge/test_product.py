"""What is counted of a product: counted by hand, and what a criterion cannot ask."""

import numpy as np
import pytest

from sartor.core.types import HAND_OFF, Examples
from sartor.judge.api import Subject
from sartor.judge.gaps import values
from sartor.judge.resolve import check_of
from sartor.judge.verdicts import judge
from tests.judge.rows import criteria

SAID = ["a", "a", HAND_OFF, "b", HAND_OFF, "b"]
TRUTH = (("a",), ("b",), ("a",), ("b", "c"), (), ())
COUNTED = {
    "end_to_end >= 0": 3 / 6,
    "answered_right >= 0": 2 / 6,
    "answered_precision >= 0": 2 / 4,
    "automation_rate >= 0": 4 / 6,
    "hand_off_rate >= 0": 2 / 6,
    "hand_off_recall >= 0": 1 / 2,
    "part_accuracy[part=intent] >= 0": 2 / 3,
}


def step(part: str, best: str) -> dict[str, object]:
    return {"part": part, "best": best, "confidence": 1.0, "answer": {}}


def subject() -> Subject:
    path = [[step("intent", name)] for name in ("x", "x", "y", "y", "x")] + [[]]
    answers = [{"outcome": said, "path": way} for said, way in zip(SAID, path, strict=True)]
    ids = tuple(map(str, range(6)))
    told = ("x", "x", "", "x; z", "", "y")
    examples = Examples(ids, {"text": ids}, TRUTH, {"intent": told})
    today = ["a", "a", "", "", HAND_OFF, ""]
    return Subject(examples, answers, ["a", "b", "c"], baseline=today, target="outcome")


def test_rows_are_counted_as_by_hand():
    found = values(criteria(*COUNTED), subject())
    assert found == pytest.approx(COUNTED)


def test_precision_is_judged_among_what_is_answered():
    (verdict,) = judge(criteria("automation_rate[precision >= 0.4] >= 0.1"), subject())
    assert verdict.n == 6
    assert "precision among answered 0.500" in verdict.note


def test_today_is_a_baseline_whose_empty_cells_are_a_person():
    (verdict,) = judge(criteria("end_to_end >= baseline + 0.01"), subject())
    assert verdict.value == pytest.approx(3 / 6 - 3 / 6)


def test_a_part_without_a_column_is_unproven_by_name():
    (verdict,) = judge(criteria("part_accuracy[part=slots] >= 0.5"), subject())
    assert (verdict.state, verdict.n) == ("unproven", 0)
    assert "no column 'slots'" in verdict.note


def test_words_are_compared_over_the_rows_that_have_some_and_say_what_is_right():
    said = ["Five days.", "we wait a day", "", None, "Six days."]
    answers = [
        {"outcome": "a", "path": [step("find", "a"), *([] if w is None else [step("writer", w)])]}
        for w in said
    ]
    ids = tuple("12345")
    told = ("five days.", "a day", "something", "never written", None)
    examples = Examples(ids, {"text": ids}, (("a",),) * 5, {"writer": told})
    asked = criteria(*(f"{name}[part=writer] >= 0.1" for name in ("exact_match", "contains")))
    asked += criteria("rouge_l[part=writer] >= 0.1")
    found = Subject(examples, answers, ["a"], target="outcome")
    assert list(values(asked, found).values()) == pytest.approx(
        [1 / 3, 2 / 3, (1 + 2 * 2 / 6 + 0) / 3]
    )
    verdicts = judge(asked, found)
    assert [verdict.n for verdict in verdicts] == [3, 3, 3]
    assert all(v.low <= v.value <= v.high for v in verdicts)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("rouge_l >= 0.5", "part"),
        ("rouge_l[part=writer] >= baseline + 0.1", "baseline"),
        ("part_accuracy >= 0.5", "part"),
        ("part_accuracy[label=x] >= 0.5", "label"),
        ("end_to_end[part=x] >= 0.5", "no parameter"),
        ("automation_rate[precision <= 0.5] >= 0.5", "precision"),
        ("hand_off_rate >= baseline + 0.1", "baseline"),
        ("end_to_end >= 1.5", "between 0 and 1"),
    ],
)
def test_what_cannot_be_shown_is_refused(text, word):
    (criterion,) = criteria(text)
    check = check_of(criterion.metric, "outcome")
    assert check is not None
    fault = check.fault(criterion, ["a"])
    assert fault is not None
    assert word in fault.what


def test_labelled_parts_are_right_where_all_of_them_are():
    said = ['[{"start": 0, "end": 1, "label": "x"}]', "[]", "[]"]
    answers = [{"outcome": "a", "path": [step("slots", text)]} for text in said]
    told = ([{"start": 0, "end": 1, "label": "x"}], [], [{"start": 0, "end": 1, "label": "x"}])
    ids = tuple("123")
    examples = Examples(ids, {"text": ids}, (("a",),) * 3, {"slots": told})
    found = values(
        criteria("part_accuracy[part=slots] >= 0"),
        Subject(examples, answers, ["a"], target="outcome"),
    )
    assert list(found.values()) == pytest.approx([2 / 3])


def test_no_row_that_a_person_should_answer_is_no_share():
    plain = subject()
    examples = plain.examples.take([0, 1])
    few = Subject(examples, plain.answers[:2], plain.outputs, target="outcome")
    (verdict,) = judge(criteria("hand_off_recall >= 0.5"), few)
    assert verdict.n == 0
    assert np.isfinite(verdict.value)
