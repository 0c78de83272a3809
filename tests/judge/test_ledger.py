from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from sartor.core.store import Store
from sartor.core.types import Examples
from sartor.judge.ledger import OVERLOOKED, Ledger, RowSet, criteria_digest
from sartor.judge.verdicts import judge
from tests.judge.rows import criteria, flipped, right_and_wrong, subject


class InMemory:
    def __init__(self) -> None:
        self.kept: list[Mapping[str, Any]] = []
        self.rows: list[Collection[int]] = []

    def looks(self, test_rows: str) -> list[Mapping[str, Any]]:
        return [look for look in self.kept if look["test_rows"] == test_rows]

    def looked_at(self, rows: Collection[int]) -> Mapping[int, int]:
        return Counter(row for seen in self.rows for row in seen if row in rows)

    def add_look(self, look: Mapping[str, Any], rows: Collection[int]) -> bool:
        self.kept.append(look)
        self.rows.append(rows)
        return True


def rows(*numbers: int, question: str = "classify: label", book: str = "") -> RowSet:
    """The rows with these numbers."""
    names = tuple(f"row {number}" for number in numbers)
    return RowSet.of(Examples(names, {"text": names}, names), question, book=book)


def ledger() -> Ledger:
    return Ledger(InMemory(), lambda: datetime(2026, 1, 2, tzinfo=UTC))


NEED = criteria("accuracy >= 0.8")
ROWS = rows(*range(100))


def judging(need):
    return lambda look: judge(need, right_and_wrong(9, 1), look=look)


def test_the_same_bundle_and_criteria_get_the_stored_verdicts_and_spend_nothing():
    book, asked = ledger(), []

    def judged(look):
        asked.append(look)
        return judge(NEED, right_and_wrong(90, 10), look=look)

    first = book.look(ROWS, "bundle", NEED, judged)
    again = book.look(ROWS, "bundle", criteria("size_mb <= 1", "accuracy >= 0.8")[1:], judged)
    assert asked == [1]
    assert again == first
    assert first.verdicts[0].state == "met"
    assert book.remaining(ROWS) == 4


def test_looks_outlive_the_process_in_the_workspace(tmp_path):
    for wanted in ("new", "stored"):
        store = Store.open(tmp_path / "sartor.db")
        asked = []

        def judged(look, asked=asked):
            asked.append(look)
            return judge(NEED, right_and_wrong(90, 10), look=look)

        book = Ledger(store, lambda: datetime(2026, 1, 2, tzinfo=UTC))
        look = book.look(ROWS, "bundle", NEED, judged)
        store.close()
        assert asked == ([1] if wanted == "new" else [])
        assert look.verdicts == tuple(judge(NEED, right_and_wrong(90, 10)))
        assert look.time == datetime(2026, 1, 2, tzinfo=UTC)


def test_another_bundle_or_other_criteria_are_another_look_and_other_rows_are_not():
    book = ledger()
    numbers = [
        book.look(seen, bundle, need, judging(need))
        for seen, bundle, need in [
            (ROWS, "one", NEED),
            (ROWS, "two", NEED),
            (ROWS, "two", criteria("accuracy >= 0.7")),
            (rows(*range(100, 200)), "two", NEED),
        ]
    ]
    assert [look.number for look in numbers] == [1, 2, 3, 1]
    assert book.remaining(ROWS) == 2


def test_the_place_in_the_file_does_not_make_other_criteria():
    moved = criteria("size_mb <= 1", "accuracy >= 0.8")[1:]
    assert criteria_digest(moved) == criteria_digest(NEED)
    assert criteria_digest(NEED) != criteria_digest(criteria("accuracy >= 0.81"))


def test_looking_again_and_again_seldom_gives_a_false_met():
    rng = np.random.default_rng(0)
    truth = np.repeat(["a", "b"], 100)
    fooled, unguarded = [], []
    for _ in range(300):
        book = ledger()
        tries = [subject(list(truth), flipped(truth, 0.8, rng)) for _ in range(8)]
        looks = [
            book.look(ROWS, f"bundle {i}", NEED, lambda m, found=found: judge(NEED, found, look=m))
            for i, found in enumerate(tries)
        ]
        fooled.append(any(look.verdicts[0].state == "met" for look in looks))
        unguarded.append(any(judge(NEED, found)[0].state == "met" for found in tries))
    assert np.mean(fooled) <= 0.06
    assert np.mean(unguarded) > 0.08, "unguarded looks hold too, so the ledger is not tested"


def number_of(book: Ledger, seen: RowSet, bundle: str) -> int:
    return book.look(seen, bundle, NEED, judging(NEED)).number


@pytest.fixture(params=["memory", "store"])
def book(request, tmp_path):
    if request.param == "memory":
        yield ledger()
        return
    with Store.open(tmp_path / "sartor.db") as store:
        yield Ledger(store, lambda: datetime(2026, 1, 2, tzinfo=UTC))


def test_rows_added_taken_away_or_relabelled_do_not_make_a_test_set_fresh(book):
    assert number_of(book, ROWS, "one") == 1
    assert number_of(book, rows(*range(101)), "one") == 2
    assert number_of(book, rows(*range(50)), "one") == 3
    assert number_of(book, rows(*range(50, 130)), "one") == 3, "50 of its rows went through two"
    names = tuple(f"row {number}" for number in range(100))
    corrected = Examples(names, {"text": names}, ("another label", *names[1:]))
    assert number_of(book, RowSet.of(corrected, "classify: label"), "one") == 4


def test_a_tenth_of_seen_rows_is_overlooked_and_one_row_more_is_not(book):
    number_of(book, ROWS, "one")
    assert number_of(book, rows(*range(90, 190)), "one") == 1
    assert number_of(book, rows(*range(89, 100), *range(200, 289)), "one") == 2


def test_two_halves_seen_once_each_were_looked_at_once_together(book):
    number_of(book, rows(*range(50)), "one")
    number_of(book, rows(*range(50, 100)), "one")
    assert number_of(book, ROWS, "one") == 2
    assert book.remaining(ROWS) == 3


def test_another_question_and_another_book_are_counted_apart(book):
    number_of(book, ROWS, "one")
    assert number_of(book, rows(*range(98), question="classify: topic"), "one") == 1
    assert number_of(book, rows(*range(99), book="rival"), "one") == 1
    assert number_of(book, rows(*range(99)), "one") == 2


def test_of_two_processes_that_judge_the_same_the_first_answer_holds(tmp_path):
    with Store.open(tmp_path / "sartor.db") as store:
        book = Ledger(store, lambda: datetime(2026, 1, 2, tzinfo=UTC))

        def slower(look):
            book.look(ROWS, "bundle", NEED, judging(NEED))
            return judge(NEED, right_and_wrong(1, 9), look=look)

        found = book.look(ROWS, "bundle", NEED, slower)
        assert found.verdicts == tuple(judge(NEED, right_and_wrong(9, 1)))
        assert len(store.looks(ROWS.fingerprint)) == 1
        assert set(store.looked_at(ROWS.marks).values()) == {1}


def test_to_overlook_a_tenth_lets_the_best_of_five_err_as_often_as_all_looks_may_and_no_more():
    """The chance of a false "met" for the best of five on the seen rows, the rest being fresh."""
    rows, truth = 300, 0.8

    def met(right):
        return judge(NEED, right_and_wrong(right, rows - right))[0].state == "met"

    least = next(right for right in range(int(truth * rows), rows) if met(right))

    def error(seen):
        right = np.arange(seen + 1)
        best = np.diff(binom.cdf(right, seen, truth) ** 5, prepend=0.0)
        return float(np.sum(best * binom.sf(least - right - 1, rows - seen, truth)))

    assert error(0) < 0.025
    assert error(rows // OVERLOOKED) <= 0.05 < error(2 * rows // OVERLOOKED)
