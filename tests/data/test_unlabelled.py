"""Texts to pretrain on: each once, and none that will be judged."""

from pathlib import Path

import pytest

from sartor.core.errors import DataError
from sartor.data import unlabelled
from sartor.data.unlabelled import read_unlabelled

HELD = ["The kettle arrived broken and nobody at the shop answers my letters."]


def write(path: Path, *texts: str) -> str:
    path.write_text("".join(f"{text}\n" for text in ("text", *texts)))
    return path.name


def read(folder: Path, *texts: str, held: list[str] = HELD, seed: int = 0):
    name = write(folder / "more.csv", *texts)
    return read_unlabelled([name], folder, column="text", held=held, seed=seed)


def test_texts_that_repeat_or_nearly_repeat_a_held_out_row_are_left_out(tmp_path: Path):
    found = read(
        tmp_path,
        "Works as promised.",
        HELD[0],
        "THE KETTLE arrived broken; and nobody at the shop answers my letters!!",
        "The kettle arrived broken and nobody at the shop answers my mail.",
        "My new kettle boils quickly.",
    )
    assert found.texts == ("Works as promised.", "My new kettle boils quickly.")
    assert found.dropped["near a test or validation row"] + found.dropped.get("duplicates", 0) == 3


def test_each_text_is_read_once_normalised_and_empty_ones_not_at_all(tmp_path: Path):
    found = read(tmp_path, "Good  tea", "good tea.", "N/A", '""', "Bad tea", held=[])
    assert found.texts == ("Good tea", "Bad tea")
    assert found.dropped == {"empty": 2, "duplicates": 1}
    assert [s.file for s in found.sources] == ["more.csv"]


def test_of_too_many_texts_a_sample_is_drawn_by_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unlabelled, "MOST_TEXTS", 5)
    texts = [f"Row {i} speaks of {word}" for i, word in enumerate("abcdefghijklmnopqrst")]
    one, other = read(tmp_path, *texts, held=[]), read(tmp_path, *texts, held=[], seed=1)
    assert len(one.texts) == len(other.texts) == 5
    assert one.texts != other.texts
    assert one.texts == read(tmp_path, *texts, held=[]).texts
    assert one.dropped["beyond the largest number"] == 15


def test_a_file_without_the_column_is_refused(tmp_path: Path):
    name = write(tmp_path / "more.csv", "a")
    with pytest.raises(DataError, match="body"):
        read_unlabelled([name], tmp_path, column="body", held=[], seed=0)
