"""How alike two texts are, as a classifier of two labels: one slope and one threshold.

p(label_1) = sigmoid(a · cos(u − c, v − c) + b),   c the mean of training texts

a and b are fitted to the training rows by Newton's method; which label stands for alike comes out
as the sign of a. Two numbers are all that is learnt of the labels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from sartor.core.errors import SettingError
from sartor.core.protocols import Floats
from sartor.core.texts import Text, parts_of
from sartor.tune.frozen import ClosedFit, Frozen, Point

_SAMPLE = 256
"""Training rows whose texts' mean is subtracted."""
_STEPS, _PENALTY = 50, 1e-3
"""Of Newton's method; the penalty keeps the slope finite where the labels part cleanly."""


def fit_similarity(frozen: Frozen, point: Point) -> ClosedFit:
    """The classifier and its logits on the rows.

    Args:
        frozen: Rows of two texts, and two labels.
        point: Its method says whether texts are centred.

    Raises:
        SettingError: If there are not two labels.
    """
    if len(frozen.outputs) != 2:
        raise SettingError(
            f"zero_shot compares two texts by one number, and there are {len(frozen.outputs)}"
            " labels.",
            fix="choose another method, such as head.",
        )
    one, other = _sides(frozen, frozen.train, point)
    centre = np.zeros(one.shape[1], np.float32)
    if point.method.centre:
        sample = np.linspace(0, len(one) - 1, min(len(one), _SAMPLE)).astype(int)
        centre = np.concatenate([one[sample], other[sample]]).mean(0)
    train = _cosine(one - centre, other - centre)
    one, other = _sides(frozen, frozen.validation, point)
    held = _cosine(one - centre, other - centre)
    slope, offset = fit_threshold(train, frozen.labels)

    def logits(alike: Floats) -> Floats:
        score = (slope * alike + offset)[:, None]
        return np.concatenate([-score / 2, score / 2], axis=1).astype(np.float32)

    def build(encoder: PreTrainedModel) -> nn.Module:
        model = frozen.build(encoder, 2, point.layers, {"kind": "similarity"})
        head: nn.Module = model.get_submodule("head")
        with torch.no_grad():
            for name, value in (
                ("centre", centre),
                ("slope", np.array([-slope, slope], np.float32) / 2),
                ("offset", np.array([-offset, offset], np.float32) / 2),
            ):
                head.get_buffer(name).copy_(torch.from_numpy(np.asarray(value, np.float32)))
        return model

    return ClosedFit(logits(held), logits(train), build)


def fit_threshold(alike: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
    """(slope, offset) of a logistic regression on one number.

    Args:
        alike: (rows,) cosines.
        labels: (rows,) 0 or 1.
    """
    x = np.stack([alike, np.ones_like(alike)], axis=1).astype(np.float64)
    found = np.zeros(2)
    penalty = np.array([_PENALTY, 0.0])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ found, -500, 500)))
        gradient = x.T @ (p - labels) / len(x) + penalty * found
        curvature = (x * (p * (1 - p))[:, None]).T @ x / len(x) + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        found -= step * min(1.0, 10.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-9:
            break
    return float(found[0]), float(found[1])


def _sides(frozen: Frozen, texts: Sequence[Text], point: Point) -> tuple[Floats, Floats]:
    """(rows, features) of the first and of the second texts."""
    pairs = [parts_of(text) for text in texts]
    flat = [pair[side] for side in (0, 1) for pair in pairs]
    found = frozen.source.features(flat, point.layers)
    return found[: len(pairs)], found[len(pairs) :]


def _cosine(one: Floats, other: Floats) -> Floats:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / np.maximum(lengths, 1e-12)
