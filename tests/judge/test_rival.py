import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import DataError, SartorError
from sartor.judge.rival import compare, read_predictions
from sartor.judge.verdicts import judge
from tests.judge.rows import criteria, flipped, subject

FOUND = subject(["a", "b", "a"], ["a", "b", "b"])


def written(folder, *lines):
    path = folder / "rival.jsonl"
    text = [
        line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines
    ]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def read(path):
    return read_predictions(path, FOUND.examples, FOUND.outputs)


def test_lines_without_ids_answer_the_rows_in_order(tmp_path):
    path = written(tmp_path, {"label": "a"}, {"label": "b"}, "", {"label": None})
    assert read(path) == [
        {"label": "a", "best": "a"},
        {"label": "b", "best": "b"},
        {"label": None, "best": ""},
    ]


def test_lines_with_ids_may_come_in_any_order_and_with_rows_to_spare(tmp_path):
    path = written(
        tmp_path,
        {"id": "row-2", "label": "b", "cost": 0.1},
        {"id": "row-9", "label": "a"},
        {"id": "row-1", "label": None, "probabilities": {"a": 0.4, "b": 0.6}},
        {"id": "row-0", "label": "a"},
    )
    answers = read(path)
    assert [answer["best"] for answer in answers] == ["a", "b", "b"]
    assert answers[1] == {"label": None, "best": "b", "probabilities": {"a": 0.4, "b": 0.6}}


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (['{"label": "a"'], "line 1: .*EOF"),
        ([{"label": "a"}, {"lable": "a"}], "line 2: label: Field required"),
        ([{"label": [3]}], "line 1: label"),
        ([{"label": True}], "line 1: label: Input should be a valid string"),
        ([{"label": 3}], "line 1: no label is called '3'"),
        (["[1, 2]"], "line 1: "),
        (['{"label": "a", "probabilities": {"a": NaN}}'], "line 1: "),
        ([{"label": "a", "probabilities": {"a": 1.5}}], r"line 1: probabilities\.a"),
        (['{"label": ' + "[" * 100_000 + "}"], "line 1: "),
        (['{"label": "\\ud800"}'], "line 1: "),
        ([{"label": "A"}], "no label is called 'A'"),
        ([{"label": "a", "probabilities": {"c": 1.0}}], "no label is called 'c'"),
        ([{"label": "a", "probabilities": {"a": 0.9, "b": 0.9}}], "line 1: .* more than 1"),
        ([{"label": "a"}], "1 answers for 3 rows"),
        ([{"id": "row-0", "label": "a"}], r"no answer for 2 of 3 rows, e\.g\. 'row-1', 'row-2'"),
        ([{"id": "row-0", "label": "a"}] * 2, "line 2: id 'row-0' has been answered before"),
        ([{"id": "row-0", "label": "a"}, {"label": "a"}], "1 of 2 lines have an id"),
        (['{"label": "' + "x" * 1_000_001 + '"}'], "line 1 is longer than 1,000,000 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_what_to_do(tmp_path, lines, what):
    with pytest.raises(DataError, match=what) as caught:
        read(written(tmp_path, *lines))
    assert "Fix: " in str(caught.value)
    assert "rival.jsonl" in str(caught.value)


def test_bytes_that_are_no_utf_8_and_a_missing_file_are_refused(tmp_path):
    path = tmp_path / "rival.jsonl"
    path.write_bytes(b'{"label": "\xff\xfe"}\n')
    with pytest.raises(DataError, match="line 1"):
        read(path)
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "absent.jsonl")


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_at_all_end_in_a_traceback(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("rival") / "rival.jsonl"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(SartorError):
        read(path)


def test_a_rival_is_judged_by_the_same_criteria_and_told_what_it_lacks(tmp_path):
    path = written(tmp_path, {"label": "a"}, {"label": "b"}, {"label": None})
    rival = type(FOUND)(examples=FOUND.examples, answers=read(path), outputs=FOUND.outputs)
    accuracy, rate, loss, size = judge(
        criteria("accuracy >= 0.5", "automation_rate >= 0.5", "log_loss <= 1", "size_mb <= 60"),
        rival,
    )
    assert accuracy.value == pytest.approx(2 / 3)
    assert rate.value == pytest.approx(2 / 3)
    assert "needs probabilities" in loss.note
    assert "needs a bundle" in size.note


def test_two_subjects_are_compared_row_by_row():
    rng = np.random.default_rng(0)
    truth = rng.choice(["a", "b", "c"], 300)
    ours = subject(list(truth), flipped(truth, 0.9, rng))
    theirs = subject(list(truth), flipped(truth, 0.7, rng))
    accuracy, f1, size = compare(
        ours, theirs, criteria("accuracy >= 0.8", "f1_macro >= 0.8", "size_mb <= 60")
    )
    assert accuracy.value == pytest.approx(accuracy.one - accuracy.other)
    assert 0.1 < accuracy.low < accuracy.value < accuracy.high < 0.3
    assert accuracy.n == 300
    assert f1.low > 0.1
    assert (size.n, bool(size.note)) == (0, True)
    (back,) = compare(theirs, ours, criteria("accuracy >= 0.8"))
    assert back.value == pytest.approx(-accuracy.value)


def test_probabilities_are_compared_too_though_they_fill_other_bins():
    truth = ["a"] * 60 + ["b"] * 40
    best = ["a"] * 100
    calm = subject(truth, best, probabilities=np.tile([0.6, 0.4], (100, 1)))
    wild = np.random.default_rng(0).uniform(0.8, 1.0, 100)
    loud = subject(truth, best, probabilities=np.column_stack([wild, 1 - wild]))
    for found in compare(calm, loud, criteria("calibration_error <= 0.1", "log_loss <= 1")):
        assert found.value < found.high < 0


def test_a_rival_against_itself_shows_no_difference():
    (same,) = compare(FOUND, FOUND, criteria("accuracy >= 0.8"))
    assert same.value == 0
    assert same.low <= 0 <= same.high


def test_answers_on_other_rows_are_not_compared():
    other = subject(["a", "b"], ["a", "b"])
    with pytest.raises(DataError, match="different rows"):
        compare(FOUND, other, criteria("accuracy >= 0.8"))
