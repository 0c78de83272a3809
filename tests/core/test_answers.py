"""Histories of answers: how they are read, and what becomes of them as numbers."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.bundle import Preprocess
from sartor.core.columns import Column, TableCode, Unfit, cell
from sartor.core.histories import (
    LENGTH,
    NoList,
    encode_answers,
    left_out,
    options_for,
    read_answers,
    read_asked,
    read_share,
    read_skill,
)
from sartor.core.texts import Cells

PLACES = {"a": 0, "b": 1, "c": 2}
SKILLS = ("x", "y", "x")
ANSWERS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "?"]), st.integers(0, 1)), max_size=9)


@given(ANSWERS)
def test_a_history_becomes_places_with_a_mark_and_what_came_before(history):
    (row,) = encode_answers([history], PLACES, SKILLS)
    known = [(name, mark) for name, mark in history if name in PLACES]
    for at, (name, mark) in enumerate(reversed(known)):
        assert row[at] == 2 * PLACES[name] + mark
        skill = SKILLS[PLACES[name]]
        before = known[: len(known) - 1 - at]
        assert row[LENGTH + at] == sum(SKILLS[PLACES[n]] == skill for n, _ in before)
    assert (row[len(known) : LENGTH] == -1).all()


def test_the_newest_answers_are_read_and_all_are_of_one_skill_where_none_is_named():
    history = [["a", 1]] * 5 + [["b", 0]] * LENGTH
    (row,) = encode_answers([history], PLACES)
    assert (row[:LENGTH] == 2).all()
    assert row[LENGTH] == LENGTH - 1
    assert (encode_answers([None], PLACES)[0] == -1).all()


@given(ANSWERS)
def test_answers_are_read_as_objects_as_pairs_and_as_json(history):
    objects = [{"item": name, "correct": bool(mark)} for name, mark in history]
    wanted = [[name, mark] for name, mark in history]
    assert read_answers(objects) == read_answers(history) == wanted
    assert read_answers(json.dumps(objects)) == wanted
    assert cell(cell(objects, "answers"), "answers") == wanted


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a7", "not a list of answers"),
        ({"item": "a"}, "not a list of answers"),
        (["a"], "at place 0, not an answer"),
        ([["a", 2]], "correct = 2 at place 0"),
        ([["a", "1"]], "correct = '1' at place 0"),
        ([{"item": "a"}], "has the keys item at place 0"),
        ([{"item": "a", "correct": True, "time": 3}], "has the keys item, correct, time"),
        ([["a", 1], ["", 0]], "an id of 0 characters"),
        ([[True, 1]], "not an id"),
        ([["a", 1]] * 10_001, "10,001 answers"),
    ],
)
def test_what_is_no_history_of_answers_is_told(value, words):
    with pytest.raises(NoList) as caught:
        read_answers(value)
    assert words in caught.value.what
    assert caught.value.fix
    with pytest.raises(Unfit):
        cell(value, "answers")


def test_what_is_asked_may_be_one_id_several_or_none():
    assert read_asked("a") == read_asked(["a"]) == read_asked('["a"]') == ["a"]
    assert read_asked(7) == ["7"]
    assert read_asked(None) == read_asked(" ") == read_asked([]) == []
    assert (read_skill("x"), read_skill(None), read_skill("")) == ("x", None, None)
    assert read_share(0.5) == 0.5
    for wrong in (0, 1, "0.5", True, float("nan")):
        with pytest.raises(NoList, match="is"):
            read_share(wrong)


def test_a_code_of_answers_tells_strangers_and_needs_format_5():
    column = Column(kind="answers", values=["a", "b", "c"], skills=list(SKILLS))
    code = TableCode(columns={"history": column})
    assert code.width == 2 * LENGTH
    row = Cells.of({"history": [["a", 1], ["gone", 0]]})
    assert "'gone'" in code.outside(row)[0]
    assert code.encode([code.typical()])[0, 0] == 1
    assert Preprocess(columns=code).format == 5
    assert TableCode.model_validate(code.model_dump()) == code
    # What knows no skills reads columns as it always did.
    plain = Column(kind="items", values=["a"])
    assert "skills" not in plain.model_dump()
    assert np.array_equal(
        Column(kind="answers", values=["a"]).encode([[["a", 0]]])[0, :2], [0.0, -1.0]
    )


def test_only_what_asks_may_be_left_out():
    inputs = {"history": "answers", "item": "item", "skill": "skill"}
    assert left_out(inputs) == {"item": None, "skill": None}
    assert options_for(inputs) == ["aim", "mastered_at"]
    assert options_for({"history": "items"}) == ["exclude", "k"]
    assert left_out({"text": "text"}) == {}
