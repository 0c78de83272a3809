"""Metrics of answers from a context, with intervals over the contexts."""

import json

import numpy as np
import pytest

from sartor.core.errors import DataError, NeedError
from sartor.core.spans import Passage
from sartor.core.types import Examples
from sartor.judge.api import Subject
from sartor.judge.resolve import Rows, bind
from sartor.judge.rival import read_predictions
from sartor.judge.verdicts import RowsBehind, gather, judge
from sartor.need.grammar import parse_criterion
from sartor.search.assess import units_of
from sartor.tasks import TASKS

RIGHT = (["two years"], ["red"], [], [])
SAID = ("two", "red", "", "blue")


def rows(right, contexts=None):
    targets = tuple(tuple(Passage(0, len(t), t) for t in texts) for texts in right)
    ids = tuple(map(str, range(len(right))))
    return Examples(ids, {"question": ids, "context": contexts or ids}, targets)


def subject(right=RIGHT, said=SAID, baseline=None, contexts=None):
    answers = [{"answer": text} for text in said]
    examples = rows(right, contexts)
    groups = units_of(examples, None, TASKS.get("question_answering")())
    return Subject(
        examples, answers, ("start", "end"), baseline=baseline, groups=groups, target="answer"
    )


def statistic(text, found):
    behind = gather(parse_criterion(text), found)
    assert isinstance(behind, RowsBehind), behind
    return behind.parts[0].statistic


@pytest.mark.parametrize(
    ("metric", "value", "n"),
    [
        ("exact_match", 0.5, 4),
        ("f1", (2 / 3 + 1 + 1 + 0) / 4, 4),
        ("no_answer_accuracy", 0.5, 2),
        ("answered_exact_match", 0.5, 2),
        ("answered_f1", (2 / 3 + 1) / 2, 2),
    ],
)
def test_a_metric_counts_the_rows_that_it_is_about(metric, value, n):
    found = statistic(f"{metric} >= 0.1", subject())
    assert (found.observed, found.n) == (pytest.approx(value), n)


def test_a_baseline_is_compared_row_by_row():
    today = ["two years", "green", "", None]
    found = statistic("exact_match >= baseline - 0.9", subject(baseline=today))
    assert found.observed == pytest.approx(0.5 - 0.75)


def test_rows_of_one_context_are_no_evidence_of_their_own():
    draw = np.random.default_rng(0)
    good = draw.random(40) < 0.8
    said = tuple("red" if good[i // 5] else "blue" for i in range(200))
    contexts = tuple(f"context {i // 5}" for i in range(200))
    criteria = [parse_criterion("exact_match >= 0.5")]
    apart, together = (
        judge(criteria, subject([["red"]] * 200, said, contexts=c), seed=0)[0]
        for c in (None, contexts)
    )
    assert apart.value == together.value
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_a_criterion_that_no_sample_can_show_is_refused():
    for text in ("f1 >= 80", "no_answer_accuracy == 1", "exact_match[label=red] >= 0.5"):
        with pytest.raises(NeedError):
            bind(
                [parse_criterion(text)],
                file="need.yaml",
                outputs=(),
                rows=Rows({}, False, "answer"),
            )


def test_anybodys_answers_are_judged(tmp_path):
    path = tmp_path / "said.jsonl"
    path.write_text("".join(json.dumps({"answer": text}) + "\n" for text in SAID))
    found = read_predictions(path, rows(RIGHT), ["start", "end"], "answer")
    assert [answer["answer"] for answer in found] == list(SAID)
    path.write_text('{"label": "two"}\n' * 4)
    with pytest.raises(DataError, match="answer: Field required"):
        read_predictions(path, rows(RIGHT), ["start", "end"], "answer")
