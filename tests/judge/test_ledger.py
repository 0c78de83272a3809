from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from sartor.core.store import Store
from sartor.judge.ledger import Ledger, criteria_digest
from sartor.judge.verdicts import judge
from tests.judge.rows import criteria, flipped, right_and_wrong, subject


class InMemory:
    def __init__(self) -> None:
        self.kept: list[Mapping[str, Any]] = []

    def looks(self, test_rows: str) -> list[Mapping[str, Any]]:
        return [look for look in self.kept if look["test_rows"] == test_rows]

    def add_look(self, look: Mapping[str, Any]) -> None:
        self.kept.append(look)


def ledger() -> Ledger:
    return Ledger(InMemory(), lambda: datetime(2026, 1, 2, tzinfo=UTC))


NEED = criteria("accuracy >= 0.8")


def judging(need):
    return lambda look: judge(need, right_and_wrong(9, 1), look=look)


def test_the_same_bundle_and_criteria_get_the_stored_verdicts_and_spend_nothing():
    book, asked = ledger(), []

    def judged(look):
        asked.append(look)
        return judge(NEED, right_and_wrong(90, 10), look=look)

    first = book.look("rows", "bundle", NEED, judged)
    again = book.look("rows", "bundle", criteria("size_mb <= 1", "accuracy >= 0.8")[1:], judged)
    assert asked == [1]
    assert again == first
    assert first.verdicts[0].state == "met"
    assert book.remaining("rows") == 4


def test_looks_outlive_the_process_in_the_workspace(tmp_path):
    for wanted in ("new", "stored"):
        store = Store.open(tmp_path / "sartor.db")
        asked = []

        def judged(look, asked=asked):
            asked.append(look)
            return judge(NEED, right_and_wrong(90, 10), look=look)

        book = Ledger(store, lambda: datetime(2026, 1, 2, tzinfo=UTC))
        look = book.look("rows", "bundle", NEED, judged)
        store.close()
        assert asked == ([1] if wanted == "new" else [])
        assert look.verdicts == tuple(judge(NEED, right_and_wrong(90, 10)))
        assert look.time == datetime(2026, 1, 2, tzinfo=UTC)


def test_another_bundle_or_other_criteria_are_another_look_and_other_rows_are_not():
    book = ledger()
    numbers = [
        book.look(rows, bundle, need, judging(need))
        for rows, bundle, need in [
            ("rows", "one", NEED),
            ("rows", "two", NEED),
            ("rows", "two", criteria("accuracy >= 0.7")),
            ("fresh", "two", NEED),
        ]
    ]
    assert [look.number for look in numbers] == [1, 2, 3, 1]
    assert book.remaining("rows") == 2


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
            book.look(
                "rows", f"bundle {i}", NEED, lambda m, found=found: judge(NEED, found, look=m)
            )
            for i, found in enumerate(tries)
        ]
        fooled.append(any(look.verdicts[0].state == "met" for look in looks))
        unguarded.append(any(judge(NEED, found)[0].state == "met" for found in tries))
    assert np.mean(fooled) <= 0.06
    assert np.mean(unguarded) > 0.08, "unguarded looks hold too, so the ledger is not tested"
