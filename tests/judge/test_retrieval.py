"""Metrics of ranked documents are the field's, over the rows that a document answers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from sartor.core.errors import DataError
from sartor.core.types import Examples
from sartor.judge.api import Subject
from sartor.judge.checks.retrieval import METRICS, Retrieval, ndcg, recall, reciprocal
from sartor.judge.intervals import clopper_pearson
from sartor.judge.resolve import metrics
from sartor.judge.rival import read_predictions
from sartor.judge.verdicts import RowsBehind, gather, judge
from sartor.need.grammar import parse_criterion

NAMES = tuple("abcdefgh")


def subject(truth, ranked, answered=None, baseline=None):
    answered = [True] * len(ranked) if answered is None else answered
    answers = [
        {"answer": row[0] if yes else None, "documents": [{"id": name} for name in row]}
        for row, yes in zip(ranked, answered, strict=True)
    ]
    ids = tuple(map(str, range(len(truth))))
    examples = Examples(ids, {"text": ids}, tuple(map(tuple, truth)))
    return Subject(examples, answers, NAMES, baseline=baseline, target="documents")


def value(text, found):
    behind = gather(parse_criterion(text), found)
    assert isinstance(behind, RowsBehind), behind
    return behind.parts[0].statistic.observed


@st.composite
def rows(draw):
    """(truth, rankings), some of them of fewer documents than there are."""
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    truth = [sorted(rng.choice(NAMES, rng.integers(0, 4), replace=False)) for _ in range(n)]
    shown = draw(st.integers(1, len(NAMES)))
    return truth, [rng.permutation(NAMES)[:shown].tolist() for _ in range(n)]


@settings(max_examples=60, deadline=None)
@given(rows(), st.sampled_from([1, 2, 3, 5, 10]))
def test_metrics_are_those_of_a_count_by_hand_and_of_scikit_learn(made, k):
    truth, ranked = made
    some = [(t, r) for t, r in zip(truth, ranked, strict=True) if t]
    if not some:
        return
    found = subject(truth, ranked)
    wanted = np.mean([len({*t} & {*r[:k]}) / len(t) for t, r in some])
    assert value(f"recall_at_{k} >= 0.1", found) == pytest.approx(wanted)
    first = [next((1 / (r.index(n) + 1) for n in r if n in t), 0.0) for t, r in some]
    assert value("mrr >= 0.1", found) == pytest.approx(np.mean(first))
    # What is not listed stands behind all that is, and beyond the first k nothing counts.
    graded = np.array([[float(name in t) for name in NAMES] for t, _ in some])
    places = np.array(
        [[-float(r.index(n)) if n in r[:k] else -100.0 for n in NAMES] for _, r in some]
    )
    short = np.array([len(r) for _, r in some]) < min(k, len(NAMES))
    if not short.any():
        gains = ndcg_score(graded, places, k=k)
        assert value(f"ndcg_at_{k} >= 0.1", found) == pytest.approx(gains)


def test_a_row_that_no_document_answers_is_counted_by_answering_alone():
    truth = [["a"], ["b"], [], []]
    ranked = [["a", "b"], ["a", "b"], ["a", "b"], ["b", "a"]]
    found = subject(truth, ranked, answered=[True, True, True, False])
    assert value("recall_at_1 >= 0.1", found) == 0.5
    assert value("rejection_recall >= 0.1", found) == 0.5
    behind = gather(parse_criterion("automation_rate[precision >= 0.3] >= 0.1"), found)
    assert [part.statistic.observed for part in behind.parts] == [0.75, pytest.approx(1 / 3)]
    assert [part.statistic.n for part in behind.parts] == [4, 3]
    assert gather(parse_criterion("mrr >= 0.1"), found).parts[0].statistic.n == 2


def test_one_right_document_a_row_has_the_exact_interval():
    truth = [["a"]] * 30 + [["b"]] * 10
    found = subject(truth, [["a", "b"]] * 40)
    (verdict,) = judge([parse_criterion("recall_at_1 >= 0.5")], found)
    assert (verdict.low, verdict.high) == pytest.approx(
        tuple(map(float, clopper_pearson(30, 40, 0.05)))
    )
    assert verdict.n == 40


def test_gains_fall_with_the_logarithm_of_the_place():
    right = frozenset("ac")
    assert ndcg(["b", "a", "c"], right, 3) == pytest.approx(
        (1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    )
    assert recall(["b", "a", "c"], right, 2) == 0.5
    assert reciprocal(["b", "a"], right) == 0.5
    assert reciprocal(["b"], right) == 0.0


def test_today_s_ranking_is_a_baseline_paired_with_ours():
    truth = [["a"], ["b"], ["c"]]
    found = subject(truth, [["a"], ["b"], ["a"]], baseline=["a", '["a", "b"]', ""])
    assert value("recall_at_1 >= baseline + 0.01", found) == pytest.approx(1 / 3)
    assert value("mrr >= baseline + 0.01", found) == pytest.approx(2 / 3 - 1.5 / 3)


def test_a_document_that_a_baseline_repeats_counts_where_it_stands_first():
    found = subject([["a"], ["a", "b"]], [["b"], ["c"]], baseline=['["a", "a"]', '["a", "a", "b"]'])
    assert value("ndcg_at_5 >= baseline + 0.01", found) == pytest.approx(-1.0)
    assert value("recall_at_2 >= baseline + 0.01", found) == pytest.approx(-1.0)


def test_only_documents_have_these_metrics_and_they_have_no_others():
    assert set(METRICS) <= set(metrics("documents"))
    assert "recall_at_5" not in metrics("label")
    assert "accuracy" not in metrics("documents")
    fault = Retrieval().fault(parse_criterion("automation_rate >= baseline + 0.1"), NAMES)
    assert fault is not None
    assert Retrieval().fault(parse_criterion("recall_at_5[label=a] >= 0.5"), NAMES) is not None
    assert Retrieval().fault(parse_criterion("ndcg_at_10 >= 1.2"), NAMES) is not None
    assert (
        Retrieval().fault(parse_criterion("automation_rate[precision >= 0.9] >= 0.5"), NAMES)
        is None
    )


def test_a_rival_s_rankings_are_read(tmp_path):
    rows = subject([["a"], ["b"]], [["a"], ["b"]]).examples
    path = tmp_path / "rival.jsonl"
    lines = [{"documents": ["b", "a"]}, {"documents": []}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    one, other = read_predictions(path, rows, NAMES, "documents")
    assert one == {"answer": "b", "documents": [{"id": "b"}, {"id": "a"}]}
    assert other["answer"] is None
    path.write_text('{"documents": ["bb"]}\n{"documents": ["a"]}\n')
    with pytest.raises(DataError, match="'bb'"):
        read_predictions(path, rows, NAMES, "documents")
    path.write_text('{"documents": ["a"]}\n{"documents": ["b", "a", "b"]}\n')
    with pytest.raises(DataError, match="line 2: documents lists 'b' more than once"):
        read_predictions(path, rows, NAMES, "documents")
    path.write_text('{"label": "a"}\n{"label": "a"}\n')
    with pytest.raises(DataError, match="documents"):
        read_predictions(path, rows, NAMES, "documents")
