"""Whether a user's own model takes the place of what the user has now; if so, it is written."""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from sartor.bundle.adapter import Adapter
from sartor.core.store import Store
from sartor.core.tables import looks
from sartor.core.types import Examples
from sartor.judge.alpha import WORN
from sartor.judge.ledger import Ledger, RowSet
from sartor.judge.paired import better, fewest, further
from sartor.listen.by_user import Heard, Who
from sartor.need.grammar import parse_criterion
from sartor.need.verdict import Verdict
from sartor.search.personal_model import Model
from sartor.search.personal_own import CALLED, Own
from sartor.search.personal_record import Outcome, Reason
from sartor.search.personal_rows import name_of
from sartor.search.personal_trial import Silence, Trial

_RULE = "accuracy > baseline"
_HIDDEN = 0.1
"""Share of a user's answers that may be unknown before nothing is judged, where silence counts."""


@dataclass(frozen=True, slots=True)
class Releasing:
    """The decision on one user.

    Args:
        store: Keeps the looks.
        model: What all share, and where what users have lies.
        who: The user.
        confidence: That nothing is released which is not better, over all looks.
    """

    store: Store
    model: Model
    who: Who
    confidence: float

    def decide(self, trial: Trial, found: Heard, silence: Silence) -> Outcome:
        """The outcome; what it says is done when this returns.

        Args:
            trial: Of the user's own model.
            found: The rows that it rests on, and how many are not known.
            silence: How the trial counted silent rows.
        """
        outcome = self._outcome(trial)
        if fault := self._unfair(trial, found, silence):
            return self._stay(outcome, trial, *fault)
        rows = self._rows(trial)
        look = WORN + 1 - Ledger(self.store, _now).remaining(rows)
        subject = self.who.book + (trial.own.name if trial.own else "none")
        if not self._seen(rows, subject) and (early := self._too_early(trial, look)):
            reason, why, more = early
            return self._stay(replace(outcome, more=more), trial, reason, why)
        return self._looked(outcome, trial, rows, subject)

    def _looked(self, outcome: Outcome, trial: Trial, rows: RowSet, subject: str) -> Outcome:
        rule = parse_criterion(_RULE, confidence=self.confidence)
        look = Ledger(self.store, _now).look(
            rows,
            subject,
            [rule],
            lambda number: [better(trial.pairs, self.confidence, number, _RULE)],
        )
        (verdict,) = look.verdicts
        outcome = replace(
            outcome, gain=verdict.value, low=verdict.low, high=verdict.high, look=look.number
        )
        own, had = trial.own, self.model.own(self.who)
        called = CALLED[outcome.method or "head"]
        if verdict.state != "met" or own is None:
            more = self._scaled(further(trial.pairs, self.confidence, look.number + 1), trial)
            why = f"a {called} of their own is not shown to be better on {verdict.n} answers."
            return self._stay(replace(outcome, more=more), trial, "not better", why)
        if had is not None and self._gain(had, trial) > verdict.value:
            why = (
                f"a newer {called} is better than the shared model, but not than their"
                f" {CALLED[had.kind]}."
            )
            return self._stay(outcome, trial, "not better", why)
        self.model.release(self.who, self._adapter(own, verdict, look.number))
        why = (
            f"a {called} of their own is better on {verdict.n} answers that it did not learn from."
        )
        return replace(outcome, state="released", reason="better", why=why)

    def _unfair(self, trial: Trial, found: Heard, silence: Silence) -> tuple[Reason, str] | None:
        """Why no number of looks would tell, or there is nothing to look at."""
        hidden, own = found.hidden, trial.own
        if own is not None and own.shared:
            return "same", "nothing that was tried did better than the shared model."
        if silence == "agrees" and hidden > _HIDDEN * (hidden + len(found.rows)):
            return "hidden", (
                f"{hidden} answers to them are without their text, so what a model of their own"
                " would spoil cannot be seen; serve with --store-texts."
            )
        if silence == "agrees" and not any(row.named for row in found.rows):
            return "hidden", (
                "no request named the user, so the answers that they let stand are not known."
            )
        if silence == "nothing" and trial.held and not trial.confirmed:
            return "one-sided", (
                "they only ever corrected, so what a model of their own would spoil cannot be"
                " seen; have answers confirmed too."
            )
        return None

    def _too_early(
        self, trial: Trial, look: int
    ) -> tuple[Reason, str, tuple[int, int] | None] | None:
        """Why a look now would be spent for nothing."""
        differing, n = trial.pairs.differing, len(trial.held)
        if look > WORN:
            return "worn", "the judging rows were looked at too often; it takes others.", None
        lacking = fewest(self.confidence, look) - differing
        if lacking > 0:
            more = self._scaled((lacking, lacking), trial)
            least = f"; at least {more[0]} more corrections would decide" if more else ""
            why = f"{differing} answers tell the two apart, {lacking} too few{least}."
            return "too few", why, more
        before = self._last_rows()
        if n < 2 * before:
            why = f"{n} judging answers, and the last look was at {before}: the next is at twice."
            return "waiting", why, self._scaled_rows(2 * before - n, trial)
        return None

    def _stay(self, outcome: Outcome, trial: Trial, reason: Reason, why: str) -> Outcome:
        """With what the user has, or the shared model where that no longer does better."""
        had = self.model.own(self.who)
        if had is None:
            return replace(outcome, reason=reason, why=why)
        if self._gain(had, trial) < 0:
            self.model.withdraw(self.who)
            why = (
                f"the {CALLED[had.kind]} that they had does worse than the shared model by now; it"
                " was withdrawn."
            )
            return replace(outcome, reason="withdrawn", why=why)
        return replace(outcome, state="kept", reason=reason, why=why)

    def _gain(self, had: Adapter, trial: Trial) -> float:
        """Of what the user has, beside the shared model on the same rows."""
        return trial.beside_shared(had.kind, had.tensors, self.model).gain

    def _outcome(self, trial: Trial) -> Outcome:
        own = trial.own
        return Outcome(
            self.who.tenant,
            self.who.user,
            "shared",
            "same",
            "",
            n=len(trial.held),
            differing=trial.pairs.differing,
            corrections=trial.corrections,
            ask=trial.open,
            method=own and own.kind,
            strength=None if own is None or own.shared else own.strength,
        )

    def _rows(self, trial: Trial) -> RowSet:
        names = tuple(name_of(row) for row, _ in trial.held)
        truth = tuple(label for _, label in trial.held)
        return RowSet.of(Examples(names, {}, truth), "personal", book=self.who.book)

    def _seen(self, rows: RowSet, subject: str) -> bool:
        """Whether this very look was taken before: a call that was killed after it goes on."""
        return any(
            look.bundle == subject for look in Ledger(self.store, _now).history(rows.fingerprint)
        )

    def _last_rows(self) -> int:
        """Rows of the last look at this user; 0 where there was none."""
        theirs = looks.c.bundle.startswith(self.who.book, autoescape=True)
        query = sa.select(looks.c.verdicts).where(theirs).order_by(looks.c.id.desc()).limit(1)
        with self.store.read() as connection:
            found: Any = connection.scalar(query)
        return int(found[0]["n"]) if found else 0

    def _scaled(self, rows: tuple[int, int] | None, trial: Trial) -> tuple[int, int] | None:
        """Further differing rows in corrections, as many of them as it took until now."""
        if rows is None or not trial.pairs.differing or not trial.corrections:
            return None
        each = trial.corrections / trial.pairs.differing
        return math.ceil(rows[0] * each), math.ceil(rows[1] * each)

    def _scaled_rows(self, rows: int, trial: Trial) -> tuple[int, int] | None:
        """Further judging rows in corrections."""
        if not trial.held or not trial.corrections:
            return None
        more = math.ceil(rows * trial.corrections / len(trial.held))
        return more, more

    def _adapter(self, own: Own, verdict: Verdict, look: int) -> Adapter:
        return Adapter(
            base=self.model.bundle.manifest.id,
            kind=own.kind,
            tensors=own.tensors,
            verdict={
                "gain": verdict.value,
                "low": verdict.low,
                "high": verdict.high,
                "n": verdict.n,
                "look": look,
                "confidence": self.confidence,
                "strength": own.strength,
            },
        )


def _now() -> datetime:
    return datetime.now(UTC)
