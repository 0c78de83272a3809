"""One half of a user's texts teaches, the other judges, and no text ever changes sides."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from sartor.data.near import near_form
from sartor.listen.by_user import Row, Who
from sartor.search.personal_rows import Halves, halves

ANA = Who("acme", "ana")
TEXTS = st.lists(st.text(st.sampled_from("abc de!"), min_size=1, max_size=12), max_size=12)


def row(text: str, label: str | None = "refund") -> Row:
    return Row(text, 0, text, "refund", label, True, datetime(2026, 1, 1, tzinfo=UTC))


def forms(rows: tuple[Row, ...]) -> set[str]:
    return {near_form(one.text) for one in rows}


def divided(*texts: str, who: Who = ANA) -> Halves:
    return halves([row(text) for text in texts], who)


@given(TEXTS, TEXTS)
def test_a_text_that_judged_judges_whatever_comes_after_it(before: list[str], after: list[str]):
    first, later = divided(*before), divided(*after, *before)
    assert forms(first.held) <= forms(later.held)
    assert not forms(first.held) & forms(later.train)
    assert not forms(later.held) & forms(later.train)


def test_about_half_judges_and_another_user_has_another_half():
    texts = [f"{number:x} {number * 7919:x} {number * 104729:x}" for number in range(400)]
    mine, theirs = divided(*texts), divided(*texts, who=Who("acme", "ben"))
    assert 150 < len(mine.held) < 250
    assert 60 < len(forms(mine.held) & forms(theirs.held)) < 140


def test_a_text_that_nearly_repeats_a_judging_one_teaches_nothing():
    long = "the parcel came late and the box was open and wet on one side number"
    texts = [f"{long} {number}" for number in range(20)]
    found = divided(*texts)
    assert found.held
    assert found.train == ()


def test_of_texts_that_are_alike_the_one_that_was_spoken_on_is_kept():
    rows = [row("It BROKE!", None), row("it broke", "refund"), row("It broke.", "other")]
    found = halves(rows, ANA)
    (kept,) = (*found.train, *found.held)
    assert kept.label == "refund"


def test_spoken_rows_come_first_among_those_that_teach():
    rows = [row(f"{n * 7919:x} {n * 104729:x}", "refund" if n % 3 else None) for n in range(60)]
    labels = [one.label is None for one in halves(rows, ANA).train]
    assert labels == sorted(labels)
    assert any(labels)
