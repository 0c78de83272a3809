"""What a method may do besides opening tensors: the loop asks for it where the method has it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.core.events import Event, StageProgress
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.loop import Rows, Watch, log_loss, score, train
from sartor.tune.settings import Loop
from tests.tune.bag import Bag, bag_recipe, bag_rows

DATA = (bag_rows(64, 1), bag_rows(24, 2))
EIGHT = Loop(epochs=2, batch_rows=16, batch_tokens=100_000, patience=99)
"""Four batches an epoch."""


@dataclass
class Thawing:
    """Freezes the encoder for `wait` steps; counts what it was told in a tensor of its own."""

    wait: int
    steps: int = 0
    seen: list[int] = field(default_factory=list)
    gradients: list[bool] = field(default_factory=list)

    def begin(self, model: nn.Module, steps: int) -> None:
        self.steps = steps
        model.encoder.requires_grad_(False)

    def after_step(self, model: nn.Module, step: int) -> None:
        self.seen.append(step)
        self.gradients.append(model.encoder.weight.grad is not None)
        model.encoder.requires_grad_(step >= self.wait)

    def state(self, model: nn.Module) -> Mapping[str, Tensor]:
        return {"open": torch.tensor(model.encoder.weight.requires_grad)}

    def restore(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        model.encoder.requires_grad_(bool(state["open"]))


def test_a_schedule_thaws_tensors_when_it_wants_to():
    schedule = Thawing(wait=5)

    train(Bag(), DATA, bag_recipe(EIGHT, method=schedule), Watch())

    assert schedule.steps == 8
    assert schedule.seen == list(range(1, 9))
    assert schedule.gradients == [False] * 5 + [True] * 3


def test_a_tensor_that_a_schedule_never_thaws_stays_as_it_was():
    model = Bag()
    before = model.encoder.weight.detach().clone()

    train(model, DATA, bag_recipe(EIGHT, method=Thawing(wait=99)), Watch())

    assert torch.equal(model.encoder.weight, before)


class Resetting(Thawing):
    """Sets the head's bias back to where it began, as a rank that is masked out."""

    def begin(self, model: nn.Module, steps: int) -> None:
        self.bias = model.head.bias.detach().clone()

    def after_step(self, model: nn.Module, step: int) -> None:
        with torch.no_grad():
            model.head.bias.copy_(self.bias)


def test_a_tensor_that_moved_and_was_set_back_is_no_fault():
    train(Bag(), DATA, bag_recipe(EIGHT, method=Resetting(wait=0)), Watch())


@pytest.mark.parametrize("killed_after", [3, 5, 7])
def test_a_resumed_run_finds_its_schedule_where_it_was(tmp_path: Path, killed_after: int):
    class Stop(Exception):
        pass

    def stop(event: Event) -> None:
        if isinstance(event, StageProgress) and event.done >= killed_after:
            raise Stop

    straight, resumed = Bag(), Bag()
    train(straight, DATA, bag_recipe(EIGHT, method=Thawing(wait=4)), Watch())
    watch = Watch(Checkpoints(tmp_path), every_steps=2, emit=stop)
    with pytest.raises(Stop):
        train(Bag(), DATA, bag_recipe(EIGHT, method=Thawing(wait=4)), watch)
    again = Thawing(wait=4)
    train(resumed, DATA, bag_recipe(EIGHT, method=again), Watch(Checkpoints(tmp_path)))

    assert again.seen[0] == killed_after, "it resumes at the last even step"
    for ours, theirs in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@dataclass
class Pulling:
    """Pulls the head's weights towards zero, hard."""

    strength: float

    def penalty(self, model: nn.Module) -> Tensor:
        return self.strength * model.head.weight.square().sum()


def test_a_penalty_is_added_to_the_loss_once_a_step():
    # One step of one batch, and of two accumulated: the loss that is told holds one penalty each.
    told = [
        train(
            Bag(),
            DATA,
            bag_recipe(
                Loop(epochs=1, max_steps=1, batch_rows=rows, accumulate=n, batch_tokens=100_000),
                method=Pulling(s),
            ),
            Watch(),
        ).history[0]["train_loss"]
        for s in (0.0, 3.0)
        for rows, n in ((64, 1), (32, 2))
    ]

    once = 3.0 * Bag().head.weight.square().sum().item()
    assert told[2] - told[0] == pytest.approx(once, rel=1e-5)
    assert told[3] - told[1] == pytest.approx(once, rel=1e-5)


def test_a_penalty_pulls():
    free, pulled = Bag(), Bag()

    train(free, DATA, bag_recipe(EIGHT), Watch())
    train(pulled, DATA, bag_recipe(EIGHT, method=Pulling(10.0)), Watch())

    assert pulled.head.weight.norm() < 0.7 * free.head.weight.norm()


class Contrary:
    """Trains towards the wrong labels."""

    def loss(self, model: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(*inputs), 1 - labels)


def test_an_objective_takes_the_place_of_the_tasks_loss():
    model, (rows, held) = Bag(), DATA

    train(model, (rows, held), bag_recipe(replace(EIGHT, epochs=6), method=Contrary()), Watch())

    # The best weights by the true labels are kept; those are the first it saw.
    assert log_loss(score(model, held.inputs), held.labels) > math.log(2)


@dataclass
class States:
    """Rows that are vectors already."""

    vectors: Tensor

    def lengths(self) -> NDArray[np.int64]:
        return np.ones(len(self.vectors), dtype=np.int64)

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        chosen = self.vectors[torch.from_numpy(rows)]
        return chosen, chosen * 2, torch.ones(len(rows), 1, dtype=torch.int64)


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, one: Tensor, two: Tensor, mask: Tensor) -> Tensor:
        return self.head((one + two) * mask)


def test_rows_need_not_be_tokens():
    vectors = torch.randn(120, 4, generator=torch.Generator().manual_seed(1))
    labels = (vectors[:, 0] > 0).long().numpy()
    rows = Rows(States(vectors), labels)
    model = Sum()

    trained = train(model, (rows, rows), bag_recipe(EIGHT), Watch())

    assert trained.tokens == 240, "a token a row, twice"
    assert (score(model, rows.inputs).argmax(1) == labels).mean() > 0.9
    some = score(model, rows.inputs, rows=[7, 3])
    np.testing.assert_allclose(some, score(model, rows.inputs)[[7, 3]], atol=1e-6)
