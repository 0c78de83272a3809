"""The matrix may be folded; its sums may not change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.report.answers import Confusion, Numbered
from sartor.report.confusion import MOST_LABELS, matrix
from sartor.report.numbers import plot, residuals
from sartor.report.page import render
from tests.report.samples import full_result


@given(st.integers(1, 25).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(0, 50), min_size=n, max_size=n), min_size=n, max_size=n
    )
))  # fmt: skip
def test_folding_keeps_every_count(counts):
    labels = tuple(f"label {i}" for i in range(len(counts)))
    shown = matrix(Confusion(labels, tuple(map(tuple, counts))))

    assert shown is not None
    assert sum(row.total for row in shown.rows) == sum(map(sum, counts))
    assert all(sum(cell.count for cell in row.cells) == row.total for row in shown.rows)
    assert len(shown.labels) <= MOST_LABELS + 1
    assert len(shown.labels) - (shown.folded > 0) + shown.folded == len(counts)


def test_the_labels_with_most_mistakes_are_the_ones_shown():
    size = 14
    counts = [[100 if i == j else 0 for j in range(size)] for i in range(size)]
    counts[13][12] = 7
    shown = matrix(Confusion(tuple(map(str, range(size))), tuple(map(tuple, counts))))

    assert shown is not None
    assert {"12", "13"} <= set(shown.labels)
    assert shown.rows[-1].label == ""
    assert not shown.rows[-1].cells[-1].right, "a folded cell mixes right and wrong answers"


def test_a_matrix_that_is_not_square_is_not_drawn():
    assert matrix(Confusion(("a", "b"), ((1, 2),))) is None
    assert matrix(Confusion(("a", "b"), ((1, 2), (3,)))) is None
    assert matrix(Confusion()) is None


@pytest.mark.parametrize(
    ("language", "said"), [("en", "rows given it"), ("zh", "被判为此标签的行")]
)
def test_labels_of_rows_with_several_are_counted_one_by_one(language, said):
    found = full_result() | {
        "confusion": {},
        "by_label": [
            {"label": "<late>", "true": 40, "said": 30, "hits": 24},
            {"label": "never", "true": 0, "said": 0, "hits": 0},
        ],
    }
    page = render(found, language=language)
    assert said in page
    assert "&lt;late&gt;" in page
    for share in ("0.80", "0.60", "0.69"):
        assert f"<td>{share}</td>" in page
    assert page.count("<td>–</td>") == 3


@pytest.mark.parametrize(
    ("language", "said"), [("en", "answer less truth"), ("zh", "回答减真实值")]
)
def test_numbers_are_drawn_against_the_truth_with_what_is_left_between(language, said):
    rows = [
        {"truth": t, "said": t + (0.5 if t < 5 else -3), "low": t - 0.5, "high": t + 1.0}
        for t in map(float, range(20))
    ]
    page = render({**full_result(), "numbers": rows}, language=language)
    assert said in page
    assert page.count('class="point') == 20
    found = residuals([Numbered(**row) for row in rows])
    assert [part.rows for part in found] == [4, 4, 4, 4, 4]
    assert (found[0].mean, found[-1].mean, found[-1].size) == (0.5, -3.0, 3.0)
    assert all(part.inside == 1.0 for part in found)
    assert residuals([]) == []
    assert plot([]) is None
