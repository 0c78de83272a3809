"""Answers to rows: the history before each, and what cannot be a row."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import DataError
from sartor.core.texts import Cells, cells_of
from sartor.data.answers import join_answers
from sartor.data.check import check
from sartor.data.prepare import columns_of, divide, gather
from sartor.data.table import CELLS, Table
from sartor.need.model import Data
from sartor.tasks._target.right_wrong import RightWrong

ROLES = {"user": "who", "item": "what", "label": "ok"}
INPUTS = ("user", "item", "skill")


def data(**more) -> Data:
    roles = ROLES | ({"skill": "about"} if more.pop("skill", False) else {})
    return Data(train=["rows.csv"], roles=roles, **more)


def table(rows, **columns) -> Table:
    named = {
        "who": [r[0] for r in rows],
        "what": [r[1] for r in rows],
        "ok": [r[2] for r in rows],
        **columns,
    }
    ours = {
        "__file__": ["rows.csv"] * len(rows),
        "__row__": range(1, len(rows) + 1),
        "__split__": pl.Series([None] * len(rows), dtype=pl.String),
    }
    return Table(pl.DataFrame({**named, **ours}, strict=False), ())


def made(rows, need: Data | None = None, **columns):
    return join_answers(table(rows, **columns), columns_of(need or data(), INPUTS, RightWrong()))


def asked(frame: pl.DataFrame, row: int) -> dict[str, Any]:
    return Cells(frame[CELLS][row]).values()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("pqr"), st.sampled_from("abc"), st.integers(0, 1)), min_size=1
    ),
    st.randoms(),
)
def test_a_row_has_the_answers_of_its_learner_before_it_and_no_later_ones(rows, draw):
    times = [draw.randrange(5) for _ in rows]
    frame = made(rows, data(time="when"), when=times).table.frame
    order = sorted(range(len(rows)), key=lambda at: (times[at], at))
    assert frame["__row__"].to_list() == [at + 1 for at in order]
    for place, at in enumerate(order):
        who, what, _ = rows[at]
        before = [rows[i] for i in order[:place]]
        wanted = [[item, mark] for user, item, mark in before if user == who]
        assert asked(frame, place) == {"history": wanted, "item": [what], "skill": None}
        assert frame["history_length"][place] == len(wanted)
        assert frame["answered_before"][place] == sum(item == what for _, item, _ in before)


def test_two_answers_at_one_time_are_in_the_order_of_rows_and_each_has_an_id():
    rows = [("p", "a", 1), ("p", "a", 0), ("q", "a", 1)]
    found = made(rows, data(time="when"), when=["2026-01-01"] * 3)
    assert asked(found.table.frame, 1)["history"] == [["a", 1]]
    assert found.table.frame["__moment__"].n_unique() == 3
    assert "3 answers of 2 learners to 1 items, 67% of them right." in found.said


@pytest.mark.parametrize(
    ("rows", "row", "words"),
    [
        ([("p", "a", "1"), ("", "a", "1")], 2, "column 'who' names no learner"),
        ([("p", "a", "1"), ("p", " ", "1")], 2, "column 'what' names no item"),
        ([("p", "a", "1"), ("p", "a", "")], 2, "column 'ok' does not say whether"),
        ([("p", "a", "1"), ("p", "a", "2")], 2, "column 'ok': '2' says neither"),
        ([("p", "a", "0.7"), ("p", "a", "1")], 1, "column 'ok': '0.7' says neither"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_with_file_row_and_fix(tmp_path, rows, row, words):
    with pytest.raises(DataError) as caught:
        made(rows)
    assert caught.value.what.startswith(f"rows.csv, row {row}: {words}")
    assert caught.value.fix
    path = tmp_path / "rows.csv"
    pl.DataFrame(rows, schema=["who", "what", "ok"], orient="row").write_csv(path)
    columns = columns_of(data(), INPUTS, RightWrong())
    found = check({"train": ["rows.csv"]}, tmp_path, columns)
    assert [(f.level, f.row) for f in found if f.level == "fault"] == [("fault", row)]


def test_an_item_that_is_not_in_the_file_of_items_is_told():
    asked = data(label_descriptions={"a": "A.", "bb": "B."})
    with pytest.raises(DataError, match=r"row 2: no item of data.documents has the id 'b'"):
        made([("p", "a", 1), ("p", "b", 1)], asked)


def test_an_item_of_two_skills_is_told_with_both_rows():
    rows = [("p", "a", 1), ("p", "b", 0), ("q", "a", 0)]
    with pytest.raises(DataError, match=r"row 3: item 'a' has the skill 'y' here and 'x' at rows"):
        made(rows, data(skill=True), about=["x", "x", "y"])
    more = [*rows, ("r", "a", 1)]
    with pytest.raises(DataError, match=r"row 1: item 'a' has the skill 'z' here and 'x' at rows"):
        made(more, data(skill=True), about=["z", "x", "x", "x"])


def test_a_skill_that_a_row_lacks_is_that_of_the_items_other_rows():
    rows = [("p", "a", 1), ("p", "b", 0), ("q", "a", 0), ("q", "a", 1)]
    frame = made(rows, data(skill=True), about=["nan", None, "x", ""]).table.frame
    assert [asked(frame, row)["skill"] for row in range(4)] == ["x", None, "x", "x"]


def test_the_file_of_the_items_names_skills_that_rows_do_not():
    rows = [("p", "a", 1), ("p", "b", 0), ("q", "c", 0)]
    listed = {"label_descriptions": dict.fromkeys("abc", "…"), "skills": {"a": "x", "b": "y"}}
    frame = made(rows, data(**listed)).table.frame
    assert [asked(frame, row)["skill"] for row in range(3)] == ["x", "y", None]
    frame = made(rows, data(skill=True, **listed), about=[None, "y", "z"]).table.frame
    assert [asked(frame, row)["skill"] for row in range(3)] == ["x", "y", "z"]
    with pytest.raises(DataError, match=r"row 2: item 'b' has the skill 'x' here and 'y' in data"):
        made(rows, data(skill=True, **listed), about=["x", "x", "z"])


def test_a_column_that_would_be_overwritten_and_a_time_that_is_none_are_told():
    rows = [("p", "a", 1), ("q", "a", 0)]
    with pytest.raises(DataError, match="'answered_before' has the name of what is made"):
        made(rows, answered_before=["", ""])
    with pytest.raises(DataError, match=r"rows.csv, row 2: when 'soon' is not a time"):
        made(rows, data(time="when"), when=["2026-01-01", "soon"])


def parts(tmp_path, asked: Data):
    rows = [(f"u{n % 30:02}", f"i{n % 7}", n % 3 > 0, n) for n in range(600)]
    path = tmp_path / "rows.csv"
    pl.DataFrame(rows, schema=["who", "what", "ok", "when"], orient="row").write_csv(path)
    columns = columns_of(asked, INPUTS, RightWrong())
    gathered = gather(asked, tmp_path, known={}, columns=columns)
    return divide(gathered, wanted_test=100, seed=0, known={})


def test_with_times_the_newest_are_tested_and_histories_reach_across(tmp_path):
    found = parts(tmp_path, data(time="when"))
    assert max(map(int, found.train.extra["when"])) < min(map(int, found.test.extra["when"]))
    assert all(cells.values()["history"] for cells in cells_of(found.test.texts))
    assert len(found.train) + len(found.validation) + len(found.test) == 600


def test_without_times_no_learner_is_in_two_parts(tmp_path):
    found = parts(tmp_path, data())
    users = [set(part.extra["who"]) for part in (found.train, found.validation, found.test)]
    assert not users[0] & users[1]
    assert not users[2] & (users[0] | users[1])
    assert all(users)
