"""Sets of labels, however a file writes them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.errors import DataError
from sartor.data import prepare
from sartor.data.check import check
from sartor.data.feedback import merge_feedback
from sartor.data.read import read
from sartor.data.table import Columns
from sartor.need.model import Data
from sartor.tasks import Unreadable
from sartor.tasks._target.label_set import LabelSet, marked

NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name.strip() == name and name)


@given(st.lists(NAMES, max_size=5))
def test_a_set_as_json_reads_as_itself_in_any_order(names):
    form = LabelSet()
    text = form.read(json.dumps(names, ensure_ascii=False))
    assert text == form.read(json.dumps(names[::-1]))
    assert form.read(text) == text
    assert form.text(form.value(text)) == text


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ('{"refund": true}', "is an object, not a list"),
        ("[refund, late]", "begins as a list and is none"),
        ('["refund", ["late"]]', "which is no label"),
        ('["refund", true]', "which is no label"),
        ('["refund", " "]', "lists an empty label"),
        ("a|b;c", "parts labels with both | and ;"),
        ("x" * 30_000, "30,000 characters long"),
        ("[" * 5_000, "begins as a list and is none"),
        ("[__import__('os').getcwd()]", "begins as a list and is none"),
    ],
)
def test_what_is_no_set_is_refused_with_a_fix(cell, what):
    with pytest.raises(Unreadable) as caught:
        LabelSet().read(cell)
    assert what in caught.value.what
    assert caught.value.fix


def test_a_declared_label_may_hold_a_comma():
    assert LabelSet().read("terms, conditions", ["terms, conditions", "price"]) == (
        '["terms, conditions"]'
    )


def test_declared_labels_that_hold_a_mark_stay_whole_beside_others():
    declared = ["terms, conditions", "price", "食品、饮料", "a|b"]
    for cell in (
        "terms, conditions, price",
        "price，terms, conditions",
        "price; terms, conditions",
    ):
        assert LabelSet().read(cell, declared) == '["price", "terms, conditions"]'
    assert LabelSet().read("食品、饮料、价格", declared) == '["价格", "食品、饮料"]'
    assert LabelSet().read("a|b; price", declared) == '["a|b", "price"]'


@pytest.mark.parametrize(
    "cell", ["退款；物流", "退款、物流", "退款，物流", "退款｜物流", "退款;物流；"]
)
def test_full_width_marks_part_labels(cell):
    assert LabelSet().value(LabelSet().read(cell)) == ("物流", "退款")


def test_one_kind_of_mark_parts_the_cells_of_a_column():
    cells = ["Food, Drinks; Billing", "Food, Drinks", "Billing；Food, Drinks", '["a, b"]', ""]
    form = LabelSet().among(cells)
    read = [form.value(form.read(cell)) for cell in cells[:4]]
    assert read == [("Billing", "Food, Drinks"), ("Food, Drinks",), read[0], ("a, b",)]
    assert LabelSet().among(["a, b", "a，c"]) == LabelSet()
    # Where labels are declared, both ways of writing can be told apart.
    mixed, declared = ["a; b", "a, b", "c, d", "a|b"], ["a", "b", "c, d"]
    form = LabelSet().among(mixed, declared)
    assert [form.value(form.read(c, declared)) for c in mixed[1:]] == [
        ("a", "b"),
        ("c, d",),
        ("a", "b"),
    ]


def test_a_cell_that_contradicts_the_mark_of_its_column_is_told_with_its_row():
    rows = rows_of(*WELL[:5], "late, refund", "invoice", "refund")
    said = (
        "list, row 6: 'late, refund' is one label or several: ; parts those of other cells, such as"
        " 'late; refund'"
    )
    with pytest.raises(DataError, match=said) as caught:
        gathered(rows)
    assert "with ; between the labels" in caught.value.fix
    found = check({"train": [rows]}, None, Columns("text", "topics", target=LabelSet()))  # type: ignore
    assert [f.row for f in found if f.level == "fault"] == [6]


def test_a_column_with_a_comma_in_a_label_is_read_alike_in_every_cell():
    rows = rows_of("a, b; c", "a, b", "c", "a, b; c", "c", "a, b", "[]", "c")
    assert gathered(rows).label_counts() == {"c": 5, "a, b": 4}
    same = merge_feedback(
        read([rows], Path()).frame,
        [{"text": "money back please 1", "label": '["a, b"]'}],
        columns=Columns("text", "topics", target=LabelSet()),
    )
    assert not same.relabelled, "the correction says what the cell says"


def test_fresh_cells_are_parted_by_the_labels_that_a_bundle_knows():
    rows, found = rows_of("a, b", "c", "a, b"), data(label="topics")
    columns = prepare.columns_of(found, target=LabelSet())
    fresh, _ = prepare.examples_of(rows, found, Path(), columns, ["a, b", "c"])
    assert fresh.target == (("a, b",), ("c",), ("a, b",))


def test_a_pattern_names_the_columns_that_it_fits():
    form, names = LabelSet(), ["text", "is_late", "is_refund", "is_"]
    assert form.columns("is_*", names) == {"is_late": "late", "is_refund": "refund"}
    assert form.columns("text", names) == {}
    assert form.columns("is_*", [*names, "is_*"]) == {}


@pytest.mark.parametrize("cell", ["1", "1.0", "true", "YES", "x", " 1 "])
def test_a_mark_says_yes(cell):
    assert marked(cell)


def rows_of(*answers, column="topics"):
    texts = ("the parcel is late again", "money back please", "where is my invoice", "all is well")
    extra = ("a reply never came", "the second half is missing", "wrong address on it", "thank you")
    return [
        {"text": f"{text} {i}", column: answer}
        for i, (text, answer) in enumerate(zip([*texts, *extra], answers, strict=False))
    ]


def data(**roles):
    return Data.model_validate({"train": ["rows"], "roles": {"text": "text", **roles}})


WELL = ("late", "refund", "invoice", "[]", "late; refund", "late", "invoice", "refund")


def gathered(rows, label="topics"):
    objects = {"train": [rows]}
    found = data(label=label)
    columns = prepare.columns_of(found, target=LabelSet())
    return prepare.gather(found, Path(), known={}, columns=columns, objects=objects)


def test_sets_are_read_and_counted_label_by_label():
    found = gathered(rows_of(*WELL))
    assert found.label_counts() == {"late": 3, "refund": 3, "invoice": 2}
    assert len(found.cleaned.frame) == 8


def test_columns_of_marks_become_sets():
    rows = [
        {"text": row["text"], "is_late": int("late" in row["topics"]), "is_other": i % 2}
        for i, row in enumerate(rows_of(*WELL))
    ]
    found = gathered(rows, label="is_*")
    assert found.label_counts() == {"other": 4, "late": 3}
    assert found.cleaned.frame["is_*"].to_list()[0] == '["late"]'


def test_a_bad_mark_is_told_with_its_row_and_a_fix():
    rows = [{"text": row["text"], "is_late": 1, "is_other": "maybe"} for row in rows_of(*WELL)]
    with pytest.raises(DataError, match=r"list, row 1: column 'is_other': 'maybe' is neither 0"):
        gathered(rows, label="is_*")
    found = check({"train": [rows]}, None, Columns("text", "is_*", target=LabelSet()))  # type: ignore
    assert [(f.file, f.row) for f in found if f.level == "fault"] == [
        ("list", row) for row in range(1, 9)
    ]


def test_a_bad_cell_is_told_with_its_row_and_a_fix():
    rows = rows_of(*WELL[:6], '{"late": 1}', "a|b;c")
    with pytest.raises(DataError, match=r"list, row 7: .* is an object, not a list") as caught:
        gathered(rows)
    assert "JSON list" in caught.value.fix
    found = check({"train": [rows]}, None, Columns("text", "topics", target=LabelSet()))  # type: ignore
    faults = {(f.row, f.fix) for f in found if f.level == "fault"}
    assert {row for row, _ in faults} >= {7, 8}
    assert all(fix for _, fix in faults)


def test_an_empty_cell_is_a_missing_answer_and_an_empty_list_is_none_of_them():
    rows = rows_of(*WELL[:7], "")
    found = gathered(rows)
    assert [(c.row, c.reason) for c in found.cleaned.dropped] == [(8, "no label")]
    assert "[]" in found.cleaned.frame["topics"].to_list()


def test_an_undeclared_label_in_a_set_is_named():
    rows = read([rows_of(*WELL)], None)  # type: ignore[arg-type]
    from sartor.data.clean import clean

    columns = Columns("text", "topics", target=LabelSet())
    with pytest.raises(DataError, match="label 'invoice' occurs 2 times and is not in the need's"):
        clean(rows, columns, labels=["late", "refund"])
