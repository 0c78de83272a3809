"""Every other format, and Python objects."""

import json
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import polars as pl
import pytest

from sartor.core.errors import DataError
from sartor.data.api import READERS, Limits
from sartor.data.read import read, read_splits
from sartor.data.readers.jsonl import Jsonl
from sartor.data.readers.parquet import Parquet
from sartor.data.readers.xlsx import Xlsx
from sartor.data.table import as_frame, texts_of

ROWS = [{"text": "很好", "label": 1}, {"text": "bad", "label": 2}]


def write_lines(path, lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def write_workbook(path, rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


@pytest.mark.parametrize("name", READERS.names())
def test_every_reader_claims_its_suffixes_and_refuses_an_absent_file(tmp_path, name):
    reader = READERS.get(name)()
    for suffix in reader.suffixes:
        assert reader.claims(tmp_path / f"A{suffix.upper()}")
    assert not reader.claims(tmp_path / "a.unheard")
    for suffix in reader.suffixes:
        with pytest.raises(DataError, match="no such file"):
            reader.read(tmp_path / f"absent{suffix}", limits=Limits())


def test_json_lines_read_and_blank_lines_count(tmp_path):
    write_lines(tmp_path / "a.jsonl", [json.dumps(ROWS[0]), "", json.dumps(ROWS[1])])
    frame = read(["a.jsonl"], tmp_path).frame
    assert frame["text"].to_list() == ["很好", "bad"]
    assert frame["__row__"].to_list() == [1, 3]
    assert texts_of(frame["label"]) == ["1", "2"]


def test_json_values_of_mixed_kinds_become_text(tmp_path):
    lines = ['{"text": "a", "label": true}', '{"text": "b", "label": 2}', '{"text": NaN, "x": [1]}']
    write_lines(tmp_path / "a.jsonl", lines)
    frame = read(["a.jsonl"], tmp_path).frame
    assert frame["label"].to_list() == ["true", "2", None]
    assert frame["text"].to_list() == ["a", "b", None]
    assert frame["x"].to_list() == [None, None, "[1]"]


def test_a_lone_surrogate_is_replaced_not_fatal(tmp_path):
    write_lines(tmp_path / "a.jsonl", ['{"text": "bro\\ud800ken", "label": "\\ud83d\\ude00"}'])
    frame = read(["a.jsonl"], tmp_path).frame
    assert frame["text"][0] == "bro\ufffdken"
    assert frame["label"][0] == "😀"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "line 2, column .*not JSON"),
        ("[1, 2]", "line 2: .*not an object"),
        ('{"text": ' + "[" * 200_000 + "]" * 200_000 + "}", "line 2: .*nested too deep"),
        ('{"text": ' + "1" * 5000 + "}", "line 2: .*number too long"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path, line, message):
    write_lines(tmp_path / "a.jsonl", ['{"text": "fine"}', line])
    with pytest.raises(DataError, match=message):
        read(["a.jsonl"], tmp_path)


def test_a_json_cell_beyond_the_limit_is_refused(tmp_path):
    write_lines(tmp_path / "a.jsonl", [json.dumps({"text": "x" * 50})])
    with pytest.raises(DataError, match="line 1: 'text' has 50 characters"):
        Jsonl().read(tmp_path / "a.jsonl", limits=Limits(cell_characters=10))


def test_parquet_reads_categories_and_lists_as_text(tmp_path):
    frame = pl.DataFrame(
        {
            "text": ["a", "b"],
            "label": pl.Series(["x", "y"], dtype=pl.Categorical),
            "tags": [["p"], ["q", "r"]],
            "score": [1.0, float("nan")],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    found = read(["a.parquet"], tmp_path).frame
    assert found["label"].to_list() == ["x", "y"]
    assert found["tags"].to_list() == ['["p"]', '["q", "r"]']
    assert texts_of(found["score"]) == ["1", None]


def test_a_truncated_parquet_is_refused(tmp_path):
    pl.DataFrame({"text": ["a"] * 100}).write_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a whole parquet file"):
        read(["a.parquet"], tmp_path)


def test_a_parquet_that_unpacks_too_large_is_refused_unread(tmp_path):
    pl.DataFrame({"text": ["same text"] * 100_000}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="100,000 rows"):
        Parquet().read(tmp_path / "a.parquet", limits=Limits(rows=1000))


def test_a_workbook_reads_as_shown(tmp_path):
    write_workbook(tmp_path / "a.xlsx", [["text", "label"], ["好", 1], [None, None], ["bad", 2]])
    frame = read(["a.xlsx"], tmp_path).frame
    assert frame["label"].to_list() == ["1", "2"]
    assert frame["__row__"].to_list() == [1, 3], "blank rows are left out, and still count"


def write_three(path):
    rows = [{"text": f"text {i}", "label": "x"} for i in range(3)]
    if path.suffix == ".xlsx":
        write_workbook(path, [["text", "label"], *(list(r.values()) for r in rows)])
    elif path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif path.suffix == ".jsonl":
        write_lines(path, map(json.dumps, rows))
    else:
        (path / "x").mkdir(parents=True)
        for i, row in enumerate(rows):
            (path / "x" / f"{i}.txt").write_text(row["text"])


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet", "a.jsonl", "folder"])
@pytest.mark.parametrize("limits", [Limits(rows=2), Limits(file_bytes=10)])
def test_every_format_refuses_what_is_beyond_the_limits(tmp_path, name, limits):
    write_three(tmp_path / name)
    assert len(read([name], tmp_path)) == 3
    with pytest.raises(DataError, match=r"limit|more than"):
        read([name], tmp_path, limits=limits)


def test_a_zip_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 5_000_000)
    assert (tmp_path / "a.xlsx").stat().st_size < 10_000
    with pytest.raises(DataError, match="unpacks to more than 1,000,000 bytes"):
        Xlsx().read(tmp_path / "a.xlsx", limits=Limits(unpacked_bytes=1_000_000))


@pytest.mark.parametrize("content", [b"not a zip", b"PK\x03\x04" + bytes(40)])
def test_a_broken_workbook_is_refused(tmp_path, content):
    (tmp_path / "a.xlsx").write_bytes(content)
    with pytest.raises(DataError, match=r"not a whole \.xlsx"):
        read(["a.xlsx"], tmp_path)


def test_a_zip_that_is_no_workbook_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(DataError, match="not a workbook"):
        read(["a.xlsx"], tmp_path)


def test_an_empty_sheet_is_refused(tmp_path):
    write_workbook(tmp_path / "a.xlsx", [["text", "label"]])
    with pytest.raises(DataError, match="no rows"):
        read(["a.xlsx"], tmp_path)


def imdb(root):
    for split in ("train", "test"):
        for label in ("pos", "neg"):
            folder = root / "aclImdb" / split / label
            folder.mkdir(parents=True)
            for i in range(2):
                (folder / f"{i}_9.txt").write_text(f"{split} {label} film {i}")
    (root / "aclImdb" / "train" / "unsup").mkdir()
    (root / "aclImdb" / "train" / "unsup" / "0_0.txt").write_text("nobody labelled this")
    (root / "aclImdb" / "train" / "urls_pos.txt").write_text("http://example.org")
    (root / "aclImdb" / "README").write_text("about")


def test_aclimdb_keeps_its_train_and_test(tmp_path):
    imdb(tmp_path)
    frame = read(["aclImdb"], tmp_path).frame
    counts = frame.group_by("__split__", "label").len().sort("__split__", "label").rows()
    assert counts == [
        ("test", "neg", 2),
        ("test", "pos", 2),
        ("train", "neg", 2),
        ("train", "pos", 2),
    ]
    row = frame.filter(pl.col("text") == "train pos film 1").row(0, named=True)
    assert row["__file__"] == "aclImdb/train/pos/1_9.txt"


def test_a_folder_a_class_reads_without_a_split(tmp_path):
    for label, text in (("好", "很好"), ("差", "很差")):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "1.txt").write_text(text, encoding="utf-8")
    frame = read(["data"], tmp_path).frame
    assert sorted(frame["label"]) == ["好", "差"]
    assert frame["__split__"].to_list() == [None, None]


def test_a_folder_without_texts_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="no text files"):
        read(["data"], tmp_path)


def test_a_binary_file_among_the_texts_is_named(tmp_path):
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "x.txt").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DataError, match=r"x\.txt is binary"):
        read(["data"], tmp_path)


def test_a_saved_dataset_keeps_names_and_splits(tmp_path):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    train = datasets.Dataset.from_dict(
        {"text": ["a", "b", "c"], "label": [0, 1, -1]}, features=features
    )
    test = datasets.Dataset.from_dict({"text": ["d"], "label": [1]}, features=features)
    whole = datasets.DatasetDict({"train": train, "test": test, "unsupervised": test})
    whole.save_to_disk(str(tmp_path / "saved"))
    frame = read(["saved"], tmp_path).frame
    assert frame["label"].to_list() == ["neg", "pos", None, "pos"]
    assert frame["__split__"].to_list() == ["train", "train", "train", "test"]
    assert frame["__row__"].to_list() == [1, 2, 3, 1]


def test_a_saved_dataset_names_the_classes_in_lists(tmp_path):
    import datasets

    names = datasets.ClassLabel(names=["O", "B-LOC", "价格"])
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "tags": datasets.Sequence(names),
            "numbers": datasets.Sequence(datasets.Value("int64")),
        }
    )
    tags = [[1, 0, 2], [], [0, -1], None]
    rows = {"text": list("abcd"), "tags": tags, "numbers": [[0], [], [-1], None]}
    whole = datasets.Dataset.from_dict(rows, features=features)
    whole.save_to_disk(str(tmp_path / "saved"))
    frame = read(["saved"], tmp_path).frame
    assert frame["tags"].to_list() == ['["B-LOC", "O", "价格"]', "[]", None, None]
    assert frame["numbers"].to_list() == ["[0]", "[]", "[-1]", None]


@pytest.mark.parametrize("name", ["../secrets", "a/b/c", "/etc", "", ".hidden"])
def test_a_hub_id_is_never_a_path(tmp_path, name):
    with pytest.raises(DataError, match="no dataset id"):
        read([f"hub:{name}"], tmp_path)


def test_a_damaged_dataset_folder_is_refused(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be loaded"):
        read(["saved"], tmp_path)


OBJECTS = {
    "polars": pl.DataFrame(ROWS),
    "pandas": pd.DataFrame(ROWS),
    "list of dicts": ROWS,
    "pairs": [("很好", 1), ("bad", 2)],
    "columns": {"text": ["很好", "bad"], "label": np.array([1, 2])},
    "floats with NaN": pd.DataFrame({"text": ["很好", "bad"], "label": [1.0, 2.0]}),
    "array": np.array([["很好", "1"], ["bad", "2"]]),
    "structured array": np.array([("很好", 1), ("bad", 2)], dtype=[("text", "U9"), ("label", int)]),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_python_objects_read_alike(tmp_path, kind):
    table = read([OBJECTS[kind]], tmp_path)
    assert table.frame["text"].to_list() == ["很好", "bad"]
    assert texts_of(table.frame["label"]) == ["1", "2"]
    assert table.frame["__row__"].to_list() == [1, 2]
    assert len(table.sources[0].sha256) == 64


def test_pandas_missing_values_are_missing():
    frame = as_frame(pd.DataFrame({"text": ["a", None, float("nan"), pd.NA], "n": [1, 2, 3, None]}))
    assert frame["text"].to_list() == ["a", None, None, None]
    assert texts_of(frame["n"]) == ["1", "2", "3", None]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (7, "type int cannot be read"),
        ({"text": ["a"], "label": []}, "differ in length"),
        ([{"text": "a"}, "b"], "mixes kinds"),
        (np.zeros((2, 3)), r"shape \(2, 3\)"),
        ([], "no rows"),
    ],
)
def test_an_object_that_is_no_table_is_refused(tmp_path, data, message):
    with pytest.raises(DataError, match=message):
        read([data], tmp_path)


def test_official_files_fix_their_rows(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nx,1\n")
    (tmp_path / "b.csv").write_text("text,label\ny,1\n")
    table = read_splits({"train": ["a.csv"], "test": ["b.csv"]}, tmp_path)
    assert table.frame["__split__"].to_list() == [None, "test"]


def test_an_absent_column_names_the_near_miss(tmp_path):
    table = read([ROWS], tmp_path)
    with pytest.raises(DataError, match="'lable'") as caught:
        table.require("text", "lable")
    assert "'label'" in caught.value.fix


def test_files_that_type_a_column_differently_meet_as_text(tmp_path):
    write_lines(tmp_path / "a.jsonl", ['{"text": "x", "label": 1}'])
    (tmp_path / "b.csv").write_text("text,label\ny,two\n")
    frame = read(["a.jsonl", "b.csv"], tmp_path).frame
    assert frame["label"].to_list() == ["1", "two"]
