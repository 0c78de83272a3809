"""Several labels a text: calibration, thresholds, the loss and its gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from sartor.core.likelihood import fit_temperature, losses
from sartor.need.grammar import parse_criterion
from sartor.tasks.multi_label.settling import calibrate, fit_thresholds, sigmoid
from sartor.tasks.multi_label.spec import MultiLabel
from sartor.tasks.multi_label.train import MultiLabel as Trainer


def drawn(rows, labels, seed=0, slope=1.0, shift=0.0):
    """Logits, and truths that came true as often as σ(slope · z + shift) says."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, labels))
    truth = rng.random((rows, labels)) < sigmoid(slope * logits + shift)
    return logits.astype(np.float32), truth.astype(np.float32)


def test_calibration_finds_the_slope_and_the_offsets_that_made_the_rows():
    offsets = np.array([-2.0, 0.5, 1.5])
    logits, truth = drawn(20_000, 3, slope=0.6, shift=offsets)
    found = calibrate(logits, truth)
    assert found.slope == pytest.approx(0.6, abs=0.02)
    np.testing.assert_allclose(found.offsets, offsets, atol=0.1)


def test_calibration_of_one_label_is_the_unpenalised_logistic_regression():
    logits, truth = drawn(3_000, 1, slope=1.7, shift=-0.4)
    found = calibrate(logits, truth)
    reference = LogisticRegression(C=np.inf, tol=1e-9).fit(logits, truth[:, 0])
    # Two half rows are added: their weight among three thousand is small.
    assert found.slope == pytest.approx(reference.coef_[0, 0], rel=5e-3)
    assert found.offsets[0] == pytest.approx(reference.intercept_[0], abs=5e-3)


def test_a_label_without_rows_keeps_a_finite_offset():
    logits, truth = drawn(50, 2)
    truth[:, 1] = 0
    found = calibrate(logits, truth)
    assert np.isfinite(found.offsets).all()
    assert found.probabilities(logits)[:, 1].max() < 0.5


def test_thresholds_without_criteria_do_not_lower_macro_f1():
    logits, truth = drawn(400, 5, shift=np.array([-3.0, -2, -1, 0, 1]))
    p = calibrate(logits, truth).probabilities(logits)
    found = fit_thresholds(p, truth, list("abcde"), ())
    before, after = (
        f1_score(truth, p >= cut, average="macro", zero_division=0) for cut in (0.5, found)
    )
    assert after > before + 0.02


def test_a_recall_that_is_asked_for_moves_the_threshold_of_its_label():
    logits, truth = drawn(600, 3, shift=-1.5)
    p = calibrate(logits, truth).probabilities(logits)
    names = ["a", "b", "c"]
    asked = [parse_criterion("recall[label=b] >= 0.9")]
    found = fit_thresholds(p, truth, names, asked)
    said = p >= found
    assert said[truth[:, 1] > 0, 1].mean() >= 0.9
    assert found[1] < fit_thresholds(p, truth, names, ())[1]


def test_whole_sets_are_right_more_often_where_that_is_asked_for():
    logits, truth = drawn(500, 4, shift=-1.0)
    p = calibrate(logits, truth).probabilities(logits)
    plain = fit_thresholds(p, truth, list("abcd"), ())
    asked = fit_thresholds(p, truth, list("abcd"), [parse_criterion("subset_accuracy >= 0.9")])
    whole = [(((p >= cut) == (truth > 0)).all(1)).mean() for cut in (plain, asked)]
    assert whole[1] > whole[0]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 10_000))
def test_the_loss_of_a_row_is_the_mean_over_labels_of_minus_log_p(rows, labels, seed):
    logits, truth = drawn(rows, labels, seed)
    p = sigmoid(logits.astype(np.float64))
    by_hand = -np.where(truth > 0, np.log(p), np.log(1 - p)).mean(1)
    np.testing.assert_allclose(losses(logits, truth), by_hand, rtol=1e-6)


def test_the_temperature_of_labels_that_were_overstated_is_above_one():
    logits, truth = drawn(5_000, 3)
    assert fit_temperature(3 * logits, truth) == pytest.approx(3.0, rel=0.05)


def test_the_loss_is_the_hand_computation():
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weights = torch.tensor([3.0, 1.0])
    p = torch.sigmoid(logits)
    each = -(weights * truth * p.log() + (1 - truth) * (1 - p).log())
    torch.testing.assert_close(Trainer().loss(logits, truth, weights, 0.0), each.mean())
    smooth = truth * 0.8 + 0.1
    each = -(smooth * p.log() + (1 - smooth) * (1 - p).log())
    torch.testing.assert_close(
        Trainer().loss(logits, truth, torch.ones(2), 0.2), each.mean(), rtol=1e-5, atol=1e-6
    )
    wrong = torch.where(truth > 0, 1 - p, p)
    each = -(torch.where(truth > 0, p, 1 - p).log()) * wrong**2
    torch.testing.assert_close(
        Trainer(focal=2.0).loss(logits, truth, torch.ones(2), 0.0), each.mean()
    )


@pytest.mark.parametrize("focal", [0.0, 0.5, 2.0])
def test_the_gradient_of_the_loss_is_that_of_finite_differences(focal):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 3, generator=generator) * 2
    truth = (torch.rand(4, 3, generator=generator) < 0.4).float()
    weights = torch.tensor([2.0, 1.0, 0.5])
    trainer = Trainer(focal=focal)
    leaf = logits.clone().requires_grad_()
    trainer.loss(leaf, truth, weights, 0.1).backward()
    step = 1e-2
    for row, label in ((0, 0), (1, 2), (3, 1)):
        ends = []
        for sign in (-1, 1):
            moved = logits.clone()
            moved[row, label] += sign * step
            ends.append(float(trainer.loss(moved, truth, weights, 0.1)))
        slope = (ends[1] - ends[0]) / (2 * step)
        assert float(leaf.grad[row, label]) == pytest.approx(slope, abs=2e-3)


def test_a_focal_loss_of_sure_rows_has_a_gradient_that_is_a_number():
    logits = torch.tensor([[90.0, -90.0]], requires_grad=True)
    Trainer(focal=0.5).loss(logits, torch.tensor([[1.0, 0.0]]), torch.ones(2), 0.0).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("how", "wanted"), [("none", [1, 1]), ("sqrt", [3, 1 / 3]), ("balanced", [9, 1 / 9])]
)
def test_positive_weights_are_rows_without_by_rows_with(how, wanted):
    truth = np.array([[1, 0], *([[0, 1]] * 9)], np.float32)
    np.testing.assert_allclose(Trainer(positive_weight=how).weights(truth, 2), wanted, rtol=1e-6)


def test_the_confidence_of_a_set_is_that_of_its_least_sure_label():
    answer = {"labels": ["a"], "probabilities": {"a": 0.9, "b": 0.3, "c": 0.05}}
    brief = MultiLabel().brief(answer)
    assert (brief.label, brief.confidence) == ('["a"]', pytest.approx(0.7))


def test_one_label_is_sent_to_the_other_task():
    from sartor.core.errors import DataError
    from sartor.core.types import Examples

    rows = Examples(("1", "2"), {"text": ("x", "y")}, (("late",), ()))
    with pytest.raises(DataError, match="hold 1 label") as caught:
        MultiLabel().outputs(rows, None)
    assert "text_classification" in caught.value.fix
