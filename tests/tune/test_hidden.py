"""Heads with a hidden layer: trained together, each as if alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sartor.core.errors import DataError
from sartor.core.types import Backbone
from sartor.tasks._encoder.heads import build_head
from sartor.tune.frozen import Frozen, Point
from sartor.tune.heads import HeadData
from sartor.tune.hidden import HiddenSetting, fit_hidden
from sartor.tune.methods.head import Head

ONE = HiddenSetting((0,), False, 16, 10.0, 0.1, 1e-2, (1.0, 1.0), 0)


def _rings(rows: int = 300):
    """Two classes that no linear layer tells apart: near the middle or not."""
    random = np.random.default_rng(0)
    states = random.normal(size=(rows, 2, 6)).astype(np.float32)
    labels = (np.square(states[:, 0, :3]).sum(1) > 2.4).astype(np.int64)
    half = rows * 2 // 3

    def read(part: slice):
        return lambda layers: 3 + states[part][:, list(layers)].reshape(-1, len(layers) * 6)

    data = HeadData(read(slice(0, half)), read(slice(half, None)), labels[:half], 2)
    return data, labels[half:], states


def test_a_hidden_layer_learns_what_a_linear_one_cannot():
    data, held, _ = _rings()
    linear = LogisticRegression().fit(data.train((0,)), data.labels)

    fit = fit_hidden(data, held, [ONE])[0]

    assert (fit.validation_logits.argmax(1) == held).mean() > 0.85
    assert linear.score(data.validation((0,)), held) < 0.7


def test_settings_trained_together_are_those_trained_alone():
    data, held, _ = _rings(120)
    grid = [ONE, replace(ONE, C=0.1), replace(ONE, seed=1), replace(ONE, layers=(0, 1), lr=3e-3)]

    together = fit_hidden(data, held, grid)

    for setting, fit in zip(grid, together, strict=True):
        alone = fit_hidden(data, held, [setting])[0]
        np.testing.assert_allclose(alone.validation_logits, fit.validation_logits, atol=1e-2)
    distinct = {fit.validation_logits.tobytes() for fit in together}
    assert len(distinct) == len(grid)
    again = fit_hidden(data, held, grid)
    assert [a.validation_logits.tobytes() for a in again] == [
        t.validation_logits.tobytes() for t in together
    ]


def test_a_stricter_penalty_keeps_the_logits_closer_together():
    data, held, _ = _rings(120)

    loose, strict = fit_hidden(data, held, [ONE, replace(ONE, C=1e-3)])

    assert np.ptp(strict.train_logits) < 0.3 * np.ptp(loose.train_logits)


@pytest.mark.parametrize("average", [False, True])
def test_the_folded_layers_reproduce_the_logits_from_raw_activations(average):
    data, held, _ = _rings(120)
    fit = fit_hidden(data, held, [replace(ONE, layers=(0, 1), average=average)])[0]
    head = build_head(12, 2, {"kind": "hidden", "hidden": 16})
    for layer, (weight, bias) in ((head.inner, fit.inner), (head.outer, fit.outer)):
        layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)

    with torch.no_grad():
        found = head(torch.from_numpy(data.validation((0, 1)))).numpy()

    np.testing.assert_allclose(found, fit.validation_logits, atol=1e-3)


def test_one_label_alone_is_refused():
    data, held, _ = _rings(30)
    same = HeadData(data.train, data.validation, np.zeros(20, np.int64), 2)

    with pytest.raises(DataError, match="have the same label"):
        fit_hidden(same, held, [ONE])


def test_a_grid_may_hold_heads_with_and_without_a_hidden_layer():
    _, _, states = _rings(60)

    class Source:
        max_length = 8

        def features(self, texts, layers):
            chosen = states[[int(t) for t in texts]]
            return chosen[:, list(layers)].reshape(len(texts), -1)

    rows = [str(i) for i in range(60)]
    labels = np.arange(60) % 2
    backbone = Backbone("b", "folder", "", "0" * 64, "MIT", ("en",), 1, 2, 6)
    parts = (rows[:40], rows[40:], labels[:40], labels[40:])
    frozen = Frozen(backbone, Source(), *parts, ["a", "b"], {})
    grid = [Point(Head(hidden=h), (0,), (1.0, 1.0), 0) for h in (8, 0, 4)]

    fits = Head.fit_all(frozen, grid)

    alone = [Head.fit_all(frozen, [point])[0] for point in grid]
    for fit, other in zip(fits, alone, strict=True):
        np.testing.assert_allclose(fit.validation_logits, other.validation_logits, atol=1e-2)
