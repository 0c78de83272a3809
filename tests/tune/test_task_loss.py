"""The task's loss: focal, and classes weighed by their effective number of rows."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from sartor.core.errors import SettingError
from sartor.core.protocols import Floats
from sartor.core.types import Candidate
from sartor.tasks.text_classification.train import TextClassification
from sartor.tune.closed import fit_together
from sartor.tune.job import Job
from sartor.tune.settings import read_settings
from tests.tune.killed import reviews, tiny_backbone

LABELS = np.array([0] * 90 + [1] * 10)


def test_focal_loss_is_cross_entropy_times_the_doubt():
    # p of the true class: 3/4 and 1/2.
    logits = torch.tensor([[math.log(3.0), 0.0], [1.0, 1.0]])
    labels, weights = torch.tensor([0, 1]), torch.tensor([1.0, 3.0])

    found = TextClassification(focal=2.0).loss(logits, labels, weights, 0.0)

    easy, hard = 0.25**2 * -math.log(0.75), 0.5**2 * -math.log(0.5)
    assert found.item() == pytest.approx((easy + 3 * hard) / 4, rel=1e-6)


def test_focal_loss_of_power_zero_is_cross_entropy():
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    weights = torch.tensor([1.0, 2.0, 0.5])

    plain = TextClassification().loss(logits, labels, weights, 0.1)
    # A power so small that the doubt is 1 to float's precision.
    focal = TextClassification(focal=1e-9).loss(logits, labels, weights, 0.1)

    torch.testing.assert_close(plain, focal)


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_the_focal_gradient_agrees_with_differences(power: float):
    torch.manual_seed(1)
    task, labels, weights = TextClassification(focal=power), torch.tensor([0, 2]), torch.ones(3)
    logits = torch.randn(2, 3, requires_grad=True)

    (found,) = torch.autograd.grad(task.loss(logits, labels, weights, 0.0), logits)

    expected = torch.zeros(2, 3)
    for row in range(2):
        for column in range(3):
            nudge = torch.zeros(2, 3)
            nudge[row, column] = 1e-2
            above = task.loss(logits.detach() + nudge, labels, weights, 0.0)
            below = task.loss(logits.detach() - nudge, labels, weights, 0.0)
            expected[row, column] = (above - below) / 2e-2
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-4)


def test_a_row_that_is_answered_surely_gives_a_finite_gradient():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)

    TextClassification(focal=0.5).loss(logits, torch.tensor([0]), torch.ones(2), 0.0).backward()

    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_effective_numbers_weigh_as_their_formula_says():
    found = TextClassification(class_weight="effective", effective_beta=0.9).weights(LABELS, 2)

    expected = np.array([(1 - 0.9) / (1 - 0.9**n) for n in (90, 10)])
    assert found[1] / found[0] == pytest.approx(expected[1] / expected[0], rel=1e-6)
    assert found[LABELS].mean() == pytest.approx(1)


def test_effective_numbers_lie_between_rows_alike_and_classes_alike():
    def weights(kind: str, beta: float = 0.5) -> np.ndarray:
        task = TextClassification(class_weight=kind, effective_beta=beta)  # type: ignore[arg-type]
        return task.weights(LABELS, 3)

    np.testing.assert_allclose(weights("effective", 0.0), weights("none"))
    np.testing.assert_allclose(weights("effective", 1 - 1e-9), weights("balanced"), rtol=1e-4)
    assert weights("effective")[2] == 1, "a class without rows"


def test_a_head_in_closed_form_refuses_focal_loss(tmp_path: Path):
    settings = {"focal": 2.0}
    read = read_settings(settings, task="text_classification", method="head")
    backbone, rows = tiny_backbone(tmp_path / "tiny"), reviews(20, 1)
    candidate = Candidate("tiny", backbone.sha256, "head", settings, seed=0)
    job = Job(candidate, read, backbone, rows, rows, ["great", "other"], 64, "text_classification")

    with pytest.raises(SettingError, match=r"focal=2.0, but a head"):
        fit_together([job], _Unread(), {})


class _Unread:
    """A source that is asked for nothing: the refusal comes before."""

    max_length = 64

    def features(self, texts: Sequence[str], layers: Sequence[int]) -> Floats:
        raise AssertionError
