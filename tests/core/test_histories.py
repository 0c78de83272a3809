"""Histories as rows hold them, and as numbers."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.columns import Column, TableCode, cell
from sartor.core.histories import LENGTH, NoList, encode_items, mask_of, read_count, read_items
from sartor.core.texts import Cells
from sartor.core.unfit import Unfit

PLACES = {"a": 0, "b": 1, "c": 2}
NAMES = st.lists(st.sampled_from(["a", "b", "c", "unknown"]), max_size=300)


@given(NAMES)
def test_the_newest_known_items_come_first_and_nothing_else(history):
    (row,) = encode_items([history], PLACES)
    known = [PLACES[name] for name in history if name in PLACES][::-1][:LENGTH]
    assert row.tolist() == known + [-1] * (LENGTH - len(known))


@given(NAMES)
def test_a_list_reads_the_same_as_itself_and_as_json(history):
    assert read_items(history) == read_items(json.dumps(history)) == history


@pytest.mark.parametrize("value", ["a7", "{}", {"a": 1}, [["a"]], [True], [""], ["\ud800"], 3])
def test_what_is_no_list_of_ids_is_refused_and_says_what_to_send(value):
    with pytest.raises(NoList) as caught:
        read_items(value)
    assert caught.value.fix
    with pytest.raises(Unfit):
        cell(value, "items")


def test_ids_that_are_numbers_are_their_digits():
    assert read_items([47, 3.0, "x"]) == ["47", "3", "x"]
    assert read_items(None) == read_items("") == []


@pytest.mark.parametrize("value", [0, 101, 2.5, True, "5", None, float("inf"), float("nan")])
def test_a_count_is_a_whole_number_up_to_a_hundred(value):
    with pytest.raises(NoList):
        read_count(value)
    assert read_count(5.0) == 5


def test_the_history_and_what_is_excluded_are_left_out():
    rows = [Cells.of({"history": ["a", "x"], "exclude": ["c"]}), Cells.of({"history": []})]
    assert mask_of(rows, PLACES, repeats=False).tolist() == [[True, False, True], [False] * 3]
    assert mask_of(rows, PLACES, repeats=True).tolist() == [[False, False, True], [False] * 3]


def test_a_code_of_items_says_which_it_does_not_know():
    code = TableCode(columns={"history": Column(kind="items", values=["a", "b"])})
    rows = [Cells.of({"history": ["a", "zebra"]}), Cells.of({"history": ["b"]})]
    assert np.array_equal(code.encode(rows)[:, 0], [0, 1])
    assert code.width == LENGTH
    assert ["'zebra'" in note for row in rows for note in code.outside(row)] == [True]
    again = TableCode.model_validate_json(code.model_dump_json())
    assert again == code
