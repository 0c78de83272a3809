"""Which part of a context answers: all parts, and that there is none, compete.

Of each place a model says how well an answer begins there (s) and ends there (e). Place 0 stands
for "no answer", place 1 + p for piece p of the context.

    score(p, q) = (s_{1+p} + e_{1+q}) / T,  p ≤ q < p + longest       a part
    score(none) = (s_0 + e_0) / T + none                             no answer
    probability = softmax over all of them

T calibrates, and `none` says how readily no answer is given; both are fitted on validation rows.
Devlin et al. 2019, https://aclanthology.org/N19-1423
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
LONGEST = 30
"""Pieces that an answer may have, where the rows do not say more."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How logits become an answer.

    Args:
        temperature: They are divided by it.
        none: Is added to the score of no answer.
        longest: Pieces that an answer may have.
    """

    temperature: float = 1.0
    none: float = 0.0
    longest: int = LONGEST

    @staticmethod
    def of(decision: Mapping[str, Any]) -> "Rule":
        """As `settle` wrote it; what it does not say is as ever."""
        return Rule(
            float(decision.get("temperature", 1.0)),
            float(decision.get("none", 0.0)),
            int(decision.get("longest", LONGEST)),
        )

    def as_decision(self) -> dict[str, Any]:
        """JSON values."""
        return {"temperature": self.temperature, "none": self.none, "longest": self.longest}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a context.

    Args:
        first: Its first piece.
        last: Its last piece.
        score: See the module.
        probability: That it is the answer, 0 to 1.
    """

    first: int
    last: int
    score: float
    probability: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What a row may be answered with.

    Args:
        parts: The likeliest, the best first; none where no piece was read.
        none: Probability that there is no answer.
        none_score: Its score.
    """

    parts: tuple[Part, ...]
    none: float
    none_score: float

    @property
    def answers(self) -> bool:
        """Whether a part is likelier than no answer."""
        return bool(self.parts) and self.parts[0].probability > self.none


def choose(logits: NDArray[Any], rule: Rule, most: int) -> Choice:
    """The likeliest parts of one row's context, and no answer.

    Args:
        logits: (places, 2), 0 where no piece was read.
        rule: See `Rule`.
        most: Parts wanted.
    """
    z = np.where(logits.any(1, keepdims=True), logits, -np.inf).astype(np.float64)
    z /= rule.temperature
    none = _finite(z[0].sum()) + rule.none
    longest = max(1, min(rule.longest, len(z) - 1))
    begins, ends = z[1:, 0], np.pad(z[1:, 1], (0, longest - 1), constant_values=-np.inf)
    if len(begins) == 0:
        return Choice((), 1.0, none)
    scores = (begins[:, None] + np.lib.stride_tricks.sliding_window_view(ends, longest)).ravel()
    best = np.argsort(-scores, kind="stable")[:most]
    best = best[np.isfinite(scores[best])]
    top = max(none, float(scores[best[0]])) if len(best) else none
    total = float(np.exp(scores - top).sum() + np.exp(none - top))
    return Choice(
        tuple(
            Part(
                first=int(at) // longest,
                last=int(at) // longest + int(at) % longest,
                score=float(scores[at]),
                probability=float(np.exp(scores[at] - top) / total),
            )
            for at in best
        ),
        float(np.exp(none - top) / total),
        none,
    )


def _finite(value: float) -> float:
    """A score that a sum can hold: of what was not read."""
    return float(value) if np.isfinite(value) else -1e9
