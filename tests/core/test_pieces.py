"""Pieces follow from the text alone, and no reader's character lies in two of them."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sartor.core.pieces import pieces, read_at


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        (" \n", []),
        ("iPhone15在北京, OK", ["iPhone", "15", "在", "北", "京", ",", "OK"]),
        ("U.S. 5bn don't", ["U", ".", "S", ".", "5", "bn", "don", "'", "t"]),
        ("サッカー 서울", ["サ", "ッ", "カ", "ー", "서", "울"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("किताब में", ["किताब", "में"]),
        ("\uff76\uff9e", ["\uff76\uff9e"]),
        ("👨\u200d👩\u200d👧 👍🏽 🇨🇳🇺🇸", ["👨\u200d👩\u200d👧", "👍🏽", "🇨🇳", "🇺🇸"]),
        ("a_b", ["a", "_", "b"]),
    ],
)
def test_a_text_is_parted(text, wanted):
    assert [text[start:end] for start, end in pieces(text)] == wanted


@given(st.text(max_size=40))
@example("a\u0301\u0301b")
@example("\u200d\u200d")
def test_pieces_cover_all_but_spaces_in_order_and_keep_marks_with_their_letter(text):
    found = pieces(text)
    assert all(start < end for start, end in found)
    assert all(one[1] <= other[0] for one, other in pairwise(found))
    covered = {at for start, end in found for at in range(start, end)}
    left = [c for at, c in enumerate(text) if at not in covered]
    assert all(c.isspace() for c in left), left
    for start, _ in found:
        if start and start - 1 in covered:
            assert not unicodedata.category(text[start]).startswith("M")


@given(st.text(alphabet="a1 北京,é", max_size=20), st.text(alphabet="a1 北,", max_size=10))
def test_pieces_of_texts_with_a_space_between_are_those_of_each(one, other):
    shift = len(one) + 1
    both = [*pieces(one), *((a + shift, b + shift) for a, b in pieces(other))]
    assert pieces(f"{one} {other}") == both


def test_a_piece_is_read_at_the_first_token_that_reaches_into_it():
    text = "ab 北京"
    places = pieces(text)
    # [CLS], "a", "##b", one token for both characters, [SEP]
    assert read_at([(0, 0), (0, 1), (1, 2), (3, 5), (0, 0)], places) == [0, 1, 0, 2, 0]
    # What a tokenizer drops is read at what follows; what is cut off is read nowhere.
    assert read_at([(0, 0), (3, 4), (0, 0)], places) == [0, 2, 0]
    # A prefix stands before the text, and its tokens are no piece's.
    assert read_at([(0, 2), (3, 5), (6, 7), (7, 8)], places, 3) == [0, 1, 1, 1]
