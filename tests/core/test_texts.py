"""A row is one text or several: what is written of it is read back, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.hashing import text_digest
from sartor.core.texts import (
    Cells,
    cells_of,
    each_part,
    flat,
    length_of,
    named,
    parts_of,
    read_back,
    shown,
    written,
)
from sartor.core.types import Examples

some = st.text(max_size=20)


@given(some, st.lists(some, min_size=2, max_size=4).map(tuple))
def test_what_is_written_is_read_back(one, several):
    assert read_back(written(one), 1) == one
    assert read_back(written(several), len(several)) == several


@pytest.mark.parametrize("found", ["a text", "[1, 2]", '["a"]', '{"a": "b"}', "[" * 9_000, '"ab"'])
def test_what_is_no_pair_is_not_read_as_one(found):
    assert read_back(found, 2) is None


def test_the_rows_of_several_inputs_are_tuples_and_those_of_one_are_its_column():
    texts = ("a", "b")
    assert Examples(("1", "2"), {"text": texts}).texts is texts
    pairs = Examples(("1", "2"), {"text": texts, "text_pair": ("c", "d")})
    assert pairs.texts == (("a", "c"), ("b", "d"))
    assert flat(pairs.texts) == ["a", "c", "b", "d"]
    assert length_of(("ab", "c")) == 3
    assert shown(("ab", "c")) == "ab | c"
    assert parts_of("ab") == ("ab",)


@given(some, some)
def test_two_texts_in_one_sequence_never_share_their_key_with_a_text(one, other):
    assert text_digest((one, other)) != text_digest(written((one, other)))
    assert text_digest((one, other)) != text_digest((one + other, "x"))
    assert (text_digest((one, other)) == text_digest((other, one))) is (one == other)


def test_columns_are_no_words():
    row = ("a note", Cells.of({"age": 3, "why": None}))
    assert flat([row, "b", Cells.of({})]) == ["a note", "b"]
    assert each_part(row, str.upper) == ("A NOTE", row[1])
    assert isinstance(each_part(row[1], str.upper), Cells)
    assert cells_of([row, "b"]) == [row[1]]
    assert named(row, ("text", "age", "why")) == {"text": "a note", "age": 3, "why": None}
    assert named(("a", "b"), ("text", "text_pair")) == {"text": "a", "text_pair": "b"}


def test_columns_come_back_as_columns():
    for text, parts in (((Cells.of({"a": 1})), 1), (("note", Cells.of({"a": 1})), 2)):
        found = read_back(written(text), parts, cells=True)
        assert found == text
        assert isinstance(found if parts == 1 else found[-1], Cells)
    assert read_back("no list", 2, cells=True) is None
