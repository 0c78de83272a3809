"""The loop: stops early, keeps the best, honours the deadline, refuses what cannot be right."""

import math
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sartor.core.errors import Diverged, SettingError
from sartor.core.events import StageProgress
from sartor.tune.batching import Tokens
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.loop import Watch, log_loss, score, train
from sartor.tune.settings import Loop
from tests.tune.bag import Bag, bag_recipe, bag_rows


def test_training_learns_and_ends_with_the_best_weights_it_saw():
    model, held = Bag(), bag_rows(60, 2, noise=0.2)

    trained = train(
        model,
        (bag_rows(150, 1, noise=0.2), held),
        bag_recipe(Loop(epochs=25, patience=99)),
        Watch(),
    )

    losses = [entry["validation_log_loss"] for entry in trained.history]
    assert losses[-1] > min(losses), "it never overfitted; the test would be vacuous"
    assert log_loss(score(model, held.inputs), held.labels) == pytest.approx(min(losses), abs=1e-6)
    assert min(losses) < math.log(2)


def test_it_stops_when_patience_runs_out():
    settings = Loop(epochs=60, patience=2, evaluations=1)
    data = (bag_rows(40, 1, noise=0.5), bag_rows(40, 2, noise=0.5))

    trained = train(Bag(), data, bag_recipe(settings), Watch())

    losses = [entry["validation_log_loss"] for entry in trained.history]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 2 < 60


def test_the_step_limit_holds_and_the_last_step_is_evaluated():
    trained = train(
        Bag(), (bag_rows(80, 1), bag_rows(20, 2)), bag_recipe(Loop(epochs=9, max_steps=4)), Watch()
    )

    assert trained.steps == 4
    assert trained.history[-1]["step"] == 4


def test_accumulation_makes_fewer_steps_of_the_samebag_rows():
    data = (bag_rows(64, 1), bag_rows(20, 2))

    one = train(Bag(), data, bag_recipe(Loop(epochs=1, batch_rows=8)), Watch())
    four = train(Bag(), data, bag_recipe(Loop(epochs=1, batch_rows=8, accumulate=4)), Watch())

    assert four.steps == math.ceil(one.steps / 4)
    assert four.tokens == one.tokens == data[0].inputs.lengths().sum()


def test_a_loss_that_is_not_a_number_ends_with_a_fix():
    model = Bag()
    with torch.no_grad():
        model.head.weight[0, 0] = math.nan

    with pytest.raises(Diverged, match="step 1 of") as caught:
        train(model, (bag_rows(20, 1), bag_rows(8, 2)), bag_recipe(Loop(epochs=1)), Watch())

    assert "lower the learning rate (lr=0.05 now)" in caught.value.fix


def test_a_tensor_the_loss_does_not_reach_is_reported():
    model = Bag()
    model.spare = nn.Linear(3, 3)

    with pytest.raises(SettingError, match=r"2 of 5 trainable tensors did not move .*spare"):
        train(model, (bag_rows(80, 1), bag_rows(8, 2)), bag_recipe(Loop(batch_rows=8)), Watch())


def test_the_deadline_ends_it_at_a_step_and_a_resumed_run_ends_at_the_same(tmp_path: Path):
    data, settings = (bag_rows(200, 1), bag_rows(20, 2)), bag_recipe(Loop(epochs=50, patience=999))
    told: list[int] = []

    def slowly(event: object) -> None:
        if isinstance(event, StageProgress):
            time.sleep(0.01)

    book = Checkpoints(tmp_path)
    first, model = Bag(), Bag()
    soon = time.monotonic() + 0.2
    cut = train(first, data, settings, Watch(book, deadline=soon, on_cut=told.append, emit=slowly))
    again = train(model, data, settings, Watch(Checkpoints(tmp_path), cut_at=told[0]))

    assert cut.cut
    assert again.cut
    assert 1 <= cut.steps == again.steps == told[0] < 350
    assert cut.history == again.history
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), model.parameters(), strict=True)
    )


def test_the_callers_random_generators_are_left_alone():
    torch.manual_seed(11)
    np.random.seed(11)
    random.seed(11)
    expected = (torch.rand(1).item(), np.random.rand(), random.random())
    torch.manual_seed(11)
    np.random.seed(11)
    random.seed(11)

    model = Bag()
    torch.manual_seed(11)
    train(model, (bag_rows(20, 1), bag_rows(8, 2)), bag_recipe(Loop(epochs=1)), Watch())

    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_scores_come_back_in_the_rows_order():
    model, rows = Bag(), bag_rows(30, 1)

    together = score(model, rows.inputs)

    for i in (0, 13, 29):
        alone = score(model, Tokens([rows.inputs.ids[i]], 0))
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)


def test_log_loss_is_the_mean_negative_log_probability_even_of_huge_logits():
    logits = np.array([[1000.0, 0.0], [0.0, 0.0]], dtype=np.float32)

    assert log_loss(logits, np.array([0, 1])) == pytest.approx(math.log(2) / 2)


def test_it_trains_in_a_process_that_has_trained_in_another_precision_before():
    script = """
from accelerate import Accelerator
Accelerator(mixed_precision="bf16")
import torch
from sartor.tune.loop import Watch, train
from sartor.tune.settings import Loop
from tests.tune.bag import Bag, bag_recipe, bag_rows
torch.set_num_threads(1)
train(Bag(), (bag_rows(20, 1), bag_rows(8, 2)), bag_recipe(Loop(epochs=1)), Watch())
kinds = []
model = Bag()
model.register_forward_hook(lambda module, args, out: kinds.append(out.dtype))
train(model, (bag_rows(20, 1), bag_rows(8, 2)), bag_recipe(Loop(epochs=1)), Watch())
print(set(kinds))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )

    assert ran.stdout.strip() == "{torch.float32}", ran.stderr
