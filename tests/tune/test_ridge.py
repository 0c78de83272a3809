"""Ridge heads are scikit-learn's, whatever the unit, and folds are fitted on their own rows."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sartor.core.errors import DataError
from sartor.tune.heads import HeadData, HeadSetting, cross_logits, fit_heads
from sartor.tune.hidden import HiddenSetting, fit_hidden

RNG = np.random.default_rng(0)


def made(rows, features, unit=1.0):
    x = RNG.normal(2, 3, (rows, features)).astype(np.float32)
    y = (unit * (x @ RNG.normal(0, 1, features) + RNG.normal(0, 2, rows) + 40)).astype(np.float32)
    return x, y


def data(x, y, held):
    return HeadData(train=lambda _: x, validation=lambda _: held, labels=y, outputs=1)


@pytest.mark.parametrize(("rows", "features"), [(200, 12), (30, 64)])
@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e4])
def test_a_head_of_numbers_is_scikit_learns_ridge_on_standardised_features(rows, features, unit):
    x, y = made(rows, features, unit)
    grid = [HeadSetting((0,), C, (1.0,)) for C in (1.0, 0.01)]
    fits = fit_heads(data(x, y, x[:5]), grid)
    wide = x.astype(np.float64)
    standard = (wide - wide.mean(0)) / wide.std(0)
    for setting, fit in zip(grid, fits, strict=True):
        target = (y.astype(np.float64) - y.mean()) / y.std()
        reference = Ridge(alpha=1 / setting.C).fit(standard, target)
        wanted = reference.predict(standard) * y.std() + y.mean()
        np.testing.assert_allclose(fit.train_logits[:, 0], wanted, atol=2e-3 * y.std(), rtol=1e-4)
        np.testing.assert_allclose(fit.validation_logits, fit.train_logits[:5], atol=1e-3 * y.std())
        assert fit.weight.shape == (1, features)


def test_a_fold_is_answered_by_a_head_that_did_not_see_it():
    x, y = made(60, 5)
    folds = np.arange(60) % 3
    (found,) = cross_logits(data(x, y, x), [HeadSetting((0,), 0.1, (1.0,))], folds)
    changed = y.copy()
    changed[folds == 1] += 1000
    (other,) = cross_logits(data(x, changed, x), [HeadSetting((0,), 0.1, (1.0,))], folds)
    np.testing.assert_allclose(found[folds == 1], other[folds == 1], rtol=1e-3)
    assert np.abs(found[folds == 0] - other[folds == 0]).max() > 1


def test_a_hidden_layer_learns_what_no_line_does_in_the_numbers_own_unit():
    x = RNG.normal(0, 1, (400, 4)).astype(np.float32)
    y = (1000 * np.abs(x[:, 0]) + 5000).astype(np.float32)
    rows = data(x[:300], y[:300], x[300:])
    setting = HiddenSetting((0,), False, 32, 10.0, 0.0, 1e-2, (1.0,), 0)
    (fit,) = fit_hidden(rows, y[300:], [setting])
    (line,) = fit_heads(rows, [HeadSetting((0,), 1.0, (1.0,))])
    error = np.abs(fit.validation_logits[:, 0] - y[300:]).mean()
    assert error < 0.5 * np.abs(line.validation_logits[:, 0] - y[300:]).mean()
    inner, outer = fit.inner, fit.outer
    import torch

    units = torch.nn.functional.gelu(torch.from_numpy(x[300:] @ inner[0].T + inner[1])).numpy()
    np.testing.assert_allclose(units @ outer[0].T + outer[1], fit.validation_logits, rtol=1e-3)


def test_rows_of_one_number_teach_nothing():
    x, _ = made(10, 3)
    with pytest.raises(DataError, match="the same number"):
        fit_heads(data(x, np.ones(10, np.float32), x), [HeadSetting((0,), 1.0, (1.0,))])
