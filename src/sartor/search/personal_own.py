"""What is tuned for one user, in one form for every kind: what it learns from, and what it is."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from sartor.bundle.adapter import Kind
from sartor.bundle.base import BIAS, WEIGHT
from sartor.bundle.tensors import Tensors
from sartor.core.protocols import Floats
from sartor.tune.personal import Said, Shared, fit_personal

CALLED: Mapping[Kind, str] = {"head": "head", "lora": "LoRA"}
"""Kind to what a person is told."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a user's own model learns from.

    Args:
        texts: Of the training rows.
        features: (texts, features), what the shared head reads.
        labels: (texts,) in [0, outputs).
        weights: (texts,) how much each counts, above 0.
        corrections: Of how many the user said that the shared model is wrong.
    """

    texts: tuple[str, ...]
    features: Floats
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    corrections: int


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """A user's own model, beside the shared one.

    Args:
        kind: What of the shared model it changes.
        tensors: As in an `Adapter` of that kind.
        strength: λ of the pull towards the shared model; infinite where nothing that was tried did
            better, and this is the shared model.
        loss: Mean log-loss of training rows that were left out; infinite where none were.
    """

    kind: Kind
    tensors: Tensors
    strength: float
    loss: float

    @property
    def shared(self) -> bool:
        """Whether it is the shared model after all."""
        return math.isinf(self.strength)

    @property
    def name(self) -> str:
        """Content hash of its numbers, 64 hex digits."""
        sha = sha256()
        for name in sorted(self.tensors, reverse=True):  # a head's weight, then its bias
            sha.update(self.tensors[name].tobytes())
        return sha.hexdigest()


Tuning = Callable[[Lesson], Own]
"""How one kind is tuned."""


def head_tuning(shared: Shared) -> Tuning:
    """Heads that are pulled towards the shared one."""

    def tune(lesson: Lesson) -> Own:
        head = fit_personal(shared, Said(lesson.features, lesson.labels, lesson.weights))
        tensors = {WEIGHT: head.weight, BIAS: head.bias}
        return Own("head", tensors, head.strength, min(head.losses.values()))

    return tune


def best_of(tunings: tuple[Tuning, ...], lesson: Lesson) -> Own:
    """What did best on training rows that were left out; of two that do alike, the first."""
    return min((tune(lesson) for tune in tunings), key=lambda own: own.loss)
