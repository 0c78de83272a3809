"""The base of documents: what is read, and what is refused with file and row."""

import polars as pl
import pytest

from sartor.core.errors import DataError
from sartor.data import documents
from sartor.data.documents import base_of_answers, read_base, survey_base
from sartor.data.prepare import columns_of, divide, gather
from sartor.data.read import read
from sartor.need.model import Data
from sartor.tasks.retrieval.target import Documents, name_of


def base(tmp_path, *lines):
    (tmp_path / "answers.csv").write_text("\n".join(["id,title,text", *lines]) + "\n")
    return read_base(["answers.csv"], tmp_path)


def test_a_title_is_read_before_the_text(tmp_path):
    found = base(tmp_path, "r1,Refunds,Send it back.", "h1,,We open at nine.")
    assert found.words == {"r1": "Refunds\nSend it back.", "h1": "We open at nine."}


@pytest.mark.parametrize(
    ("line", "what", "row"),
    [
        (",,text", "no id", 2),
        ("a2,,", "'a2' is empty", 2),
        ("a1,,other", "'a1' is at answers.csv, row 1 already", 2),
        ("a2,,send  it back", "says the same as 'a1'", 2),
        (f"{'x' * 201},,text", "201 characters", 2),
    ],
)
def test_a_document_that_cannot_be_used_is_named_with_its_row(tmp_path, line, what, row):
    with pytest.raises(DataError) as caught:
        base(tmp_path, "a1,,send it back", line)
    assert what in caught.value.what
    assert f"answers.csv, row {row}" in caught.value.what
    assert caught.value.fix


def test_a_document_that_is_too_long_or_one_too_many_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "MOST_CHARACTERS", 10)
    with pytest.raises(DataError, match="split it"):
        base(tmp_path, "a1,,much too long a text")
    with pytest.raises(DataError, match="split it"):
        base_of_answers(read([{"answer": ["short", "much too long a text"]}], tmp_path), "answer")
    monkeypatch.setattr(documents, "MOST_DOCUMENTS", 1)
    with pytest.raises(DataError, match="2 documents are more than 1"):
        base(tmp_path, "a1,,one", "a2,,two")


def test_a_skill_is_read_where_the_file_names_one(tmp_path):
    (tmp_path / "items.csv").write_text("id,text,skill\na,one, angles \nb,two,\nc,three,powers\n")
    assert read_base(["items.csv"], tmp_path).skills == {"a": "angles", "c": "powers"}
    assert base(tmp_path, "a1,,one").skills == {}


def test_every_fault_is_found_at_once(tmp_path):
    (tmp_path / "a.csv").write_text("id,text\n,one\nb,\nc,three\n")
    found, faults = survey_base(read(["a.csv"], tmp_path))
    assert [fault.row for fault in faults] == [1, 2]
    assert found.words == {"c": "three"}


def test_a_file_without_the_columns_says_which(tmp_path):
    (tmp_path / "a.csv").write_text("name,text\nx,one\n")
    with pytest.raises(DataError, match="'id'"):
        read_base(["a.csv"], tmp_path)


def test_distinct_answers_are_documents_whatever_their_spaces(tmp_path):
    cells = ["Send it back.", " Send  it back. ", None, "", '["One.", "Two."]', "[]"]
    found = base_of_answers(read([{"answer": cells}], tmp_path), "answer")
    assert list(found.words.values()) == ["Send it back.", "One.", "Two."]
    assert name_of("Send it  back.") in found.words


ROLES = {"text": "question", "label": "answer"}


def gathered(tmp_path, rows, ids):
    frame = pl.DataFrame(rows, schema=["question", "answer"], orient="row")
    data = Data(train=["-"], roles=ROLES, labels=ids)
    columns = columns_of(data, ("text",), Documents())
    return gather(data, tmp_path, known={}, columns=columns, objects={"train": [frame]})


def test_a_document_without_a_row_and_one_with_a_single_row_are_no_faults(tmp_path):
    rows = [
        (f"question {'abcdefghij'[i]} number {i * 37}", "once" if i == 0 else "often")
        for i in range(10)
    ]
    found = gathered(tmp_path, rows, ["once", "often", "never"])
    assert len(found.cleaned.frame) == 10
    parts = divide(found, wanted_test=3, seed=0, known={})
    assert {*parts.train.target, *parts.validation.target, *parts.test.target} == {
        ("once",),
        ("often",),
    }
    assert len(parts.test) >= 2


def test_rows_of_one_question_become_one_row_with_all_its_answers(tmp_path):
    rows = [("where is it", "a"), ("where is it", "b"), ("and when", "b"), ("and why", "[]")]
    found = gathered(tmp_path, rows, ["a", "b"])
    assert found.cleaned.frame["answer"].to_list() == ['["a", "b"]', '["b"]', "[]"]
    assert found.cleaned.conflicts == ()
    (change,) = found.cleaned.dropped
    assert change.reason == "repeated text"


def test_a_row_that_names_no_document_is_refused_with_the_near_miss(tmp_path):
    rows = [("where is it", "refund"), ("and when", "hours")]
    with pytest.raises(DataError) as caught:
        gathered(tmp_path, rows, ["refunds", "hours"])
    assert "row 1" in caught.value.what
    assert "'refund'" in caught.value.what
    assert "did you mean 'refunds'?" in caught.value.fix
