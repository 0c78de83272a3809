"""Rows of two texts: both are cleaned, both count, and neither stands on both sides of a split."""

import random
from pathlib import Path

import pytest

from sartor.core.errors import DataError
from sartor.core.texts import flat, written
from sartor.data.changes import summary
from sartor.data.clean import clean
from sartor.data.feedback import merge_feedback
from sartor.data.near import row_clusters
from sartor.data.prepare import columns_of, divide, examples_of, gather
from sartor.data.read import read
from sartor.need.model import Data
from tests.data.leaks import leaks

ROLES = {"text": "question", "text_pair": "answer"}
INPUTS = tuple(ROLES)
DATA = Data(train=["pairs.csv"], roles={**ROLES, "label": "fits"})
COLUMNS = columns_of(DATA, INPUTS)
FILLER = [
    ("where is my parcel from monday", "it left the warehouse this morning", "yes"),
    ("how do i get my money back", "fill in the form under refunds", "yes"),
    ("do you ship to norway", "we send parcels to all of europe", "yes"),
    ("wann öffnet der laden", "the colour is a matter of taste", "no"),
    ("怎么开发票", "包裹已经寄出", "no"),
]


def table_of(rows, split=None):
    named = [{"question": a, "answer": b, "fits": label} for a, b, label in rows]
    return read([named], Path(), split=split)


def cleaned(*rows, **settings):
    return clean(table_of([*rows, *FILLER]), COLUMNS, **settings)


def told(found):
    return {(change.row, change.reason) for change in found.dropped}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((None, "an answer", "yes"), "empty text"),
        (("a question", " \n", "yes"), "empty text_pair"),
        (("a question", "NaN", "yes"), "empty text_pair"),
        (("a question", "an answer", ""), "no label"),
    ],
)
def test_a_row_that_lacks_either_text_or_its_label_is_dropped_with_its_reason(row, reason):
    assert told(cleaned(row)) == {(1, reason)}


def test_both_texts_are_normalised_and_the_change_is_listed_once():
    found = cleaned(("two  spaces", "nul\x00 here", "yes"))
    assert found.frame.row(0)[:2] == ("two spaces", "nul here")
    (change,) = found.changed
    assert change.detail == "spaces collapsed; control characters removed"
    assert change.text == "two spaces | nul here"


def test_only_a_row_both_of_whose_texts_come_again_is_a_duplicate():
    question, answer, _ = FILLER[0]
    found = cleaned((question, "not before friday", "no"), ("is it lost", answer, "no"))
    assert not found.dropped
    again = clean(table_of([*FILLER, FILLER[0]]), COLUMNS)
    assert told(again) == {(6, "duplicate")}


def test_a_near_duplicate_is_near_in_both_texts():
    question = "please tell me where the parcel is that i ordered last week on monday"
    answer = "it has left the warehouse and arrives on the day after tomorrow at noon"
    rows = [(question, answer, "yes"), (question + "!", answer + ".", "yes")]
    other = (question + "?", "no idea", "yes")
    assert told(cleaned(*rows, other)) == {(2, "near duplicate")}


def test_a_pair_with_two_labels_is_a_conflict():
    question, answer, _ = FILLER[0]
    found = cleaned((question, answer, "no"))
    assert summary(found.dropped) == {"conflicting labels": 2}
    assert found.conflicts[0].labels == ("no", "yes")


def test_a_label_in_the_place_of_a_text_is_refused_with_its_file_and_row():
    with pytest.raises(DataError, match="the pair is in the wrong columns") as caught:
        cleaned(("is it late", "yes", "it left the warehouse"))
    assert "row 1" in caught.value.what
    assert "text_pair reads 'yes'" in caught.value.what
    assert "right columns" in caught.value.fix


def test_a_pair_the_other_way_round_is_dropped_and_named():
    asked = ("where is it", "when does it come", "who brings it")
    known = ("on its way", "on monday", "a driver")
    rows = [
        (a, b, label)
        for a, label in zip(asked, ("yes", "no", "no"), strict=True)
        for b in known[:2]
    ]
    found = cleaned(*rows, (known[0], asked[0], "no"), near_duplicates=False)
    assert told(found) == {(7, "pair in the wrong columns")}
    assert "swap them" in found.dropped[0].detail


def test_a_text_that_truly_stands_on_both_sides_is_no_mistake():
    rows = [("a b c", "d e f", "yes"), ("d e f", "g h i", "no"), ("d e f", "a b c", "no")]
    assert not cleaned(*rows, near_duplicates=False).dropped


def test_one_column_cannot_be_both_texts():
    twice = DATA.model_copy(update={"roles": {**DATA.roles, "text_pair": "question"}})
    with pytest.raises(DataError, match="both name the column 'question'"):
        columns_of(twice, INPUTS)


def test_rows_that_share_a_text_on_whichever_side_are_one_cluster():
    one = ["the first text", "something else entirely", "a third thing", "far from all"]
    other = ["一二三四五", "the FIRST text!", "七八九十百", "一二三四五"]
    assert row_clusters([one, other]).tolist() == [0, 0, 2, 0]
    assert row_clusters([one]).tolist() == [0, 1, 2, 3]


def many(count: int, seed: int = 0):
    """Pairs of a few made-up questions and answers each, so that texts come again."""
    draw = random.Random(seed)
    word = lambda: "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=9))  # noqa: E731
    for _ in range(count // 3):
        asked = [f"{word()} {word()} {word()}" for _ in range(2)]
        known = [f"{word()} {word()} {word()}" for _ in range(2)]
        for a, b in ((0, 0), (0, 1), (1, 1)):
            yield asked[a], known[b], draw.choice(("yes", "no"))


def test_no_text_stands_on_both_sides_of_a_split(tmp_path):
    gathered = gather(
        DATA,
        tmp_path,
        known={},
        columns=columns_of(DATA, INPUTS),
        objects={"train": [table_rows(many(240))]},
    )
    rows = divide(gathered, wanted_test=50, seed=0, known={})
    sides = [set(flat(part.texts)) for part in (rows.train, rows.validation, rows.test)]
    assert len(rows.test) >= 40
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert rows.train.inputs.keys() == set(INPUTS)


def test_documents_of_a_base_may_stand_anywhere_where_the_question_is_the_group(tmp_path):
    draw = random.Random(1)
    word = lambda: "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=9))  # noqa: E731
    base = [f"{word()} {word()}" for _ in range(6)]
    asked = [f"{word()} {word()} {word()}" for _ in range(60)]
    rows = [
        (question, document, "yes" if number == at % 6 else "no")
        for at, question in enumerate(asked)
        for number, document in enumerate(base)
    ]
    data = DATA.model_copy(update={"group": "question"})
    gathered = gather(
        data,
        tmp_path,
        known={},
        columns=columns_of(data, INPUTS),
        objects={"train": [table_rows(rows)]},
    )
    found = divide(gathered, wanted_test=60, seed=0, known={})
    sides = found.train, found.validation, found.test
    assert sum(map(len, sides)) == len(rows)
    assert min(map(len, sides)) >= 30
    questions = [set(side.inputs["text"]) for side in sides]
    assert not questions[0] & questions[1]
    assert not questions[0] & questions[2]
    assert not questions[1] & questions[2]
    assert set(found.test.inputs["text_pair"]) == set(base) == set(found.train.inputs["text_pair"])
    assert found.test.extra["question"] == found.test.inputs["text"]


def table_rows(rows):
    return [{"question": a, "answer": b, "fits": label} for a, b, label in rows]


def test_a_training_row_that_shares_a_text_with_an_official_test_row_is_dropped(tmp_path):
    rows = list(many(60))
    test = [(rows[0][0], "an answer of its own", "yes"), *many(30, seed=5)]
    gathered = gather(
        DATA,
        tmp_path,
        known={},
        columns=columns_of(DATA, INPUTS),
        objects={"train": [table_rows(rows)], "test": [table_rows(test)]},
    )
    divided = divide(gathered, wanted_test=10, seed=0, known={})
    reasons = summary(change for change in divided.changes if change.action == "dropped")
    assert reasons == {"shares a text with a test row": 3}
    assert not leaks(divided.train, divided.test)
    before = gathered.cleaned.frame
    assert len(divided.train) + len(divided.validation) + len(divided.test) == len(before) - 3


def test_a_correction_of_a_pair_finds_its_row_or_becomes_a_new_one():
    table, columns = table_of(FILLER), columns_of(DATA, INPUTS)
    question, answer, _ = FILLER[0]
    corrections = [
        {"text": written((question, answer)), "label": "no"},
        {"text": written(("is it blue", "it is red")), "label": "no"},
        {"text": "one text alone", "label": "no"},
    ]
    found = merge_feedback(table.frame, corrections, columns=columns)
    assert (found.added, len(found.relabelled)) == (1, 1)
    assert found.frame.row(0, named=True)["fits"] == "no"
    last = found.frame.row(-1, named=True)
    assert (last["question"], last["answer"], last["fits"]) == ("is it blue", "it is red", "no")
    assert [change.reason for change in found.refused] == ["incomplete"]


def test_fresh_rows_need_both_texts_and_the_label(tmp_path):
    rows = [{"question": "a", "answer": None, "fits": "yes"}, *table_rows(FILLER)]
    found, dropped = examples_of(rows, DATA, tmp_path, columns_of(DATA, INPUTS))
    assert len(found) == len(FILLER)
    assert [(change.row, change.reason) for change in dropped] == [(1, "empty text_pair")]
    with pytest.raises(DataError, match="All 1 rows were dropped; the first, list, row 1: empty"):
        examples_of(rows[:1], DATA, tmp_path, columns_of(DATA, INPUTS))
