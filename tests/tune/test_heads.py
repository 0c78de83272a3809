"""Closed-form heads: scikit-learn's answer, folded exactly onto raw activations."""

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sartor.core.errors import DataError, SettingError
from sartor.tune.heads import HeadData, HeadSetting, cross_logits, fit_heads

WIDTH = 12


def _data(classes: int, rows: int = 150, outputs: int | None = None) -> tuple[HeadData, np.ndarray]:
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, rows)
    states = random.normal(3.0, 2.0, (rows, 3, WIDTH)).astype(np.float32)
    states[np.arange(rows), :, labels] += 2.5
    states[:, :, -1] = 7.0  # an activation that never changes

    def read(part: slice):
        return lambda layers: states[part][:, list(layers)].reshape(-1, len(layers) * WIDTH)

    half = rows // 2
    data = HeadData(
        read(slice(0, half)), read(slice(half, None)), labels[:half], outputs or classes
    )
    return data, states


def _softmax(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("C", [0.01, 1.0])
def test_probabilities_are_those_of_scikit_learn_on_standardised_features(classes, C):
    data, _ = _data(classes)
    weights = tuple(float(i + 1) for i in range(classes))

    fit = fit_heads(data, [HeadSetting((0, 2), C, weights)])[0]

    reference = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=C, class_weight=dict(enumerate(weights)), tol=1e-8, max_iter=9999),
    ).fit(data.train((0, 2)), data.labels)
    expected = reference.predict_proba(data.validation((0, 2)))
    np.testing.assert_allclose(_softmax(fit.validation_logits), expected, atol=1e-3)


def test_the_folded_layer_reproduces_the_logits_from_raw_activations():
    data, _ = _data(3)

    fit = fit_heads(data, [HeadSetting((1,), 0.1, (1.0, 1.0, 1.0))])[0]

    np.testing.assert_allclose(
        data.train((1,)) @ fit.weight.T + fit.bias, fit.train_logits, atol=1e-4
    )


def test_a_setting_gives_the_same_head_alone_and_in_any_grid():
    data, _ = _data(3)
    one = (1.0, 1.0, 1.0)
    grid = [HeadSetting(layers, c, one) for layers in ((0,), (1, 2)) for c in (1.0, 0.01, 0.1)]

    together = fit_heads(data, grid)

    again = fit_heads(data, grid)
    for setting, fit, same in zip(grid, together, again, strict=True):
        assert same.weight.tobytes() == fit.weight.tobytes()
        alone = fit_heads(data, [setting])[0]
        np.testing.assert_allclose(alone.validation_logits, fit.validation_logits, atol=2e-3)


def test_layers_are_read_to_fit_and_to_score_and_not_for_every_setting():
    data, _ = _data(2)
    reads: list[tuple[int, ...]] = []

    def counted(layers):
        reads.append(layers)
        return data.train(layers)

    watched = HeadData(counted, data.validation, data.labels, 2)
    fit_heads(watched, [HeadSetting((0,), c, (1.0, 1.0)) for c in (0.1, 1.0, 10.0)])

    assert reads == [(0,), (0,)]


def test_no_more_than_two_arrays_as_large_as_the_features_live_at_once():
    rows, width = 6_000, 512
    labels = np.arange(rows) % 2

    def read(_):
        return np.random.default_rng(0).standard_normal((rows, width), np.float32)

    data = HeadData(read, lambda _: np.zeros((100, width), np.float32), labels, 2)
    fit_heads(data, [HeadSetting((0,), 0.01, (1.0, 1.0))])  # what is imported on first use

    tracemalloc.start()
    fit_heads(data, [HeadSetting((0,), 0.01, (1.0, 1.0))])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2.9 * 4 * rows * width


def test_a_class_without_training_rows_is_unlikely_but_possible():
    data, _ = _data(3, outputs=5)

    fit = fit_heads(data, [HeadSetting((0,), 0.1, (1.0,) * 5)])[0]

    shares = _softmax(fit.validation_logits)
    assert not np.isin(fit.validation_logits.argmax(1), (3, 4)).any()
    assert (shares[:, 3:] > 1e-6).all()


def test_one_label_alone_is_refused():
    data, _ = _data(2)
    same = HeadData(data.train, data.validation, np.zeros(75, dtype=np.int64), 2)

    with pytest.raises(DataError, match="all 75 training rows have the same label"):
        fit_heads(same, [HeadSetting((0,), 0.1, (1.0, 1.0))])


def test_activations_that_overflowed_are_refused():
    data, states = _data(2)
    states[3, 0, 5] = np.inf

    with pytest.raises(SettingError, match="1 of 12 activations"):
        fit_heads(data, [HeadSetting((0,), 0.1, (1.0, 1.0))])


def test_the_mean_of_layers_is_read_as_layers_side_by_side():
    data, states = _data(3)

    fit = fit_heads(data, [HeadSetting((0, 2), 0.1, (1.0,) * 3, average=True)])[0]

    mean = HeadData(
        lambda _: states[:75, [0, 2]].mean(1), lambda _: states[75:, [0, 2]].mean(1), data.labels, 3
    )
    expected = fit_heads(mean, [HeadSetting((0,), 0.1, (1.0,) * 3)])[0]
    assert fit.weight.shape == (3, 2 * WIDTH)
    np.testing.assert_allclose(fit.validation_logits, expected.validation_logits, atol=1e-3)


def test_a_row_is_scored_by_a_head_that_did_not_see_it():
    data, _ = _data(3)
    folds = np.arange(75) % 3
    setting = HeadSetting((1,), 0.1, (1.0, 2.0, 1.0))

    (found,) = cross_logits(data, [setting], folds)

    out = folds == 1
    standard = StandardScaler().fit_transform(data.train((1,)))
    weights = dict(enumerate(setting.weights))
    reference = LogisticRegression(C=0.1, class_weight=weights, tol=1e-8, max_iter=9999)
    reference.fit(standard[~out], data.labels[~out])
    expected = reference.predict_proba(standard[out])
    np.testing.assert_allclose(_softmax(found[out]), expected, atol=2e-4)
