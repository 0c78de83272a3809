"""`sartor init` on rows that lack what it looks for."""

import json
from pathlib import Path

import pytest

from sartor.core.errors import DataError
from sartor.data.prepare import columns_of, gather
from sartor.need.file import load_need
from sartor.search.beginning import begin
from sartor.search.judging import roles_of
from sartor.tasks import TASKS
from sartor.tasks._target.label_set import LabelSet


def write(folder: Path, **columns: list[object]) -> str:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "rows.jsonl")


def test_columns_without_a_text_are_a_need_of_columns_alone(tmp_path):
    data = write(tmp_path, age=[*range(40)], kind=["x", "y"] * 20, label=["a", "b"] * 20)
    begin(data, tmp_path / "need.yaml", task="tabular_text")
    need = load_need(tmp_path / "need.yaml", roles_of)
    assert need.data.columns == {"age": "number", "kind": "category"}
    assert need.data.roles == {"label": "label"}


def test_one_row_begins_a_need_that_says_how_little_it_proves(tmp_path):
    data = write(tmp_path, text=["the parcel came late"], label=["refund"])
    said = begin(data, tmp_path / "need.yaml")
    assert any("So few rows can prove nothing" in line for line in said)
    assert load_need(tmp_path / "need.yaml", roles_of).data.roles == {
        "text": "text",
        "label": "label",
    }


@pytest.mark.parametrize("task", sorted({*TASKS.names()} - {"recommendation", "mastery"}))
def test_answers_that_nobody_filled_in_are_no_need(tmp_path, task: str):
    texts = [f"a text of several words, the one of number {n}" for n in range(40)]
    more = {"age": [*range(40)]} if task == "tabular_text" else {}
    data = write(tmp_path, text=texts, **more, label=[""] * 40)
    with pytest.raises(DataError, match=r"rows\.jsonl: ") as caught:
        begin(data, tmp_path / "need.yaml", task=task)
    assert caught.value.fix
    assert not (tmp_path / "need.yaml").exists()


MARKS = {"late": ["1.0", "0.0", ""] * 20, "refund": ["0", "1", "1"] * 20}


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (("topic_late", "topic_refund"), "topic_*"),
        (("late flag", "refund flag"), "* flag"),
        (("topic_late_now", "topic_late_soon"), "topic_late_*"),
        (("is_late", "has_refund"), None),
    ],
)
def test_columns_of_marks_are_proposed_by_what_their_names_share(tmp_path, names, pattern):
    texts = [f"first this, then that, and number {n}" for n in range(60)]
    (tmp_path / "rows.csv").write_text(
        "".join(
            ",".join(f'"{cell}"' for cell in row) + "\n"
            for row in zip(
                ["text", *texts],
                *([name, *cells] for name, cells in zip(names, MARKS.values(), strict=True)),
                ["title", *(f"a title, of {n}" for n in range(60))],
                strict=True,
            )
        )
    )
    said = begin(str(tmp_path / "rows.csv"), tmp_path / "need.yaml", task="multi_label")
    need = load_need(tmp_path / "need.yaml", roles_of)
    assert need.data.roles["text"] == "text"
    assert (need.data.roles["label"] == pattern) == (pattern is not None)
    if pattern:
        assert "2 columns hold a mark each" in "".join(said)
        columns = columns_of(need.data, target=LabelSet())
        found = gather(need.data, tmp_path, known={}, columns=columns).label_counts()
        assert sorted(pattern.replace("*", label) for label in found) == sorted(names)


def test_marks_beside_a_column_that_is_called_label_are_not_the_answers(tmp_path):
    texts = [f"a text of several words, the one of number {n}" for n in range(40)]
    marks = {"is_new": [0, 1] * 20, "is_old": [1, 0] * 20}
    data = write(tmp_path, text=texts, **marks, label=["late", "refund"] * 20)
    begin(data, tmp_path / "need.yaml", task="multi_label")
    assert load_need(tmp_path / "need.yaml", roles_of).data.roles["label"] == "label"
