"""Numbers are read as files write them, and nothing is guessed at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.numerals import number_of
from sartor.tasks import Unreadable
from sartor.tasks._target.number import Number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_itself(value):
    form = Number()
    text = form.text(value)
    assert form.value(text) == value
    assert form.read(text) == text


@given(st.integers(-(10**12), 10**12))
def test_commas_between_thousands_and_full_width_digits_change_nothing(value):
    plain = str(value)
    full = plain.translate(str.maketrans("0123456789-", "０１２３４５６７８９－"))
    assert Number().read(f"{value:,}") == Number().read(full) == Number().read(plain)


@pytest.mark.parametrize(
    ("cell", "what", "fix"),
    [
        ("nan", "no finite number", "leave the cell empty"),
        ("-inf", "no finite number", "leave the cell empty"),
        ("1e999", "too large", "larger unit"),
        ("3,5", "comma where no thousands end", "a point"),
        ("12,34", "comma where no thousands end", "a point"),
        ("0,125", "comma where no thousands end", "a point"),
        ("-0,125", "comma where no thousands end", "a point"),
        ("00,125", "comma where no thousands end", "a point"),
        ("0,1250", "comma where no thousands end", "a point"),
        ("12 kg", "beside the number", "the number alone"),
        ("$3", "beside the number", "the number alone"),
        ("85%", "beside the number", "the number alone"),
        ("4/5", "beside the number", "the number alone"),
        ("3分", "beside the number", "the number alone"),
        ("1 234", "beside the number", "the number alone"),
        ("1_000", "beside the number", "the number alone"),
        ("good", "no number", "correct it"),
        ("٣", "no number", "correct it"),
        ("9" * 100, "no number", "correct it"),
    ],
)
def test_what_is_no_number_is_refused_with_a_way_out(cell, what, fix):
    with pytest.raises(Unreadable) as caught:
        Number().read(cell)
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert number_of(cell) is None
