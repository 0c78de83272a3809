"""A column of numbers: read, averaged over raters, split over its range, refused by row."""

import numpy as np
import pytest

from sartor.core.errors import DataError
from sartor.data.check import check
from sartor.data.prepare import columns_of, divide, gather
from sartor.data.profile import counted, guess
from sartor.data.read import read
from sartor.need.model import Data
from sartor.tasks._target.number import Number


def gathered(tmp_path, rows, **data):
    path = tmp_path / "rows.csv"
    path.write_text("text,score\n" + "".join(f"{t},{s}\n" for t, s in rows), encoding="utf-8")
    need = Data.model_validate(
        {"train": ["rows.csv"], "roles": {"text": "text", "label": "score"}, **data}
    )
    return gather(need, tmp_path, known={}, columns=columns_of(need, ("text",), Number()))


def varied(count):
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 5000, 8)) for _ in range(count)]
    return [(text, f"{rng.normal():.3f}") for text in texts]


def test_what_several_raters_gave_one_text_is_averaged_and_listed(tmp_path):
    found = gathered(tmp_path, [("same text", 2), ("same text", "3.5"), *varied(30)])
    frame = found.cleaned.frame
    (score,) = frame.filter(frame["text"] == "same text")["score"].to_list()
    assert score == "2.75"
    (changed,) = [c for c in found.cleaned.changed if c.reason == "averaged"]
    assert changed.detail == "2.75 is the mean of 2, 3.5"
    (gone,) = [c for c in found.cleaned.dropped if c.reason == "averaged"]
    assert gone.row == changed.row + 1
    assert not found.cleaned.conflicts


def test_every_part_of_the_range_is_in_every_set(tmp_path):
    found = gathered(tmp_path, varied(300))
    assert sum(found.label_counts().values()) == 300
    assert len(found.label_counts()) == 10
    rows = divide(found, wanted_test=60, seed=0, known={})
    whole = [*rows.train.target, *rows.validation.target, *rows.test.target]
    assert all(isinstance(number, float) for number in whole)
    for part in (rows.train, rows.validation, rows.test):
        low, high = np.quantile(whole, [0.1, 0.9])
        assert min(part.target) < low
        assert max(part.target) > high
        assert np.mean(part.target) == pytest.approx(np.mean(whole), abs=0.15)


@pytest.mark.parametrize(
    ("cell", "word"),
    [("good", "is no number"), ("12 kg", "beside the number"), ("inf", "no finite number")],
)
def test_a_cell_that_is_no_number_is_named_by_its_row(tmp_path, cell, word):
    with pytest.raises(DataError, match=word) as caught:
        gathered(tmp_path, [*varied(10), ("a text", cell)])
    assert "row 11" in caught.value.what


def test_a_missing_number_drops_the_row(tmp_path):
    found = gathered(tmp_path, [*varied(10), ("a text", ""), ("another", "#N/A")])
    assert [c.reason for c in found.cleaned.dropped] == ["no label", "no label"]


def test_one_number_throughout_and_declared_labels_are_refused(tmp_path):
    with pytest.raises(DataError, match="every row has the number 3"):
        gathered(tmp_path, [(text, 3) for text, _ in varied(20)])
    with pytest.raises(DataError, match="predicts a number"):
        gathered(tmp_path, varied(20), labels=["1", "2"])
    need = Data.model_validate(
        {
            "train": ["rows.csv"],
            "roles": {"text": "text", "label": "score"},
            "labels": ["1", "2"],
        }
    )
    columns = columns_of(need, ("text",), Number())
    found = check({"train": ["rows.csv"]}, tmp_path, columns, labels=["1", "2"])
    assert [f.level for f in found if "predicts a number" in f.what] == ["fault"]


def test_the_column_of_numbers_is_guessed_by_its_name_or_by_how_much_it_varies(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [f"{i % 7},{text},{score},{i}" for i, (text, score) in enumerate(varied(60))]
    path.write_text("\n".join(["shop,text,mark,order_id", *rows]))
    frame = read([str(path)], tmp_path).frame
    found = guess(frame.rename({"mark": "score"}), Number())
    assert (found.text, found.label) == ("text", "score")
    counts = counted(frame, "mark", Number())
    assert sum(counts.values()) == 60
