"""Of which class further labels are worth most.

Half of a class's training rows are left out and a head is fitted without them: what the criterion
loses on validation rows, for each row that went, is what such rows were worth. The class is named
only where each of two halves is shown to be missed, since among several classes one seems so by
chance.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sartor.core.types import Examples
from sartor.judge.alpha import two_sided
from sartor.judge.intervals import interval
from sartor.judge.statistic import Statistic, difference
from sartor.judge.verdicts import RowsBehind
from sartor.need.criterion import Criterion
from sartor.search.assess import NAMED, Held
from sartor.search.forecast import Head, rows_behind

_MOST_CLASSES = 8
"""That are asked about: those that most validation rows are wrong of; two fits each."""
_HALVES = 2
_LEAST_ROWS = 16
"""Of a class, so that a half of it is something to learn from."""
_CONFIDENCE = 0.8


def dearest(criterion: Criterion, held: Held, train: Examples, head: Head, *, seed: int = 0) -> str:
    """The class whose training rows are worth most to a criterion; "" where none stands out.

    Args:
        criterion: On all classes.
        held: Validation rows.
        train: Training rows.
        head: Fits one on some of them.
        seed: Of the halves.
    """
    if held.task.roles.target_kind not in NAMED:
        return ""
    logits = head(range(len(train)))
    whole = rows_behind(criterion, held, logits)
    if whole is None:
        return ""
    rng = np.random.default_rng(seed)
    worth: dict[str, float] = {}
    for label in _asked(train, held, [held.outputs[i] for i in logits.argmax(1)]):
        rows = np.array([i for i, t in enumerate(train.target) if t == label])
        lost: list[float] = []
        for _ in range(_HALVES):
            out = set(rng.permutation(rows)[: len(rows) // 2].tolist())
            less = rows_behind(
                criterion, held, head([i for i in range(len(train)) if i not in out])
            )
            if less is None or not _shown(criterion, whole, less, held.seed):
                break
            lost.append(abs(_change(whole, less).observed) / len(out))
        if len(lost) == _HALVES:
            worth[label] = sum(lost) / _HALVES
    return max(worth, key=lambda label: worth[label], default="")


def _asked(train: Examples, held: Held, said: Sequence[str]) -> list[str]:
    """Classes with rows enough, those first that validation rows are most often wrong of."""
    rows = Counter(map(str, train.target))
    truth = list(map(str, held.validation.target))
    wrong = Counter(t for t, s in zip(truth, said, strict=True) if t != s)
    wrong.update(s for t, s in zip(truth, said, strict=True) if t != s)
    known = [label for label, count in rows.items() if count >= _LEAST_ROWS and wrong[label]]
    return sorted(known, key=lambda label: (-wrong[label], label))[:_MOST_CLASSES]


def _shown(criterion: Criterion, whole: RowsBehind, less: RowsBehind, seed: int) -> bool:
    """Whether the criterion is worse without the rows, at the confidence of a forecast."""
    change = _change(whole, less)
    low, high = interval(change, two_sided(_CONFIDENCE, 1), seed, whole.groups)
    return low > 0 if criterion.wants_more else high < 0


def _change(whole: RowsBehind, less: RowsBehind) -> Statistic:
    return difference(whole.parts[0].statistic, less.parts[0].statistic)
