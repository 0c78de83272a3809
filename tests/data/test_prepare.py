import csv
from pathlib import Path

import pytest

from sartor.core.errors import DataError
from sartor.data import prepare
from sartor.need.model import Data
from sartor.tasks._target.label_set import LabelSet
from sartor.tasks._target.number import Number

WORDS = ("apple", "bridge", "cloud", "desert", "engine", "forest", "garden", "harbour", "island")


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def sentence(number: int) -> str:
    return " ".join(WORDS[(number * step + step) % 9] + str(number % 97) for step in range(1, 7))


def rows(first: int, last: int) -> list[tuple[str, str]]:
    return [(sentence(n), "ab"[n % 2]) for n in range(first, last)]


def prepared(root: Path, known: dict[str, str], **more: object) -> prepare.Prepared:
    data = Data.model_validate(
        {"train": "train.csv", "roles": {"text": "text", "label": "label"}, **more}
    )
    gathered = prepare.gather(data, root, known=known)
    return prepare.divide(gathered, wanted_test=20, seed=0, known=known)


def test_a_test_row_that_also_stands_in_the_training_file_stays_in_every_later_run(tmp_path):
    shared = rows(40, 44)
    write(tmp_path / "train.csv", [*rows(0, 30), *shared])
    write(tmp_path / "test.csv", [*shared, *rows(60, 75)])
    first = prepared(tmp_path, {}, test="test.csv")
    second = prepared(tmp_path, dict(first.assignments), test="test.csv")
    assert len(first.test) == 19
    assert second.test.fingerprint() == first.test.fingerprint()
    assert second.train.fingerprint() == first.train.fingerprint()
    assert set(second.test.ids).isdisjoint(second.train.ids)


def test_rows_added_later_leave_the_test_set_as_it_was(tmp_path):
    write(tmp_path / "train.csv", rows(0, 80))
    first = prepared(tmp_path, {})
    write(tmp_path / "train.csv", [*rows(80, 95), *rows(0, 80)])
    second = prepared(tmp_path, dict(first.assignments))
    assert set(first.test.ids) <= set(second.test.ids)
    assert set(first.test.ids).isdisjoint(second.train.ids)


def test_a_split_that_cannot_be_says_what_became_of_the_rows(tmp_path):
    write(tmp_path / "train.csv", [*rows(0, 2), *rows(0, 4) * 12])
    with pytest.raises(DataError, match="96 of 100 rows were dropped before, 96 as: duplicate"):
        prepared(tmp_path, {}, validation="train.csv")


def test_the_test_set_is_as_large_as_asked_within_sensible_shares():
    assert prepare.sizes(1000, 200) == (200, 150)
    assert prepare.sizes(1000, 10) == (150, 150)
    assert prepare.sizes(1000, 9000) == (300, 150)


def test_a_large_test_file_takes_no_rows_from_training(tmp_path):
    write(tmp_path / "train.csv", rows(0, 60))
    write(tmp_path / "test.csv", rows(60, 460))
    found = prepared(tmp_path, {}, test="test.csv")
    assert len(found.test) > 350
    assert 6 <= len(found.validation) <= 12
    assert len(found.train) > 4 * len(found.validation)


def test_fresh_rows_are_read_by_the_labels_that_the_need_declares():
    sets = ["terms, conditions", "price", "terms, conditions; price", "nan", "[]"]
    fresh = [{"text": f"row {i}", "label": cell} for i, cell in enumerate([*sets, "price"])]
    roles = {"text": "text", "label": "label"}
    declared = ["terms, conditions", "price", "nan"]
    data = Data.model_validate({"train": ["-"], "roles": roles, "labels": declared})
    found, dropped = prepare.examples_of(
        [*fresh, fresh[1]], data, Path(), prepare.columns_of(data, target=LabelSet())
    )
    both = ("price", "terms, conditions")
    assert found.target[:5] == (both[1:], both[:1], both, ("nan",), ())
    assert (len(found), dropped) == (7, ()), "what is repeated is judged as often"


def test_fresh_numbers_that_are_missing_are_dropped_and_told():
    cells = ["1.5", "", "  ", "nan", None, "2"]
    fresh = [{"text": f" row  {i}", "label": cell} for i, cell in enumerate(cells)]
    fresh += [{"text": "null", "label": "1"}, {"text": "broken", "label": "2 kg"}]
    data = Data.model_validate({"train": ["-"], "roles": {"text": "text", "label": "label"}})
    columns = prepare.columns_of(data, target=Number())
    found, dropped = prepare.examples_of(fresh[:-1], data, Path(), columns)
    assert (found.target, found.texts) == ((1.5, 2.0), ("row 0", "row 5"))
    assert [(change.row, change.reason) for change in dropped] == [
        *((row, "no label") for row in range(2, 6)),
        (7, "empty text"),
    ]
    with pytest.raises(DataError, match="list, row 8: '2 kg' has something beside"):
        prepare.examples_of(fresh, data, Path(), columns)
    with pytest.raises(DataError, match="All 2 rows were dropped; the first, list, row 1: no"):
        prepare.examples_of(fresh[1:3], data, Path(), columns)
