"""Rows whose answers are written: nothing is a label, and a text may have several."""

import polars as pl

from sartor.core.replies import Reply
from sartor.data.clean import clean
from sartor.data.examples import to_examples
from sartor.data.profile import counted, guess
from sartor.data.read import read
from sartor.data.table import Columns
from sartor.tasks._target.reply import FreeText

COLUMNS = Columns("question", "reply", target=FreeText())


def cleaned(tmp_path, rows):
    (tmp_path / "a.csv").write_text(
        "".join(f"{q},{r}\n" for q, r in [("question", "reply"), *rows])
    )
    return clean(read(["a.csv"], tmp_path), COLUMNS)


def test_every_reply_may_occur_once(tmp_path):
    found = cleaned(tmp_path, [(f"what is {i * 37}", f"it is {i}") for i in range(5)])
    assert len(found.frame) == 5
    assert not found.changes
    examples = to_examples(found.frame, {"text": "question"}, "reply", FreeText())
    assert examples.target[1] == Reply("it is 1")


def test_a_text_keeps_its_first_reply(tmp_path):
    rows = [("where", "here"), ("where", "there"), ("where", "here"), ("why", "so"), ("when", "")]
    found = cleaned(tmp_path, rows)
    assert found.frame["reply"].to_list() == ["here", "so"]
    assert [change.reason for change in found.dropped] == ["no label", "another reply", "duplicate"]
    assert "row 1" in found.dropped[1].detail
    assert not found.conflicts


def test_columns_are_guessed_by_name_else_by_order():
    texts = [f"a text of some length, the {i}th of its kind" for i in range(30)]
    other = [f"and what was said to it, by person {i}" for i in range(30)]
    named = guess(pl.DataFrame({"answer": other, "prompt": texts}), FreeText())
    assert (named.text, named.label) == ("prompt", "answer")
    ordered = guess(pl.DataFrame({"one": texts, "two": other}), FreeText())
    assert (ordered.text, ordered.label) == ("one", "two")
    alone = guess(pl.DataFrame({"one": texts}), FreeText())
    assert alone.label is None
    assert counted(pl.DataFrame({"two": other}), "two", FreeText()) == {}
