"""Labelled parts in cells: what is read, what is refused, and where they end up."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.pieces import pieces
from sartor.core.spans import Span
from sartor.data.normalise import normalise_text
from sartor.tasks import Unreadable, read_answer
from sartor.tasks._target.spans import Spans

FORM = Spans()


def usual(text):
    return normalise_text(text)[0]


def refusal(cell, text=None):
    with pytest.raises(Unreadable, match=r"\w") as told:
        FORM.read(cell) if text is None else FORM.read_in(cell, (), text, usual)
    return told.value


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("city", "no list"),
        ("[5]", "no labelled part"),
        ('[{"start": 0, "end": 2}]', "lacks"),
        ('[{"start": 0, "label": "a"}]', "lacks"),
        ('[{"start": "0", "end": 2, "label": "a"}]', "lacks"),
        ("[[0, 2.5, 'a']]", "lacks"),
        ("[[0, 2, ' ']]", "lacks"),
        ("[[0, 2, true]]", "lacks"),
        ("[[2, 2, 'a']]", "from 2 to 2"),
        ("[[-1, 2, 'a']]", "from -1 to 2"),
        ("[[0, 3, 'a'], [2, 5, 'b']]", "'a' from 0 to 3 and 'b' from 2 to 5 overlap"),
        ("[[0, 3, 'a'], [0, 3, 'b']]", "overlap"),
        ("[" * 100_000, "no list"),
        ("__import__('os')", "no list"),
    ],
)
def test_what_is_no_list_of_parts_is_refused(cell, said):
    error = refusal(cell)
    assert said in error.what
    assert error.fix


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ('[[0, 99, "city"]]', "ends behind the text, at 18"),
        ('[[0, 3, "city"]]', "which cuts 'Berlin' in two"),
        ('[[0, 2, "city"]]', "'Be', which cuts 'Berlin' in two"),
        ('[[6, 7, "city"]]', "holds no text"),
        ('[{"start": 7, "end": 9, "label": "city", "text": "京在"}]', "is '在北' and not '京在'"),
        ('[[11, 14, "number"]]', "cuts 'kg' in two"),
    ],
)
def test_parts_that_the_text_has_not_are_refused_with_what_stands_there(cell, said):
    error = refusal(cell, "Berlin 在北京 30kg ok")
    assert said in error.what
    assert error.fix


def test_offsets_in_bytes_or_utf_16_are_caught_by_the_text_beside_them():
    text = "🙂 Paris"
    right = '[{"start": 2, "end": 7, "label": "city", "text": "Paris"}]'
    assert json.loads(FORM.read_in(right, (), text, usual)) == [[2, 7, "city"]]
    for start in (3, 5):
        wrong = json.dumps([{"start": start, "end": start + 5, "label": "c", "text": "Paris"}])
        assert refusal(wrong, text + " " * 9).what


def test_outer_spaces_belong_to_no_part():
    assert json.loads(FORM.read_in('[[2, 7, "city"]]', (), "in Rome ok", usual)) == [[3, 7, "city"]]


@given(st.data())
def test_a_part_holds_the_same_words_once_its_text_has_its_usual_form(data):
    words = st.text(alphabet="ab北京 \t\u200be\u0301.…", min_size=1, max_size=24)
    text = data.draw(words)
    places = pieces(text)
    if not usual(text) or not places:
        return
    first = data.draw(st.integers(0, len(places) - 1))
    last = data.draw(st.integers(first, len(places) - 1))
    start, end = places[first][0], places[last][1]
    try:
        found = FORM.value(FORM.read_in(json.dumps([[start, end, "x"]]), (), text, usual))
    except Unreadable:
        # Only where what it holds goes, or joins its neighbour, once control characters are gone.
        assert "\u200b" in text or "\u0301" in text
        return
    (span,) = found
    if "\u200b\u0301" in text:
        return  # once what parted them goes, the sign joins the letter before it, in a part or not
    assert usual(text)[span.start : span.end] == usual(text[start:end])


def test_other_forms_do_without_the_text():
    from sartor.tasks._target.one_label import OneLabel

    assert read_answer(OneLabel(), " a ", (), "text", usual) == "a"
    assert FORM.value('[[0, 1, "a"]]') == (Span(0, 1, "a"),)
