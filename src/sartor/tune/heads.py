"""Heads in closed form on cached activations: a grid of settings shares what can be shared.

Features are standardised by training mean μ and deviation σ; the scaling is folded exactly into
the linear layer: W' = W / σ, b' = b − W'μ, so the shipped head reads raw activations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from sartor.core.errors import DataError, SettingError
from sartor.core.protocols import Floats

Doubles = NDArray[np.float64]
Features = Callable[[tuple[int, ...]], Floats]

_PRECISE = 50_000_000
"""Values up to which the solver works in float64; beyond, the copy would cost gigabytes."""


@dataclass(frozen=True, slots=True)
class HeadData:
    """What every setting of a grid shares.

    Args:
        train: Layers to (rows, len(layers) * width); called once for each set of layers.
        validation: The same of the validation rows.
        labels: (rows,) class indices of the training rows.
        outputs: Number of classes.
    """

    train: Features
    validation: Features
    labels: NDArray[np.int64]
    outputs: int


@dataclass(frozen=True, slots=True)
class HeadSetting:
    """One point of the grid.

    Args:
        layers: Hidden states to read, counted from 0.
        C: Inverse L2 strength on standardised features.
        weights: Weight of each class in the loss.
    """

    layers: tuple[int, ...]
    C: float
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class HeadFit:
    """A fitted linear layer on raw activations.

    Args:
        weight: (outputs, features).
        bias: (outputs,).
        validation_logits: (validation rows, outputs).
        train_logits: (training rows, outputs).
    """

    weight: Floats
    bias: Floats
    validation_logits: Floats
    train_logits: Floats


def fit_heads(data: HeadData, grid: Sequence[HeadSetting]) -> list[HeadFit]:
    """Fit every setting, in the grid's order; settings that share layers share their work.

    The problem is convex and the start is fixed, so the result depends on no seed.

    Raises:
        DataError: If fewer than two classes have training rows.
        SettingError: If the features are not finite.
    """
    if len(np.unique(data.labels)) < 2:
        raise DataError(
            f"all {len(data.labels)} training rows have the same label.",
            fix="add rows of at least one other label.",
        )
    fits: dict[HeadSetting, HeadFit] = {}
    for layers in dict.fromkeys(setting.layers for setting in grid):
        train, validation = data.train(layers), data.validation(layers)
        scale = _Scale.of(train)
        standard = scale.apply(train)
        for setting in dict.fromkeys(s for s in grid if s.layers == layers):
            weight, bias = scale.fold(*_solve(standard, data, setting))
            fits[setting] = HeadFit(
                weight, bias, validation @ weight.T + bias, train @ weight.T + bias
            )
    return [fits[setting] for setting in grid]


@dataclass(frozen=True, slots=True)
class _Scale:
    mean: Doubles
    deviation: Doubles

    @staticmethod
    def of(features: Floats) -> "_Scale":
        finite = np.isfinite(features).all(0)
        if not finite.all():
            raise SettingError(
                f"{np.count_nonzero(~finite)} of {features.shape[1]} activations are not finite "
                "numbers on some row.",
                fix="choose other layers, or another backbone: this one overflows on the data.",
            )
        mean = features.mean(0, dtype=np.float64)
        deviation = features.std(0, dtype=np.float64)
        # A constant activation carries nothing; dividing by its zero deviation would.
        return _Scale(mean, np.where(deviation > 1e-8, deviation, 1.0))

    def apply(self, features: Floats) -> Floats | Doubles:
        precise = features.size <= _PRECISE
        standard = features.astype(np.float64 if precise else np.float32)
        standard -= self.mean.astype(standard.dtype)
        standard /= self.deviation.astype(standard.dtype)
        # numpy's stubs join the two dtypes into one array type, which neither name matches.
        return cast("Floats | Doubles", standard)

    def fold(self, weight: Doubles, bias: Doubles) -> tuple[Floats, Floats]:
        folded = weight / self.deviation
        return folded.astype(np.float32), (bias - folded @ self.mean).astype(np.float32)


def _solve(
    standard: Floats | Doubles, data: HeadData, setting: HeadSetting
) -> tuple[Doubles, Doubles]:
    # Always from zero: a start from a neighbour's solution would save little here, and the
    # result would depend on which other settings were asked for.
    weights = {int(label): setting.weights[label] for label in np.unique(data.labels)}
    model = LogisticRegression(C=setting.C, class_weight=weights, max_iter=5000, tol=1e-5)
    model.fit(standard, data.labels)
    return _all_classes(model, standard, data.outputs)


def _all_classes(
    model: LogisticRegression, standard: Floats | Doubles, outputs: int
) -> tuple[Doubles, Doubles]:
    """(outputs, features) and (outputs,): symmetric for two classes, absent classes included."""
    coef, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        # scikit-learn keeps one row, z = log-odds; softmax over (−z/2, z/2) is the same.
        coef, intercept = np.vstack([-coef, coef]) / 2, np.hstack([-intercept, intercept]) / 2
    weight, bias = np.zeros((outputs, coef.shape[1])), np.zeros(outputs)
    weight[model.classes_], bias[model.classes_] = coef, intercept
    absent = np.setdiff1d(np.arange(outputs), model.classes_)
    if len(absent):
        # A class never seen gets about half a row's share of probability, not zero: a label
        # that turns up later must not cost an infinite log-loss.
        level = np.logaddexp.reduce(standard @ coef.T + intercept, axis=1).mean()
        bias[absent] = level + np.log(0.5 / len(standard))
    return weight, bias
