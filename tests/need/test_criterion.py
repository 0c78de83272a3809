"""Which rows a slice holds, and which label a criterion names."""

import datetime

import pytest

from sartor.need.criterion import Compare
from sartor.need.grammar import parse_criterion


def holds(condition: str, **row: object) -> bool:
    where = parse_criterion(f"accuracy[where: {condition}] > 0").where
    assert where is not None
    return where.holds(row)


@pytest.mark.parametrize(
    ("condition", "found", "expected"),
    [
        ("x == zh", "zh", True),
        ("x == zh", "en", False),
        ("x != zh", "en", True),
        ("x > 30", 31, True),
        ("x > 30", "31", True),
        ("x > 30", "4", False),
        ("x == 30", "30.0", True),
        ("x == 30", 30.0, True),
        ("x in (1, 2)", "2", True),
        ("x not in (zh, en)", "fr", True),
        ('x >= "2024-01-31"', "2024-02-01", True),
        ('x >= "2024-01-31"', datetime.date(2024, 1, 30), False),
        ('x == "2024"', 2024, True),
        ("x == true", True, True),
        ("x == True", False, False),
        ("x == 1", True, True),
        ("x == nan", "nan", True),
        ("x == infinity", "Infinity", False),
        ('x == "007"', "7", False),
        ('x == "007"', "007", True),
        ("x == 1000", "1_000", False),
        ("x > 5", 10**400, False),
    ],
)
def test_a_value_is_compared_as_what_the_criterion_says_it_is(condition, found, expected):
    assert holds(condition, x=found) is expected


@pytest.mark.parametrize("sign", [">", "<", ">=", "<=", "=="])
def test_a_word_among_numbers_satisfies_no_comparison_with_a_number(sign):
    assert not holds(f"age {sign} 30", age="n/a")
    assert holds("age != 30", age="n/a")


def test_an_absent_value_satisfies_only_not_equal():
    assert not holds("x == zh", y=1)
    assert not holds("x < 3", x=None)
    assert holds("x != zh", x=None)
    assert holds("x not in (zh, en)", y=1)


def test_not_and_or_combine_like_logic():
    text = "not (a == 1 or b == 1) and c in (1, 2)"
    assert holds(text, a=0, b=0, c=2)
    assert not holds(text, a=0, b=1, c=2)
    assert not holds(text, a=0, b=0, c=3)


def test_the_columns_of_a_condition_are_all_it_reads():
    where = parse_criterion("accuracy[where: not (a == 1 or b in (1)) and c > 2] > 0").where
    assert where is not None
    assert where.columns() == {"a", "b", "c"}
    assert Compare("x", "==", 1.0).columns() == {"x"}


@pytest.mark.parametrize(
    ("written", "outputs", "label"),
    [
        ("1", ["1", "5"], "1"),
        ("1", ["1.0", "5.0"], "1.0"),
        ('"1"', ["1.0", "5.0"], "1"),
        ("refund", ["refund", "other"], "refund"),
        ("0.5", ["0.5", "1"], "0.5"),
    ],
)
def test_a_bare_number_names_the_label_that_is_spelt_so(written, outputs, label):
    assert parse_criterion(f"recall[label={written}] > 0").label(outputs) == label


def test_a_criterion_without_a_label_names_none():
    assert parse_criterion("accuracy > 0").label(["a"]) is None
    assert parse_criterion("x[label >= 3] > 0").label(["a"]) is None


@pytest.mark.parametrize(("sign", "more"), [(">=", True), (">", True), ("<=", False), ("<", False)])
def test_the_comparison_says_whether_more_is_better(sign, more):
    assert parse_criterion(f"accuracy {sign} 0.5").wants_more is more
