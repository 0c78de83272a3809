"""Metrics of labelled parts are those of seqeval and nervaluate, and intervals are over rows."""

import json
import re

import nervaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import DataError, NeedError
from sartor.core.spans import Span
from sartor.core.types import Examples
from sartor.judge.api import CannotMeasure, Subject
from sartor.judge.checks.entities import METRICS, Entities, by_label
from sartor.judge.resolve import Rows, bind, check_of
from sartor.judge.rival import read_predictions
from sartor.judge.verdicts import RowsBehind, gather, judge
from sartor.need.grammar import parse_criterion
from sartor.tasks.token_classification.tagging import tags_of

NAMES = ("A", "B", "C")
LENGTH = 12


def subject(truth, said, baseline=None):
    ids = tuple(map(str, range(len(truth))))
    answers = [{"entities": [span._asdict() for span in spans]} for spans in said]
    examples = Examples(ids, {"text": tuple("x " * LENGTH for _ in ids)}, tuple(truth))
    return Subject(examples, answers, tags_of(NAMES), baseline=baseline, target="spans")


@st.composite
def spans(draw):
    """Parts that do not overlap, many of them with common edges."""
    found, at = [], 0
    while at < LENGTH:
        length = draw(st.integers(1, 4))
        if draw(st.booleans()):
            end = min(at + length, LENGTH)
            found.append(Span(at, end, draw(st.sampled_from(NAMES))))
        at += length
    return tuple(found)


DOCUMENTS = st.lists(st.tuples(spans(), spans()), min_size=1, max_size=8)


def value(text, found):
    behind = gather(parse_criterion(text), found)
    assert isinstance(behind, RowsBehind), behind
    return behind.parts[0].statistic.observed


def ratio(name, hits, true, said):
    """As seqeval: undefined is 0."""
    p, r = hits / said if said else 0.0, hits / true if true else 0.0
    return {"precision": p, "recall": r, "f1": 2 * p * r / (p + r) if p + r else 0.0}[name]


@settings(deadline=None, max_examples=60)
@given(DOCUMENTS)
def test_strict_metrics_are_the_definitions(documents):
    found = subject(*zip(*documents, strict=True))
    flat = [{(i, *s) for i, pair in enumerate(documents) for s in pair[side]} for side in (0, 1)]
    for name in ("precision", "recall", "f1"):
        hits = len(flat[0] & flat[1])
        wanted = ratio(name, hits, len(flat[0]), len(flat[1]))
        assert value(f"{name}_micro >= 0.5", found) == pytest.approx(wanted)
        each, weight = [], []
        for label in NAMES:
            true, said = ({s for s in side if s[3] == label} for side in flat)
            one = ratio(name, len(true & said), len(true), len(said))
            assert value(f"{name}[label={label}] >= 0.5", found) == pytest.approx(one)
            if true or said:
                each.append(one)
                weight.append(len(true))
        assert value(f"{name}_macro >= 0.5", found) == pytest.approx(np.mean(each) if each else 0)
        wide = np.average(each, weights=weight) if sum(weight) else 0.0
        assert value(f"{name}_weighted >= 0.5", found) == pytest.approx(wide)
    same = np.mean([set(t) == set(s) for t, s in documents])
    assert value("exact_match >= 0.5", found) == pytest.approx(same)


def credit(truth, said):
    """The partial scheme, as nervaluate goes through it: one that fits, else the first over it."""
    left, correct, partial = list(truth), 0, 0
    for span in said:
        over = [one for one in left if one.start < span.end and span.start < one.end]
        fits = [one for one in over if one[:2] == span[:2]]
        if fits:
            correct += 1
            left.remove(fits[0])
        elif over:
            partial += 1
            left.remove(over[0])
    return correct + 0.5 * partial


@settings(deadline=None, max_examples=60)
@given(DOCUMENTS)
def test_partial_metrics_are_the_definitions(documents):
    found = subject(*zip(*documents, strict=True))
    hits = sum(credit(t, s) for t, s in documents)
    counts = [sum(len(pair[side]) for pair in documents) for side in (0, 1)]
    for name in ("precision", "recall", "f1"):
        wanted = ratio(name, hits, *counts)
        assert value(f"{name}_partial >= 0.5", found) == pytest.approx(wanted)


@settings(deadline=None, max_examples=60)
@given(DOCUMENTS)
def test_strict_and_partial_are_nervaluates(documents):
    def listed(side):
        return [
            # Its ends are included.
            [{"label": s.label, "start": s.start, "end": s.end - 1} for s in pair[side]]
            for pair in documents
        ]

    told = nervaluate.Evaluator(listed(0), listed(1), tags=list(NAMES), loader="dict").evaluate()
    found = subject(*zip(*documents, strict=True))
    for scheme, how in (("strict", "micro"), ("partial", "partial")):
        overall = told["overall"][scheme]
        for name in ("precision", "recall", "f1"):
            wanted = getattr(overall, name)
            assert value(f"{name}_{how} >= 0.5", found) == pytest.approx(wanted)


A, B = Span(0, 1, "A"), Span(2, 3, "B")


def test_rows_are_the_unit_of_the_interval():
    """Twenty parts in one text are not twenty pieces of evidence."""
    many = tuple(Span(2 * i, 2 * i + 1, "A") for i in range(20))
    together = subject([many, many], [many, ()])
    apart = subject([(s,) for s in many * 2], [(s,) for s in many] + [()] * 20)
    (criterion,) = [parse_criterion("recall_micro >= 0.4")]
    wide, narrow = (judge([criterion], s, seed=0)[0] for s in (together, apart))
    assert wide.value == narrow.value == 0.5
    assert wide.high - wide.low > narrow.high - narrow.low
    assert (wide.n, narrow.n) == (2, 40)


def test_the_n_of_a_label_counts_rows_in_question():
    found = subject([(A,), (B,), (), (A, B)], [(A,), (B,), (A,), (B,)])
    for text, n in (("recall[label=A]", 2), ("precision[label=A]", 2), ("f1[label=A]", 3)):
        behind = gather(parse_criterion(f"{text} >= 0.5"), found)
        assert behind.parts[0].statistic.n == n
    assert behind.parts[0].of == ""
    assert gather(parse_criterion("recall[label=A] >= 0.5"), found).parts[0].of == "label=A"


def test_what_is_found_of_each_label_is_told():
    found = subject([(A, B), ()], [(A,), (Span(0, 1, "Z"),)])
    assert by_label(found) == [
        {"label": "A", "true": 1, "said": 1, "hits": 1},
        {"label": "B", "true": 1, "said": 0, "hits": 0},
        {"label": "C", "true": 0, "said": 0, "hits": 0},
        {"label": "Z", "true": 0, "said": 1, "hits": 0},
    ]


def test_a_baseline_is_read_as_parts_and_compared_row_by_row():
    cells = ['[{"start": 0, "end": 1, "label": "A"}]', "", "[]"]
    found = subject([(A,), (A,), ()], [(A,), (A,), ()], baseline=cells)
    assert value("recall_micro >= baseline + 0.1", found) == pytest.approx(0.5)
    criterion = parse_criterion("f1_micro >= baseline + 0.1")
    with pytest.raises(CannotMeasure, match="no list"):
        Entities().parts(criterion, subject([(A,)], [(A,)], baseline=["A"]))
    with pytest.raises(CannotMeasure, match="no baseline"):
        Entities().parts(criterion, subject([(A,)], [(A,)]))


def test_a_criterion_names_a_label_and_not_a_tag():
    rows = Rows({}, target="spans")
    for text, said in (
        ("f1[label=B-A] >= 0.5", "no label is called 'B-A'"),
        ("f1 >= 0.5", "does not say of which label"),
        ("accuracy >= 0.5", "no metric is called 'accuracy'"),
        ("f1_micro == 0.5", "exactly"),
        ("f1_partial[label=A] >= 0.5", "takes no parameter"),
    ):
        with pytest.raises(NeedError, match=re.escape(said)) as told:
            bind([parse_criterion(text)], file="need.yaml", outputs=tags_of(NAMES), rows=rows)
        assert said in str(told.value)
    assert isinstance(check_of("f1_partial", "spans"), Entities)
    assert check_of("f1_partial", "labels") is None
    assert set(METRICS) >= {"exact_match", "recall_macro"}


def test_a_rivals_parts_are_held_against_the_texts(tmp_path):
    file = tmp_path / "rival.jsonl"
    examples = subject([(A,), ()], [(), ()]).examples

    def read(*lines):
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return read_predictions(file, examples, NAMES, "spans")

    part = {"start": 0, "end": 1, "label": "A"}
    assert read({"entities": [part]}, {"entities": []}) == [{"entities": [part]}, {"entities": []}]
    for wrong, said in (
        ({"label": "A"}, "entities: Field required"),
        ({"entities": [part | {"label": "Q"}]}, "no label is called 'Q'"),
        ({"entities": [part | {"end": 99}]}, "ends behind the text"),
        ({"entities": [7]}, "no labelled part"),
    ):
        with pytest.raises(DataError, match=re.escape(said)) as told:
            read(wrong, {"entities": []})
        assert said in str(told.value)
