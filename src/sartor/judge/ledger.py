"""Who looked at which test rows, when, and what they saw.

Every look at a test set spends some of the error that all looks together may make (see `alpha`).
The same bundle under the same criteria is no new look: it gets the stored verdicts back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from sartor.core.hashing import digest
from sartor.judge.alpha import WORN
from sartor.need.criterion import Criterion
from sartor.need.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Look:
    """One look.

    Args:
        test_rows: `Examples.fingerprint()` of the rows.
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
        """All looks at these rows, oldest first: bundle, criteria, verdicts (JSON), time."""
        ...

    def add_look(self, look: Mapping[str, Any]) -> None: ...


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
        test_rows: str,
        bundle: str,
        criteria: Sequence[Criterion],
        judge: Callable[[int], Sequence[Verdict]],
    ) -> Look:
        """The verdicts of a bundle on test rows: the stored ones, or new ones, which are stored.

        Args:
            test_rows: `Examples.fingerprint()` of the rows.
            bundle: Content hash of what is judged.
            criteria: What it is judged by.
            judge: Takes the number of the look; called only for a new one.
        """
        earlier = self.history(test_rows)
        wanted = criteria_digest(criteria)
        for look in earlier:
            if (look.bundle, look.criteria) == (bundle, wanted):
                return look
        number = len(earlier) + 1
        verdicts = tuple(judge(number))
        look = Look(test_rows, bundle, wanted, number, verdicts, self.now())
        self.kept.add_look(
            {
                "test_rows": look.test_rows,
                "bundle": look.bundle,
                "criteria": look.criteria,
                "verdicts": [verdict.as_json() for verdict in verdicts],
                "time": look.time,
            }
        )
        return look

    def history(self, test_rows: str) -> list[Look]:
        """All looks at these rows, oldest first."""
        return [
            Look(
                test_rows=test_rows,
                bundle=kept["bundle"],
                criteria=kept["criteria"],
                number=number,
                verdicts=tuple(Verdict.of_json(verdict) for verdict in kept["verdicts"]),
                time=kept["time"],
            )
            for number, kept in enumerate(self.kept.looks(test_rows), start=1)
        ]

    def remaining(self, test_rows: str) -> int:
        """Different looks left before the test set is worn."""
        return max(0, WORN - len(self.kept.looks(test_rows)))


def criteria_digest(criteria: Sequence[Criterion]) -> str:
    """Content hash; where in the file a criterion stands does not count."""
    return digest([replace(criterion, line=0) for criterion in criteria])
