"""What an interval draws together, and how today's answers are read."""

from typing import Any

import numpy as np
import pytest

from sartor.core.types import Examples
from sartor.judge.api import Subject
from sartor.judge.intervals import bootstrap
from sartor.judge.statistic import proportion
from sartor.judge.verdicts import judge
from sartor.need.grammar import parse_criterion
from sartor.search.assess import answers_today, units_of
from sartor.tasks import TASKS


def rows(target: list[str], **extra: list[Any]) -> Examples:
    texts = tuple(f"text {i}" for i in range(len(target)))
    columns = {name: tuple(cells) for name, cells in extra.items()}
    return Examples(texts, {"text": texts}, tuple(target), columns)


@pytest.mark.parametrize(
    ("task", "label", "today"),
    [
        ("text_classification", "true", True),
        ("text_classification", "1", 1.0),
        ("text_classification", "refund", " refund "),
        ("text_classification", "r\u00e9sum\u00e9", "re\u0301sume\u0301"),
        ("ordinal", "3", 3.0),
        ("ordinal", "3", "\uff13"),
    ],
)
def test_todays_answers_are_read_as_labels_are(task: str, label: str, today: object) -> None:
    examples = rows([label, "other"], today=[today, None])
    assert answers_today(examples, "today", TASKS.get(task)()) == [label, ""]


def test_a_model_beats_only_a_baseline_that_is_worse() -> None:
    """The same answers as the model's, written as pandas writes them."""
    task, labels = TASKS.get("text_classification")(), ["0", "1"]
    truth = [labels[i % 2] for i in range(200)]
    examples = rows(truth, today=[float(label) for label in truth])
    answers = [{"best": label, "label": label} for label in truth]
    subject = Subject(examples, answers, labels, answers_today(examples, "today", task))
    (verdict,) = judge([parse_criterion("accuracy >= baseline + 0.03")], subject, look=1, seed=0)
    assert verdict.state != "met"
    assert verdict.value == 0.0


def test_rows_without_a_group_stand_for_themselves() -> None:
    examples = rows(["a"] * 4, customer=["north", None, "", "north"])
    units = units_of(examples, "customer", TASKS.get("text_classification")())
    assert units is not None
    assert units[0] == units[3]
    assert len(set(units)) == 3


def test_an_interval_of_guests_is_that_of_single_rows() -> None:
    """Two hundred rows without a customer are no unit of two hundred."""
    right = np.random.default_rng(0).random(300) < 0.8
    customers = [f"c{i % 50}" if i < 100 else None for i in range(300)]
    examples = rows(["a"] * 300, customer=customers)
    units = units_of(examples, "customer", TASKS.get("text_classification")())
    low, high = bootstrap(proportion(right), 0.05, 0, units)
    alone = bootstrap(proportion(right), 0.05, 0, None)
    assert high - low < 1.5 * (alone[1] - alone[0])


def test_no_group_is_no_unit() -> None:
    assert units_of(rows(["a"]), "", TASKS.get("text_classification")()) is None
