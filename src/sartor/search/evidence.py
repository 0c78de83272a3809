"""The rows by which candidates are joined, and what joining them is worth on rows like these.

Where validation rows are few, the training rows count too, each answered by a fit that did not see
it (see `folds`); candidates without such answers are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sartor.core.likelihood import form
from sartor.core.protocols import Floats
from sartor.core.ragged import under
from sartor.core.types import Candidate
from sartor.search.assess import Held
from sartor.search.folds import FEW, both
from sartor.search.ladder import Assessment, Scored, Tried
from sartor.search.pool import Chooser, Labels, choose_one, cross_fitted, split_in_halves

_SPLITS = 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """Candidates and their logits on the same rows.

    Args:
        models: At least two.
        stack: (models, rows, classes).
        truth: Of the rows; see `core.likelihood` for its forms.
        fold_rows: Of the rows, how many are training rows; they come first.
        held: See `assess.Held`.
    """

    models: tuple[Tried, ...]
    stack: Floats
    truth: Labels
    fold_rows: int
    held: Held

    @staticmethod
    def of(models: Sequence[Tried], held: Held) -> "Evidence | None":
        """None where there is nothing to choose among, or too few rows to choose by."""
        if held.folds is not None:
            models = [t for t in models if t.scored is not None and t.scored.folds is not None]
        scored = [t.scored for t in models if t.scored is not None]
        examples, fold_rows = held.validation, 0
        logits = [s.validation_logits for s in scored]
        by_fold = [s.folds for s in scored if s.folds is not None]
        if held.folds is not None and scored:
            fold_rows, examples = len(held.folds.train), both(held.folds.train, held.validation)
            logits = [under(pair) for pair in zip(by_fold, logits, strict=True)]
        if len(models) < 2 or len(examples) < FEW:
            return None
        truth = held.task.truth(examples, held.outputs)
        return Evidence(tuple(models), np.stack(logits), truth, fold_rows, held)

    def scored(self, logits: Floats, like: Scored | None = None) -> Scored:
        """Logits on all rows as a candidate's; the rest as `like` has it."""
        like = like or Scored(logits, logits, 0.0)
        by_fold = logits[: self.fold_rows] if self.fold_rows else None
        return replace(like, validation_logits=logits[self.fold_rows :], folds=by_fold)

    def assess(self, candidate: Candidate, logits: Floats, chooser: Chooser) -> Assessment:
        """What a rule is worth on rows that had no say in it; the decision rule is of all rows.

        Args:
            candidate: That the rule makes.
            logits: (rows, classes) of the rule that all rows chose.
            chooser: How it was chosen.
        """
        held, rows = self.held, len(self.truth)
        groups = None if self.fold_rows else held.subject(held.validation, ()).groups
        trials = [
            held.assess(candidate, self.scored(cross_fitted(self.stack, self.truth, side, chooser)))
            for side in (split_in_halves(groups or rows, held.seed + i) for i in range(_SPLITS))
        ]
        ships = held.assess(candidate, self.scored(logits))
        return Assessment(
            ships.decision,
            {c: float(np.mean([t.scores[c] for t in trials])) for c in trials[0].scores},
            float(np.mean([t.chance for t in trials])),
            float(np.mean([t.log_loss for t in trials])),
        )

    def single(self) -> Assessment:
        """What choosing the best single candidate is worth on rows that had no say in it.

        The one that was chosen by all rows looks better on them than it is, the more so the more
        there were: what is joined must be held against what choosing alone is worth.
        """
        return self.assess(self.models[0].candidate, self.stack[0], choose_one)

    @property
    def one_label(self) -> bool:
        """Whether each row has one label, so that outputs compete."""
        return form(self.truth) == "label"

    @property
    def train_stack(self) -> Floats:
        """(models, training rows, classes); rows that were not scored are NaN."""
        found = [t.scored.train_logits for t in self.models if t.scored is not None]
        return np.stack(found)
