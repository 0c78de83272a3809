"""Who looked at which test rows, when, and what they saw.

Every look at a test set spends some of the error that all looks together may make (see `alpha`).
The same bundle under the same criteria on the same rows is no new look: it gets the stored verdicts
back. What is a further look is decided row by row, so that a test set with rows added or taken
away is still the one that was looked at:

    number = 1 + the largest k such that more than a tenth of the rows went through k looks before

Choosing the best of five bundles on that tenth, and judging it on the rest as if all were fresh,
doubles the error of a first look (2.5 % one-sided to 5 %), which is what all looks may spend.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from sartor.core.hashing import digest, mark
from sartor.core.types import Examples
from sartor.judge.alpha import WORN
from sartor.need.criterion import Criterion
from sartor.need.verdict import Verdict

OVERLOOKED = 10
"""One row in so many may have been seen more often than the number of a look says."""


@dataclass(frozen=True, slots=True)
class RowSet:
    """The test rows of a look.

    Args:
        fingerprint: Exactly these rows and answers.
        marks: One a row, equal wherever the same question is asked of the same input: a label
            that was corrected does not make a row fresh.
    """

    fingerprint: str
    marks: frozenset[int]

    @staticmethod
    def of(examples: Examples, question: str, *, book: str = "") -> "RowSet":
        """
        Args:
            examples: The test rows.
            question: What their answers are, e.g. task and label column: another question about
                the same texts is another test set.
            book: Looks of one book are counted apart from those of all others.
        """
        rows = examples.fingerprint()
        return RowSet(
            digest(rows, book) if book else rows,
            frozenset(mark(book, question, name) for name in examples.ids),
        )


@dataclass(frozen=True, slots=True)
class Look:
    """One look.

    Args:
        test_rows: `RowSet.fingerprint`.
        bundle: Content hash of what was judged.
        criteria: From `criteria_digest`.
        number: Which different look at these rows it was, from 1.
        verdicts: As they were given.
        time: Aware.
    """

    test_rows: str
    bundle: str
    criteria: str
    number: int
    verdicts: tuple[Verdict, ...]
    time: datetime


class Looks(Protocol):
    """Where looks are kept: `core.store.Store` is one."""

    def looks(self, test_rows: str) -> Sequence[Mapping[str, Any]]:
        """All looks at exactly these rows, oldest first: bundle, criteria, verdicts (JSON), time,
        and number, which is None where the look's rows are not kept."""
        ...

    def looked_at(self, rows: Collection[int]) -> Mapping[int, int]:
        """How many looks each row has been through, for those that have."""
        ...

    def add_look(self, look: Mapping[str, Any], rows: Collection[int]) -> bool:
        """False if the same test rows, bundle and criteria are kept already."""
        ...


@dataclass(frozen=True, slots=True)
class Ledger:
    """Gives out looks.

    Args:
        kept: The store.
        now: The time, aware.
    """

    kept: Looks
    now: Callable[[], datetime]

    def look(
        self,
        rows: RowSet,
        bundle: str,
        criteria: Sequence[Criterion],
        judge: Callable[[int], Sequence[Verdict]],
    ) -> Look:
        """The verdicts of a bundle on test rows: the stored ones, or new ones, which are stored.

        Args:
            rows: The test rows.
            bundle: Content hash of what is judged.
            criteria: What it is judged by.
            judge: Takes the number of the look; called only for a new one.
        """
        wanted = criteria_digest(criteria)
        if (stored := self._stored(rows, bundle, wanted)) is not None:
            return stored
        number = self._number(rows)
        verdicts = tuple(judge(number))
        look = Look(rows.fingerprint, bundle, wanted, number, verdicts, self.now())
        added = self.kept.add_look(
            {
                "test_rows": look.test_rows,
                "bundle": look.bundle,
                "criteria": look.criteria,
                "verdicts": [verdict.as_json() for verdict in verdicts],
                "time": look.time,
                "number": number,
            },
            rows.marks,
        )
        if added:
            return look
        # Another process stored the same look while this one judged: the first answer holds.
        return self._stored(rows, bundle, wanted) or look

    def history(self, test_rows: str) -> list[Look]:
        """All looks at exactly these rows, oldest first."""
        return [
            Look(
                test_rows=test_rows,
                bundle=kept["bundle"],
                criteria=kept["criteria"],
                number=kept["number"] or place,
                verdicts=tuple(Verdict.of_json(verdict) for verdict in kept["verdicts"]),
                time=kept["time"],
            )
            for place, kept in enumerate(self.kept.looks(test_rows), start=1)
        ]

    def remaining(self, rows: RowSet) -> int:
        """Different looks left before the test set is worn."""
        return max(0, WORN + 1 - self._number(rows))

    def _stored(self, rows: RowSet, bundle: str, criteria: str) -> Look | None:
        for look in self.history(rows.fingerprint):
            if (look.bundle, look.criteria) == (bundle, criteria):
                return look
        return None

    def _number(self, rows: RowSet) -> int:
        """Which look at these rows the next different one is, from 1."""
        seen = self.kept.looked_at(rows.marks)
        bare = sum(kept["number"] is None for kept in self.kept.looks(rows.fingerprint))
        counts = sorted((seen.get(row, 0) for row in rows.marks), reverse=True)
        return 1 + bare + (counts[len(counts) // OVERLOOKED] if counts else 0)


def criteria_digest(criteria: Sequence[Criterion]) -> str:
    """Content hash; where in the file a criterion stands does not count."""
    return digest([replace(criterion, line=0) for criterion in criteria])
