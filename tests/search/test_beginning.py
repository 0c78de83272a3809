"""`sartor init` on rows that lack what it looks for."""

import json
from pathlib import Path

import pytest

from sartor.core.errors import DataError
from sartor.need.file import load_need
from sartor.search.beginning import begin
from sartor.search.judging import roles_of
from sartor.tasks import TASKS


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
