"""Columns of a need's data: what each holds is found out, faults have rows, equal cases stay."""

import datetime
import random

import polars as pl
import pytest

from sartor.core.errors import DataError
from sartor.core.texts import Cells, cells_of
from sartor.data import prepare
from sartor.data.cells import empty_in, join_cells, readable
from sartor.data.near import row_clusters
from sartor.data.read import read
from sartor.need.model import Data
from tests.tiny import WORDS

COUNT = 60


def data(columns, **roles):
    return Data.model_validate(
        {"train": "x", "columns": columns, "roles": {"label": "label", **roles}}
    )


def frame(**more):
    """Sixty cases that differ in their amount."""
    return pl.DataFrame(
        {
            "amount": [float(i) for i in range(COUNT)],
            "kind": ["a", "b", "c"] * (COUNT // 3),
            "label": ["yes", "no"] * (COUNT // 2),
            **more,
        }
    )


def gathered(table, need):
    columns = prepare.columns_of(need, ("text",))
    return prepare.gather(need, None, known={}, columns=columns, objects={"train": [table]})


def test_what_a_column_holds_is_found_out_or_taken_from_the_need():
    table = frame(
        code=["1", "2"] * 30,
        seen=[datetime.date(2026, 1, 1)] * COUNT,
        told=["2026-02-03"] * COUNT,
        flag=[True, False] * 30,
        part=["1.5", "n/a", ""] * 20,
        price=["1,250.50", "１２", "-3"] * 20,
        since=["2026/3/1", "2026年3月2日", "20260303"] * 20,
    )
    names = ("amount", "kind", "code", "seen", "told", "flag", "part", "price", "since")
    asked = dict.fromkeys(names, "auto")
    found = gathered(table, data(asked | {"code": "category"}))
    assert found.columns.cells == {
        "amount": "number",
        "kind": "category",
        "code": "category",
        "seen": "date",
        "told": "date",
        "flag": "category",
        "part": "number",
        "price": "number",
        "since": "date",
    }
    rows = prepare.divide(found, wanted_test=10, seed=0, known={})
    first = cells_of(rows.train.texts)[0].values()
    assert isinstance(first["amount"], int)
    assert (first["seen"], first["told"]) == ("2026-01-01", "2026-02-03")
    assert {c.values()["part"] for c in cells_of(rows.train.texts)} == {1.5, None}
    assert {c.values()["price"] for c in cells_of(rows.train.texts)} == {1250.5, 12, -3}
    days = {c.values()["since"] for c in cells_of(rows.train.texts)}
    assert days == {"2026-03-01", "2026-03-02", "2026-03-03"}


def test_a_word_among_numbers_is_a_fault_with_its_row():
    amounts = [str(i) for i in range(COUNT)]
    amounts[40] = "12,50 EUR"
    with pytest.raises(DataError, match=r"row 41: column 'amount' is '12,50 EUR'") as caught:
        gathered(frame().with_columns(pl.Series("amount", amounts)), data(["amount", "kind"]))
    assert "amount: category" in caught.value.fix


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        (["amount", "label"], "both name the column 'label'"),
        (["note"], "data.columns and data.text both name the column 'note'"),
        (["amout"], "no column is called 'amout'"),
        (["text"], "cannot be told from the text"),
    ],
)
def test_columns_that_cannot_be_read_are_refused(columns, word):
    with pytest.raises(DataError, match=word):
        gathered(frame(text=["x"] * COUNT, note=["y"] * COUNT), data(columns, text="note"))


def test_cases_that_agree_in_all_columns_stay_and_are_one_unit():
    table = pl.DataFrame(
        {
            "kind": [str(i // 4) for i in range(80)],
            "label": ["yes", "no"] * 40,
        }
    )
    found = gathered(table, data({"kind": "category"}))
    assert len(found.cleaned.frame) == 80
    assert not found.cleaned.changes
    rows = prepare.divide(found, wanted_test=20, seed=0, known={})
    sides = [set(part.texts) for part in (rows.train, rows.validation, rows.test)]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert sum(map(len, (rows.train, rows.validation, rows.test))) == 80


def test_a_missing_note_is_an_empty_one_and_a_repeated_row_with_a_note_goes():
    notes = [" ".join(random.Random(i).sample(WORDS, 6)) for i in range(COUNT)]
    notes[3] = notes[4] = None
    notes[5] = "n/a"
    table = frame(note=notes)
    table = pl.concat([table, table[10:11]])
    found = gathered(table, data(["amount", "kind"], text="note"))
    assert len(found.cleaned.frame) == COUNT
    (gone,) = found.cleaned.dropped
    assert (gone.row, gone.reason) == (COUNT + 1, "duplicate")
    rows = prepare.divide(found, wanted_test=10, seed=0, known={})
    every = [*rows.train.texts, *rows.validation.texts, *rows.test.texts]
    assert sum(text[0] == "" for text in every) == 3
    assert all(isinstance(text[1], Cells) for text in every)
    assert next(rows.train.rows()).keys() == {"text", "amount", "kind"}


def test_rows_are_near_by_their_notes_and_equal_by_their_columns():
    cells = [Cells.of({"a": i % 2}) for i in range(4)]
    assert row_clusters([cells]).tolist() == [0, 1, 0, 1]
    notes = ["", "", "the order was late again", "the order was late again!"]
    assert row_clusters([notes, cells]).tolist() == [0, 1, 2, 2]


def test_a_column_that_a_file_never_fills_is_told():
    one, other = frame(), frame().drop("kind")
    table = read([one, other], None)
    columns = prepare.columns_of(data(["amount", "kind"]), ("text",))
    # Both are held in Python and so have one name: told apart as files would be.
    stamped = table.frame.with_columns(pl.Series("__file__", ["one"] * COUNT + ["other"] * COUNT))
    joined, columns = join_cells(type(table)(stamped, table.sources), columns)
    (said,) = empty_in(joined, columns)
    assert "other has no value in the column 'kind'" in said


def test_init_reads_all_but_ids_constants_and_what_plays_a_part():
    table = read([frame(same=["x"] * COUNT, id=[f"n{i}" for i in range(COUNT)])], None)
    assert readable(table, ("label", None)) == {"amount": "number", "kind": "category"}
