"""Corrections, examples, and `sartor data check`."""

import polars as pl
import pytest

from sartor.core.errors import DataError
from sartor.data.check import check
from sartor.data.examples import to_examples
from sartor.data.feedback import merge_feedback
from sartor.data.normalise import content_id
from sartor.data.read import read
from sartor.data.table import Columns

COLUMNS = Columns(text="body", label="team")


def frame_of(rows, root, split=None):
    return read([[{"body": b, "team": t, "n": 1} for b, t in rows]], root, split=split).frame


def test_a_correction_of_a_new_text_becomes_a_training_row(tmp_path):
    frame = frame_of([("old", "a")], tmp_path)
    merged = merge_feedback(frame, [{"text": " 新的 ", "label": "b", "user": "u"}], columns=COLUMNS)
    assert merged.added == 1
    row = merged.frame.row(-1, named=True)
    assert (row["body"], row["team"], row["__split__"]) == ("新的", "b", "train")
    assert (row["__file__"], row["__row__"]) == ("feedback", 1)
    assert row["n"] is None


def test_the_latest_correction_relabels_a_known_text(tmp_path):
    frame = frame_of([("one", "a"), ("two", "a")], tmp_path)
    corrections = [{"text": "one", "label": "b"}, {"text": "one", "label": "c"}]
    merged = merge_feedback(frame, corrections, columns=COLUMNS)
    assert merged.frame["team"].to_list() == ["c", "a"]
    assert merged.added == 0
    (change,) = merged.relabelled
    assert change.detail == "'a' became 'c' by correction 2"


@pytest.mark.parametrize("side", ["test", "validation"])
@pytest.mark.parametrize("how", ["official", "earlier run", "no longer in the file"])
def test_a_held_out_row_is_never_touched(tmp_path, side, how):
    rows = [("other", "a")] if how == "no longer in the file" else [("held", "a")]
    frame = frame_of(rows, tmp_path, side if how == "official" else None)
    known = {} if how == "official" else {content_id({"text": "held"}): side}
    merged = merge_feedback(frame, [{"text": "held", "label": "b"}], columns=COLUMNS, known=known)
    assert merged.frame["team"].to_list() == ["a"]
    assert merged.added == 0
    assert merged.refused[0].reason == "held-out row"


@pytest.mark.parametrize("correction", [{"text": "x"}, {"label": "b"}, {"text": " ", "label": "b"}])
def test_an_incomplete_correction_is_listed(tmp_path, correction):
    merged = merge_feedback(frame_of([("one", "a")], tmp_path), [correction], columns=COLUMNS)
    assert merged.refused[0].reason == "incomplete"
    assert len(merged.frame) == 1


def test_examples_carry_stable_ids_and_the_other_columns(tmp_path):
    frame = frame_of([("one", 1), ("two", 2)], tmp_path)
    found = to_examples(frame, {"text": "body"}, "team")
    again = to_examples(frame.reverse(), {"text": "body"}, "team")
    assert found.ids == again.ids[::-1]
    assert all(len(name) == 32 for name in found.ids)
    assert found.ids[0] == content_id({"text": " one "})
    assert found.target == ("1", "2")
    assert found.extra["n"] == (1, 1)
    assert found.extra["__row__"] == (1, 2)
    assert to_examples(frame, {"text": "body"}, None).target == ()


def test_examples_refuse_gaps_and_unknown_columns():
    with pytest.raises(DataError, match="missing in row 2 of 2"):
        to_examples(pl.DataFrame({"text": ["a", None]}), {"text": "text"}, None)
    with pytest.raises(DataError, match="'txt'"):
        to_examples(pl.DataFrame({"text": ["a"]}), {"text": "txt"}, None)


def test_check_lists_every_fault_with_its_row(tmp_path):
    (tmp_path / "a.csv").write_text(
        "body,team,day\n"
        "first words,refund,2026-01-01\n"
        "second thing,Refnd,2026-01-02\n"
        ",refund,2026-01-03\n"
        "third matter,,2026-01-04\n"
        "other topic,invoice,soon\n"
        "more topics,invoice,2026-01-05\n"
        "last of all,refund,2026-01-06\n"
        "last of all,invoice,2026-01-06\n"
        "yet another,Refnd,2026-01-06\n",
        encoding="utf-8",
    )
    (tmp_path / "b.csv").write_text("body,team\nragged\n")
    found = check(
        {"train": ["a.csv", "b.csv", "c.csv"]},
        tmp_path,
        Columns(text="body", label="team", time="day"),
        labels=["refund", "invoice"],
    )
    faults = [(f.file, f.row) for f in found if f.level == "fault"]
    assert ("b.csv", 0) in faults, "ragged"
    assert ("c.csv", 0) in faults, "absent"
    assert ("a.csv", 2) in faults, "undeclared label"
    assert ("a.csv", 9) in faults, "its second row"
    assert any("row 5: day 'soon'" in f.what for f in found)
    notes = {(f.row, f.what.split(":")[0]) for f in found if f.level == "note"}
    assert {(3, "empty text"), (4, "no label"), (7, "conflicting labels")} <= notes
    assert all(f.fix for f in found)
    levels = [f.level for f in found]
    assert levels == sorted(levels), "faults come first"


def test_check_names_absent_columns_and_is_silent_on_good_data(tmp_path):
    rows = {"body": ["one two", "three four", "五六七八", "seven"], "team": ["a", "b", "a", "b"]}
    assert check({"train": [rows]}, tmp_path, COLUMNS) == []
    (finding,) = check({"train": [rows]}, tmp_path, Columns(text="body", label="tema"))
    assert finding.what == "no column is called 'tema'"
    assert "'team'" in finding.fix
