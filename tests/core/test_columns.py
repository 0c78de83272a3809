"""Columns as numbers: what is missing, unseen or out of range has its place; JSON keeps it all."""

import json
import math
from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.columns import LEAST_ROWS, MOST_VALUES, Column, TableCode, cell, fit_column
from sartor.core.texts import Cells
from sartor.core.unfit import Unfit

KINDS = {"age": "number", "purpose": "category", "since": "date"}
values = st.one_of(st.none(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6))
rows = st.lists(
    st.tuples(
        values,
        st.one_of(st.none(), st.sampled_from("abc")),
        st.one_of(st.none(), st.dates().map(lambda d: cell(d, "date"))),
    ),
    min_size=1,
    max_size=40,
)


def cells(drawn):
    return [Cells.of({"age": cell(a, "number"), "purpose": p, "since": s}) for a, p, s in drawn]


@given(rows)
def test_a_code_survives_json_and_gives_finite_numbers_of_a_fixed_width(drawn):
    table = cells(drawn)
    code = TableCode.fit(table, KINDS)
    found = code.encode(table)
    assert found.shape == (len(table), code.width)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    again = TableCode.model_validate(json.loads(code.model_dump_json()))
    assert (again.encode(table) == found).all()


@given(rows)
def test_rows_are_read_alone_as_among_others(drawn):
    table = cells(drawn)
    code = TableCode.fit(table, KINDS)
    alone = np.concatenate([code.encode([row]) for row in table])
    assert (alone == code.encode(table)).all()


def test_a_number_is_standardised_and_cut_at_what_was_seen():
    column = fit_column([10, 20, 30, None], "number")
    found = column.encode([20, 1000, -1000, None])
    high = (30 - 20) / np.std([10, 20, 30])
    assert found == pytest.approx(np.array([[0, 0], [high, 0], [-high, 0], [0, 1]]), abs=1e-6)
    assert column.outside(25) == ""
    assert "outside the learnt 10 to 30" in column.outside(1000)
    assert column.outside(None) == ""


def test_a_skewed_number_is_read_by_its_logarithm_and_a_plain_one_is_not():
    assert fit_column([*range(1, 20), 10**6], "number").log
    assert not fit_column(list(range(100)), "number").log


def test_rare_and_unseen_values_are_another_one_and_a_gap_is_a_value():
    column = fit_column(["a"] * 5 + ["b"] * 4 + ["c"] * (LEAST_ROWS - 1) + [None], "category")
    assert column.values == ["a", "b"]
    found = column.encode(["a", "b", "c", "zebra", None])
    assert found.tolist() == [
        [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]
    ]  # fmt: skip
    assert column.outside("a") == ""
    assert "zebra" in column.outside("zebra")


def test_only_so_many_values_are_told_apart():
    many = [f"v{i:03}" for i in range(MOST_VALUES + 10) for _ in range(LEAST_ROWS)]
    assert len(fit_column(many, "category").values) == MOST_VALUES


def test_a_date_is_days_a_month_and_a_weekday():
    column = fit_column(["2026-01-05", "2026-07-08"], "date")
    found = column.encode(["2026-01-05", "2026-07-08", None])
    assert found[:2, 3].tolist() == [0, 0]
    assert (found[0, :3] < found[1, :3]).all()
    assert found[2].tolist() == [0, 0, 0, 1]
    assert "outside" in column.outside("2030-01-01")
    assert column.typical() == "2026-04-07"


def test_a_column_without_a_value_is_missing_throughout():
    for kind in ("number", "date", "category"):
        column = fit_column([None, None], kind)
        assert column.missing
        found = column.encode([None])
        assert found[0, -1] == 1
        assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        (" 12.50 ", "number", 12.5),
        (3.0, "number", 3),
        ("", "number", None),
        (math.nan, "number", None),
        (7, "category", "7"),
        (7.0, "category", "7"),
        (True, "category", "true"),
        (" cafe\u0301 ", "category", "café"),
        ("2026-07-28 00:00", "date", "2026-07-28"),
        (datetime(2026, 7, 28, 13, 45), "date", "2026-07-28T13:45:00"),
        (date(2026, 7, 28), "date", "2026-07-28"),
        ("2026/7/28 13:45", "date", "2026-07-28T13:45:00"),
        ("1,234.5", "number", 1234.5),
    ],
)
def test_a_cell_has_one_way_to_be_written(value, kind, found):
    assert cell(value, kind) == found
    assert type(cell(value, kind)) is type(found)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("much", "number"),
        (True, "number"),
        (math.inf, "number"),
        ("1_000", "number"),
        ([1], "category"),
        ("tomorrow", "date"),
        (20260728, "date"),
        ("1774012112345", "date"),
        ("2026-7/28", "date"),
        ("28/07/2026", "date"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_a_way_out(value, kind):
    with pytest.raises(Unfit) as caught:
        cell(value, kind)
    assert caught.value.fix


def test_what_a_manifest_holds_is_checked():
    with pytest.raises(ValueError, match="kind"):
        Column.model_validate({"kind": "colour"})
    with pytest.raises(ValueError, match="columns"):
        TableCode.model_validate({"columns": {}})
