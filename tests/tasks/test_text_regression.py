"""Numbers: intervals that hold what they say, the loss and its gradient, the head's unit."""

import numpy as np
import pytest
import torch
from torch import nn

from sartor.core.errors import DataError, SettingError
from sartor.core.types import Examples
from sartor.need.grammar import parse_criterion
from sartor.tasks._encoder.heads import Linear, Scaled
from sartor.tasks.text_regression.spec import TextRegression
from sartor.tasks.text_regression.train import TextRegression as Trainer


def examples(numbers):
    ids = tuple(map(str, range(len(numbers))))
    return Examples(ids, {"text": ids}, tuple(map(float, numbers)))


def said(logits, decision):
    answers = TextRegression().decode(logits, ["value"], decision)
    return np.array([[a["low"], a["value"], a["high"]] for a in answers])


@pytest.mark.parametrize("asked", [None, 0.7, 0.95])
def test_intervals_hold_fresh_truths_as_often_as_they_say(asked):
    rng, task = np.random.default_rng(0), TextRegression()
    criteria = () if asked is None else (parse_criterion(f"coverage >= {asked}"),)
    shares, stated = [], []
    for _ in range(200):
        # Errors with heavy tails: nothing Gaussian is assumed.
        truth = rng.normal(0, 5, 300)
        logits = (truth + rng.standard_t(3, 300)).astype(np.float32)[:, None]
        decision = task.settle(logits[:150], examples(truth[:150]), ["value"], criteria)
        ends = said(logits[150:], decision)
        shares.append(((ends[:, 0] <= truth[150:]) & (truth[150:] <= ends[:, 2])).mean())
        stated.append(decision["coverage"])
    assert np.mean(shares) == pytest.approx(np.mean(stated), abs=0.012)
    assert np.mean(shares) >= (asked or 0.9) - 0.005


def test_few_rows_state_what_they_can_hold_and_no_more():
    decision = TextRegression().settle(
        np.zeros((4, 1), np.float32), examples([1, -2, 3, 0]), ["value"], ()
    )
    assert decision == {"half_width": 3.0, "coverage": 0.8}


def test_an_interval_grows_with_what_is_asked_of_it():
    rng, task = np.random.default_rng(1), TextRegression()
    truth = rng.normal(0, 1, 200)
    zeros = np.zeros((200, 1), np.float32)
    widths = [
        task.settle(zeros, examples(truth), ["value"], (parse_criterion(text),))["half_width"]
        for text in ("coverage >= 0.5", "mae <= 1", "coverage >= 0.95")
    ]
    assert widths == sorted(widths)
    assert widths[0] < widths[2]


def test_labels_and_a_single_number_are_refused():
    with pytest.raises(DataError, match="predicts a number"):
        TextRegression().outputs(examples([1, 2]), ["1", "2"])
    with pytest.raises(DataError, match="one number alone"):
        TextRegression().outputs(examples([1, 1]), None)


@pytest.mark.parametrize("huber", [0.0, 0.8])
def test_the_loss_is_the_formula_and_its_gradient_that_of_finite_differences(huber):
    trainer = Trainer(huber=huber)
    truth = np.array([1.0, 4.0, -2.0, 7.0], np.float32)
    logits = torch.tensor([[1.5], [0.0], [-2.0], [9.0]], dtype=torch.float64, requires_grad=True)
    weights = torch.from_numpy(trainer.weights(truth, 1))
    assert float(weights) == pytest.approx(1 / truth.std())
    error = np.abs(logits.detach().numpy()[:, 0] - truth) / truth.std()
    square = error**2 / 2
    line = huber * (error - huber / 2)
    wanted = np.where(error <= huber, square, line) if huber else square
    loss = trainer.loss(logits, torch.from_numpy(truth), weights, 0.0)
    assert float(loss.detach()) == pytest.approx(wanted.mean(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    for row in range(4):
        moved = [logits.detach().clone() for _ in range(2)]
        moved[0][row] += 1e-2
        moved[1][row] -= 1e-2
        above, below = (
            float(trainer.loss(m, torch.from_numpy(truth), weights, 0.0)) for m in moved
        )
        assert float(gradient[row]) == pytest.approx((above - below) / 2e-2, abs=2e-3)


def test_smoothing_of_labels_is_refused():
    with pytest.raises(SettingError, match="label_smoothing"):
        Trainer().loss(torch.zeros(2, 1), torch.zeros(2), torch.ones(1), 0.1)


class _Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = Linear(3, 1)


def test_a_head_trains_in_the_numbers_unit_and_is_folded_into_a_plain_one():
    torch.manual_seed(0)
    trainer, model, x = Trainer(), _Model(), torch.randn(5, 3)
    truth = np.array([1000.0, 1400.0, 900.0], np.float32)
    plain = model.head(x).detach()
    trainer.open(model, truth, fresh=True)
    assert isinstance(model.head, Scaled)
    torch.testing.assert_close(model.head(x), plain * truth.std() + truth.mean())
    with torch.no_grad():
        model.head.inner.weight += 0.5
    tuned = model.head(x).detach()
    trainer.close(model)
    assert type(model.head) is Linear
    torch.testing.assert_close(model.head(x), tuned)
    # Opened again it answers as it did.
    trainer.open(model, truth, fresh=False)
    torch.testing.assert_close(model.head(x), tuned)
