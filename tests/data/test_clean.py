"""Cleaning: what goes, what changes, and that each is listed."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.errors import DataError
from sartor.data.changes import summary, write_changes
from sartor.data.clean import clean
from sartor.data.normalise import content_id, normalise_text
from sartor.data.read import join, read
from sartor.data.table import Columns

FILLER = [
    ("the parcel never arrived and nobody answers", "bad"),
    ("我很喜欢这个产品，质量非常好", "good"),
    ("works exactly as described, thank you", "good"),
    ("包装破损，客服态度也很差", "bad"),
]


def table_of(rows, root, split=None):
    return read([[{"text": t, "label": lb} for t, lb in rows]], root, split=split)


def cleaned(rows, root, **settings):
    return clean(table_of([*rows, *FILLER], root), Columns("text", "label"), **settings)


def reasons(result):
    return {(c.row, c.reason) for c in result.dropped}


@pytest.mark.parametrize("text", [None, "", "   \n", "\x00\x00", "\u200b", "NaN", "null", "\ufffd"])
def test_a_row_without_text_is_dropped_with_its_reason(tmp_path, text):
    result = cleaned([(text, "good")], tmp_path)
    assert reasons(result) == {(1, "empty text")}
    assert len(result.frame) == len(FILLER)


@pytest.mark.parametrize("label", [None, " ", "NaN"])
def test_a_row_without_label_is_dropped_with_its_reason(tmp_path, label):
    assert reasons(cleaned([("some words here", label)], tmp_path)) == {(1, "no label")}


def test_a_declared_label_may_read_like_a_missing_value(tmp_path):
    rows = [("one two three", "nan"), ("completely different words", "nan"), *FILLER]
    result = clean(
        table_of(rows, tmp_path), Columns("text", "label"), labels=["nan", "good", "bad"]
    )
    assert result.frame["label"].to_list().count("nan") == 2


@pytest.mark.parametrize(
    ("given", "kept", "reason"),
    [
        ("nul\x00 inside", "nul inside", "control characters removed"),
        ("cafe\u0301 au lait", "café au lait", "Unicode composed (NFC)"),
        ("  two   spaces ", "two spaces", "spaces collapsed"),
        ("全角\u3000空格", "全角 空格", "spaces collapsed"),
        ("lone \ud800 surrogate", "lone surrogate", "undecodable characters removed"),
    ],
)
def test_a_changed_text_is_listed(tmp_path, given, kept, reason):
    result = cleaned([(given, "good")], tmp_path)
    assert result.frame["text"][0] == kept
    (change,) = result.changed
    assert (change.row, change.action) == (1, "changed")
    assert reason in change.detail


def test_line_ends_are_kept_and_windows_ones_are_no_change():
    assert normalise_text("好\r\n的") == ("好\n的", ())
    assert normalise_text("a \n\n\n\n b") == ("a\n\nb", ("spaces collapsed",))


@given(st.text())
def test_normalising_twice_changes_nothing_more(text):
    once, _ = normalise_text(text)
    assert normalise_text(once) == (once, ())


def test_numbers_in_a_label_column_become_their_text(tmp_path):
    data = {"text": [t for t, _ in FILLER], "label": [1.0, 2.0, 2.0, 1.0]}
    result = clean(read([data], tmp_path), Columns("text", "label"))
    assert result.frame["label"].to_list() == ["1", "2", "2", "1"]


def test_a_duplicate_names_the_row_it_repeats(tmp_path):
    result = cleaned([("same words", "good"), (" same  words", "good")], tmp_path)
    assert reasons(result) == {(2, "duplicate")}
    assert result.dropped[0].detail == "of list, row 1"


def test_conflicting_labels_drop_all_their_rows_and_are_listed(tmp_path):
    result = cleaned([("so so", "good"), ("so so", "bad")], tmp_path)
    assert reasons(result) == {(1, "conflicting labels"), (2, "conflicting labels")}
    (conflict,) = result.conflicts
    assert conflict.labels == ("bad", "good")
    assert conflict.rows == (("list", 1), ("list", 2))


NEAR = (
    "这家酒店的服务态度非常好，房间也很干净，早餐的种类很多，下次还会再来住的",
    "这家酒店的服务态度非常好，房间也很干净，早餐的种类很多，下次还会再来住！的",
)


def test_a_chinese_near_duplicate_goes_and_can_be_kept(tmp_path):
    rows = [(text, "good") for text in NEAR]
    assert reasons(cleaned(rows, tmp_path)) == {(2, "near duplicate")}
    assert not cleaned(rows, tmp_path, near_duplicates=False).dropped


def test_near_duplicates_of_different_labels_both_stay(tmp_path):
    assert not cleaned([(NEAR[0], "good"), (NEAR[1], "bad")], tmp_path).dropped


def test_a_test_row_outranks_the_training_row_that_repeats_it(tmp_path):
    train = table_of([("seen before", "good"), ("told otherwise", "good"), *FILLER], tmp_path)
    test = table_of(
        [("seen before", "good"), ("told otherwise", "bad"), ("fresh", "good")], tmp_path, "test"
    )
    result = clean(join([train, test]), Columns("text", "label"))
    kept = set(result.frame.select("text", "__split__").rows())
    assert {("seen before", "test"), ("told otherwise", "test"), ("fresh", "test")} <= kept
    assert reasons(result) == {(1, "duplicate"), (2, "conflicting labels")}


def test_a_row_tested_by_an_earlier_run_outranks_a_new_near_duplicate(tmp_path):
    rows = [(NEAR[1], "good"), (NEAR[0], "good")]
    known = {content_id({"text": NEAR[0]}): "test"}
    assert reasons(cleaned(rows, tmp_path, known=known)) == {(1, "near duplicate")}
    assert reasons(cleaned(rows, tmp_path)) == {(2, "near duplicate")}


def test_undeclared_labels_are_counted_and_the_first_is_placed(tmp_path):
    rows = [("my words", "Refnd"), ("your words", "Refnd"), ("x y z", "odd")]
    with pytest.raises(DataError, match="list, row 1: label 'Refnd' occurs 2 times") as caught:
        cleaned(rows, tmp_path, labels=["refund", "good", "bad"])
    assert "all 3 such rows" in caught.value.fix


def test_a_label_that_occurs_once_is_refused(tmp_path):
    with pytest.raises(DataError, match="list, row 1: label 'weird' occurs once"):
        cleaned([("my words", "weird")], tmp_path)


def test_a_label_met_only_in_the_test_rows_is_refused(tmp_path):
    train = table_of(FILLER, tmp_path)
    test = table_of([("new thing", "new"), ("another thing", "new")], tmp_path, "test")
    with pytest.raises(DataError, match="'new' occurs 2 times, only in the test rows"):
        clean(join([train, test]), Columns("text", "label"))


def test_a_label_that_is_a_whole_text_is_shown_in_brief(tmp_path):
    with pytest.raises(DataError, match=r"label 'y{80}…' occurs once"):
        cleaned([("my words", "y" * 5_000)], tmp_path)


def test_one_label_only_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing to tell apart"):
        clean(table_of([("a b c", "x"), ("d e f", "x")], tmp_path), Columns("text", "label"))


def test_nothing_left_is_refused(tmp_path):
    with pytest.raises(DataError, match="All 2 rows were dropped; the first, list, row 1: empty"):
        clean(table_of([("", "x"), (" ", "y")], tmp_path), Columns("text", "label"))


def test_every_row_is_kept_or_listed(tmp_path):
    rows = [("same", "good"), ("same", "good"), ("", "bad"), (NEAR[0], "good"), (NEAR[1], "good")]
    result = cleaned(rows, tmp_path)
    assert len(result.frame) + len(result.dropped) == len(rows) + len(FILLER)
    assert summary(result.dropped) == {"empty text": 1, "duplicate": 1, "near duplicate": 1}


def test_a_written_text_is_no_formula(tmp_path):
    changes = cleaned([("=1+1  ok", "good")], tmp_path).changes
    write_changes(changes, tmp_path / "c.csv")
    assert "'=1+1 ok" in (tmp_path / "c.csv").read_text("utf-8-sig")


def test_changes_are_written_as_json_lines_and_csv(tmp_path):
    changes = cleaned([("", "good"), ("好\x00的", "bad")], tmp_path).changes
    write_changes(changes, tmp_path / "c.jsonl")
    write_changes(changes, tmp_path / "c.csv")
    lines = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text("utf-8").splitlines()]
    with (tmp_path / "c.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [line["reason"] for line in lines] == [row["reason"] for row in rows]
    assert lines[1]["text"] == rows[1]["text"] == "好的"
    with pytest.raises(DataError, match=r"'\.txt'"):
        write_changes(changes, tmp_path / "c.txt")
