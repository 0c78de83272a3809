"""Windows cover a context, each with its question, and are one answer together."""

import re
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.pieces import pieces
from sartor.core.windows import LEAD, Room, Window, joined, read_of_two, window_starts

WORD = re.compile(r"\w+|[^\w\s]")


def offsets(text):
    return [match.span() for match in WORD.finditer(text)]


@settings(deadline=None)
@given(st.integers(1, 80), st.integers(1, 30), st.integers(4, 24), st.integers(1, 20))
def test_every_piece_is_in_a_window_and_neighbours_overlap(words, asked, tokens, stride):
    context = " ".join(f"w{chr(97 + i % 26)}" for i in range(words))
    question = " ".join(["what"] * asked)
    found = Room(offsets, tokens, stride, 64).windows(3, question, context)
    places = pieces(context)
    assert {w.row for w in found} == {3}
    covered = [piece for w in found for piece in range(w.first, w.first + w.count)]
    assert set(covered) == set(range(len(places)))
    for window in found:
        said, part = window.texts
        assert question.startswith(said)
        assert context[window.start :].startswith(part)
        assert len(pieces(part)) == window.count
        assert len(offsets(said)) + len(offsets(part)) <= tokens or len(offsets(part)) == 1
        assert len(offsets(part)) >= min(tokens // 2, words)
    room = tokens - len(offsets(found[0].texts[0]))
    for one, other in pairwise(found):
        assert (other.begun, one.goes_on) == (True, True)
        assert one.first + one.count - other.first >= min(1, room // 4)


def test_a_context_of_more_than_the_most_windows_is_read_with_gaps():
    context = "w " * 500
    found = Room(offsets, 20, 99, 4).windows(0, "what", context)
    assert len(found) == 4
    assert (found[0].begun, found[-1].goes_on) == (False, False)
    assert window_starts(500, 19, 14, 4) == [window.first for window in found]


def test_what_fits_is_left_as_it_is():
    (one,) = Room(offsets, 20, 9, 4).windows(0, "what?", " as it is \n")
    assert one.texts == ("what?", " as it is \n")
    assert not one.begun
    assert not one.goes_on


def test_a_row_has_no_answer_as_its_least_sure_window_says():
    def window(row, first, begun, goes_on):
        return Window(row, first, 3, 0, ("", ""), begun, goes_on)

    parts = [window(0, 0, False, True), window(0, 2, True, False), window(1, 0, False, False)]
    logits = [np.full((4, 2), value, np.float32) for value in (1.0, 2.0, 3.0)]
    logits[0][0], logits[1][0] = [5.0, 1.0], [2.0, 1.0]
    found = joined(parts, logits, 2, LEAD)
    assert found.shape == (2, 6, 2)
    assert found[0, 0].tolist() == [2.0, 1.0]
    # Piece 2 is the last of the first window and the first of the second: either end is as near.
    assert found[0, 1:3].tolist() == [[1.0, 1.0]] * 2
    assert found[0, 4:].tolist() == [[2.0, 2.0]] * 2
    assert found[1].tolist() == [[3.0, 3.0]] * 4 + [[0.0, 0.0]] * 2


def test_the_first_token_is_read_for_none_and_the_question_for_nothing():
    # [CLS] a b [SEP] a b [SEP]
    at = [(0, 0), (0, 1), (2, 3), (0, 0), (0, 1), (2, 3), (0, 0)]
    sides = [None, 0, 0, None, 1, 1, None]
    assert read_of_two(at, sides, pieces("a b")) == [1, 0, 0, 0, 1, 1, 0]
