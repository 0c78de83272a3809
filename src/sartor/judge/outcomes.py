"""Labels and answers as arrays: what every classification metric counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.judge.api import CannotMeasure, Subject
from sartor.judge.statistic import Floats, Ints

_TINY = 1e-15  # A probability of 0 on the true label costs 34.5 nats, not infinity.


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Rows in integer codes.

    Args:
        classes: The model's outputs, then labels that only the rows or the baseline have.
        truth: (rows,), index into `classes`.
        best: (rows,), the forced answer; -1 where it is no class.
        answered: (rows,), False where the model abstained.
    """

    classes: tuple[str, ...]
    truth: Ints
    best: Ints
    answered: NDArray[np.bool_]

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.truth == self.best

    def confusion(self) -> Ints:
        """(classes, classes), rows by true label and forced answer, if that is a class."""
        table = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        known = self.best >= 0
        np.add.at(table, (self.truth[known], self.best[known]), 1)
        return table


def outcomes(subject: Subject, *, baseline: bool = False) -> Outcomes:
    """Read the answers of the model, or those of the baseline.

    Raises:
        CannotMeasure: If the baseline is asked for and there is none, or the rows have no labels.
    """
    truth = [str(label) for label in subject.truth("label")]
    classes = _classes(subject.outputs, truth)
    index = {name: i for i, name in enumerate(classes)}
    if baseline:
        best = [str(answer) for answer in subject.today()]
        answered = np.ones(len(best), dtype=bool)
    else:
        best = [str(answer["best"]) for answer in subject.answers]
        answered = np.array([answer["label"] is not None for answer in subject.answers], dtype=bool)
    return Outcomes(
        classes=classes,
        truth=np.array([index[name] for name in truth], dtype=np.int64),
        best=np.array([index.get(name, -1) for name in best], dtype=np.int64),
        answered=answered,
    )


def probabilities(subject: Subject, metric: str) -> Floats:
    """(rows, outputs), as the model stated them.

    Raises:
        CannotMeasure: If an answer has none.
    """
    table = np.empty((len(subject.answers), len(subject.outputs)))
    for row, answer in enumerate(subject.answers):
        stated = answer.get("probabilities")
        if not isinstance(stated, dict) or not stated:
            raise CannotMeasure(
                f"{metric} needs probabilities, and answer {row + 1:,} has none.",
                fix='add "probabilities" to every answer, or leave this criterion out.',
            )
        table[row] = [stated.get(name, 0.0) for name in subject.outputs]
    return table


def losses(table: Floats, truth: Ints) -> Floats:
    """(rows,), −ln of the probability given to the true label, in nats."""
    rows = np.arange(len(truth))
    known = truth < table.shape[1]
    given = np.where(known, table[rows, np.where(known, truth, 0)], 0.0)
    return -np.log(np.clip(given, _TINY, 1.0))


def _classes(outputs: Sequence[str], truth: Sequence[str]) -> tuple[str, ...]:
    return (*outputs, *sorted(set(truth) - set(outputs)))
