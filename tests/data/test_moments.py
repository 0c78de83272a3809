"""Choices to moments: nothing of a row lies behind its time."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import DataError
from sartor.core.histories import HISTORY
from sartor.core.texts import Cells
from sartor.data.check import check
from sartor.data.moments import CHOSEN_BEFORE, HISTORY_LENGTH, MOST_CHOSEN, join_moments
from sartor.data.prepare import columns_of, divide, gather
from sartor.data.table import CELLS, Table
from sartor.need.model import Data
from sartor.tasks.retrieval.target import Documents

ITEMS = tuple("abcdefgh")


def data(**more) -> Data:
    roles = {"user": "who", "label": "what"}
    return Data(train=["rows.csv"], time="when", roles=roles, labels=list(ITEMS), **more)


def columns(**more):
    return columns_of(data(**more), ("user",), Documents())


def table(rows) -> Table:
    named = {
        "who": [r[0] for r in rows],
        "what": [r[1] for r in rows],
        "when": [r[2] for r in rows],
    }
    return Table(
        pl.DataFrame(
            {
                **named,
                "__file__": ["rows.csv"] * len(rows),
                "__row__": range(1, len(rows) + 1),
                "__split__": pl.Series([None] * len(rows), dtype=pl.String),
            }
        ),
        (),
    )


def made(rows, **more):
    return join_moments(table(rows), columns(**more))


def lines(rows):
    frame = made(rows).table.frame
    told = zip(frame["who"], histories(frame), frame["what"], strict=True)
    return [(who, before, json.loads(then)) for who, before, then in told]


def histories(frame: pl.DataFrame) -> list[list[str]]:
    return [Cells(cell).values()[HISTORY] for cell in frame[CELLS]]


def test_a_row_is_a_moment_with_what_came_before_it():
    rows = [("u", "b", 2), ("v", "c", 1), ("u", "a", 1), ("u", "d", 3), ("u", "e", 3)]
    assert lines(rows) == [
        ("v", [], ["c"]),
        ("u", [], ["a"]),
        ("u", ["a"], ["b"]),
        ("u", ["a", "b"], ["d", "e"]),
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("uvw"), st.sampled_from(ITEMS), st.integers(0, 6)),
        min_size=2,
        max_size=40,
    ).filter(lambda rows: len({when for _, _, when in rows}) > 1)
)
def test_no_history_holds_what_was_chosen_at_its_time_or_later(rows):
    frame = made(rows).table.frame
    for who, when, history, before in zip(
        frame["who"], frame["when"], histories(frame), frame[CHOSEN_BEFORE], strict=True
    ):
        earlier = [what for user, what, at in rows if user == who and at < when]
        assert sorted(history) == sorted(earlier)
        assert before <= sum(at < when for _, _, at in rows)
    assert frame[HISTORY_LENGTH].to_list() == [len(h) for h in histories(frame)]
    assert frame["when"].is_sorted()


def test_what_repeats_is_listed_unless_items_come_again():
    once = [("u", name, at) for at, name in enumerate(ITEMS * 3)][:21]
    rare = [(f"v{at}", name, at) for at, name in enumerate(ITEMS * 8)]
    found = made([("u", "a", 100), ("u", "a", 101), *rare])
    assert [(c.row, c.reason) for c in found.changes] == [(2, "repeated choice")]
    assert "64 users were there once" in found.said
    again = made(once)
    assert again.changes == ()
    assert "items may come again" in again.said


def test_the_list_of_the_most_chosen_is_of_that_moment_without_the_history():
    rows = [("u", "a", 1), ("v", "a", 2), ("v", "b", 3), ("w", "b", 4), ("w", "c", 5)]
    frame = made(rows, baseline=MOST_CHOSEN).table.frame
    assert frame[MOST_CHOSEN].to_list() == ["[]", '["a"]', "[]", '["a", "b"]', '["a"]']
    assert frame[CHOSEN_BEFORE].to_list() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("u", "a", 1), ("u", "zz", 2)], "rows.csv, row 2: no document has the id 'zz'"),
        ([("u", "a", 1), ("", "b", 2)], "row 2: column 'who' names no user"),
        ([("u", "a", 1), ("u", "", 2)], "row 2: column 'what' names no item"),
        ([("u", "a", 1), ("u", "b", 1)], "All 2 rows have one time in 'when'"),
        ([("u", "a", "soon"), ("u", "b", "2026-01-01")], "row 1: when 'soon' is not a time"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_with_file_and_row(rows, words):
    with pytest.raises(DataError, match=words):
        made(rows)


def test_equal_histories_of_two_users_stay_two_rows_and_the_clock_parts_them(tmp_path):
    rows = [(f"u{at % 30}", ITEMS[(at // 30 + at) % 8], at) for at in range(150)]
    lines = ["who,what,when", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    gathered = gather(data(), tmp_path, known={}, columns=columns())
    found = divide(gathered, wanted_test=20, seed=0, known={})
    assert len(set(found.train.ids)) == len(found.train)
    ends = [max(map(float, part.extra["when"])) for part in (found.train, found.validation)]
    starts = [min(map(float, part.extra["when"])) for part in (found.validation, found.test)]
    assert ends[0] < starts[0]
    assert ends[1] < starts[1]
    total = sum(map(len, (found.train, found.validation, found.test)))
    assert total == len(gathered.table)
    assert not found.changes
    notes = check({"train": ["rows.csv"]}, tmp_path, columns(), labels=list(ITEMS))
    assert [note.level for note in notes] == ["note"]


def test_check_lists_every_fault(tmp_path):
    (tmp_path / "rows.csv").write_text("who,what,when\nu,a,1\nu,zz,2\n,b,3\n")
    found = check({"train": ["rows.csv"]}, tmp_path, columns(), labels=list(ITEMS))
    assert [(f.level, f.row) for f in found] == [("fault", 2), ("fault", 3)]
