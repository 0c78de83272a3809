"""Regularisers: right by hand, at work when asked for, resumable, and absent when not."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sartor.core.errors import SettingError
from sartor.core.events import Event, StageProgress
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.loop import Trained, Watch, log_loss, score, train
from sartor.tune.recipe import Recipe
from sartor.tune.regularise.averaging import Averaging
from sartor.tune.regularise.consistency import RDrop, divergence
from sartor.tune.regularise.mixup import Mixup
from sartor.tune.regularise.starting_point import StartingPoint
from sartor.tune.settings import Loop
from tests.tune.bag import Bag, bag_recipe, bag_rows

DATA = (bag_rows(64, 1, noise=0.2), bag_rows(40, 2, noise=0.2))
PLAIN = Loop(epochs=3, batch_rows=16, batch_tokens=100_000, patience=99)
"""Twelve steps."""
SETTINGS: dict[str, dict[str, Any]] = {
    "ema": {"average": "ema", "average_start": 0.2},
    "swa": {"average": "swa", "average_start": 0.2},
    "r_drop": {"r_drop": 2.0},
    "mixup": {"mixup": 0.4},
    "l2_sp": {"l2_sp": 1.0},
}


def _recipe(settings: dict[str, Any], model: Bag) -> Recipe:
    recipe = bag_recipe(replace(PLAIN, **settings))
    return replace(recipe, pretrained={model.encoder.weight})


def _train(model: Bag, settings: dict[str, Any], watch: Watch | None = None) -> Trained:
    return train(model, DATA, _recipe(settings, model), watch or Watch())


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_changes_what_training_finds(name: str):
    plain, regularised = Bag(dropout=0.3), Bag(dropout=0.3)

    _train(plain, {})
    _train(regularised, SETTINGS[name])

    assert not torch.allclose(plain.head.weight, regularised.head.weight, atol=1e-4)


@pytest.mark.parametrize("name", SETTINGS)
def test_each_resumes_to_the_bit(tmp_path: Path, name: str):
    class Stop(Exception):
        pass

    def stop(event: Event) -> None:
        if isinstance(event, StageProgress) and event.done >= 7:
            raise Stop

    straight, resumed = Bag(dropout=0.3), Bag(dropout=0.3)
    told = _train(straight, SETTINGS[name])
    watch = Watch(Checkpoints(tmp_path), every_steps=2, emit=stop)
    with pytest.raises(Stop):
        _train(Bag(dropout=0.3), SETTINGS[name], watch)
    again = _train(resumed, SETTINGS[name], Watch(Checkpoints(tmp_path)))

    assert again.history == told.history
    for ours, theirs in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def _averaged(kind: str, *, steps: int, **settings: Any) -> tuple[Tensor, list[Tensor]]:
    """The average that a walk of one tensor leaves, and the walk."""
    tensor = nn.Parameter(torch.zeros(3))
    average = Averaging({"w": tensor}, Loop(average=kind, **settings), steps)  # type: ignore[arg-type]
    random, walk = torch.Generator().manual_seed(1), list[Tensor]()
    for step in range(1, steps + 1):
        with torch.no_grad():
            tensor += torch.randn(3, generator=random)
        walk.append(tensor.detach().clone())
        average.after_step(step)
    with average.evaluated() as shown:
        assert torch.equal(tensor, shown["w"]), "the model holds the average inside the block"
    assert torch.equal(tensor, walk[-1]), "and its own weights after it"
    return shown["w"], walk


def test_swa_is_the_mean_of_the_weights_after_its_start():
    found, walk = _averaged("swa", steps=10, average_start=0.4)

    torch.testing.assert_close(found, torch.stack(walk[4:]).mean(0))


def test_ema_decays_towards_the_newest_weights_slowly_at_first():
    found, walk = _averaged("ema", steps=30, average_start=0.0, average_decay=0.5)

    expected = walk[0]
    for count, weights in enumerate(walk[1:], start=2):
        decay = min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(found, expected)


def test_the_averaged_weights_are_those_evaluated_and_kept():
    model = Bag()

    trained = _train(model, SETTINGS["swa"] | {"evaluations": 1, "epochs": 1, "average_start": 0.0})

    found = log_loss(score(model, DATA[1].inputs), DATA[1].labels)
    assert trained.history[-1]["validation_log_loss"] == pytest.approx(found, abs=1e-7)
    last = Bag()
    other = _train(last, {"evaluations": 1, "epochs": 1})
    assert other.history[-1]["train_loss"] == trained.history[-1]["train_loss"], "same descent"
    assert other.history[-1]["validation_log_loss"] != pytest.approx(found, abs=1e-4)


def test_the_divergence_is_that_of_hand_computed_distributions():
    # p = (3/4, 1/4), q = (1/2, 1/2)
    p, q = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[5.0, 5.0]])

    forth = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    back = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert divergence(p, q).item() == pytest.approx((forth + back) / 2, rel=1e-5)
    assert divergence(p, p).item() == pytest.approx(0, abs=1e-7)


def _gradient_is_right(value: Callable[[], Tensor], tensor: Tensor) -> None:
    """Against central differences."""
    (found,) = torch.autograd.grad(value(), tensor)
    expected = torch.zeros_like(tensor)
    with torch.no_grad():
        flat = tensor.view(-1)
        for i in range(flat.numel()):
            here = flat[i].clone()
            flat[i] = here + 1e-2
            above = value()
            flat[i] = here - 1e-2
            expected.view(-1)[i] = (above - value()) / 2e-2
            flat[i] = here
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=3e-4)


class Two(nn.Module):
    """Answers what it is told, differently at the second call."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(4, 3))]
        self.dropout, self.calls = nn.Dropout(0.1), 0

    def forward(self, _: Tensor) -> Tensor:
        self.calls += 1
        return self.answers[(self.calls - 1) % 2]


def test_r_drop_adds_the_divergence_to_the_mean_loss_of_both_passes():
    torch.manual_seed(3)
    model, labels = Two(), torch.tensor([0, 1, 2, 1])
    part = RDrop(nn.functional.cross_entropy, 1.5)
    ignored = (torch.zeros(4),)

    one, two = (nn.functional.cross_entropy(z, labels) for z in model.answers)
    expected = (one + two) / 2 + 1.5 * divergence(*model.answers)
    assert part.loss(model, ignored, labels).item() == pytest.approx(expected.item(), rel=1e-6)
    for answer in model.answers:
        _gradient_is_right(lambda: part.loss(model, ignored, labels), answer)


def test_r_drop_without_dropout_is_refused():
    with pytest.raises(SettingError, match=r"r_drop=1.0 .* drops nothing") as caught:
        _train(Bag(), {"r_drop": 1.0})

    assert "dropout" in caught.value.fix


def test_mixup_blends_rows_at_the_heads_input_and_their_labels():
    model, rows = Bag(), bag_rows(8, 4)
    inputs, labels = rows.inputs.batch(torch.arange(8).numpy()), torch.from_numpy(rows.labels)
    seen: list[Tensor] = []
    with model.head.register_forward_pre_hook(lambda _, taken: seen.append(taken[0])):
        model(*inputs)
    (features,) = seen
    part = Mixup(nn.functional.cross_entropy, 0.7)
    torch.manual_seed(5)
    found = part.loss(model, inputs, labels)
    torch.manual_seed(5)
    share = torch.distributions.Beta(0.7, 0.7).sample().item()
    partner = torch.randperm(8)

    mixed = model.head(share * features + (1 - share) * features[partner])
    # The loss of blended one-hot targets, which is linear in the target.
    hot = nn.functional.one_hot(labels, 2).float()
    target = share * hot + (1 - share) * hot[partner]
    expected = -(target * mixed.log_softmax(-1)).sum(-1).mean()
    assert 0.01 < share < 0.99
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(model(*inputs), model.head(features)), "nothing is left in the model"


def test_l2_sp_is_half_the_squared_way_from_the_start_and_pulls_back_along_it():
    weight, bias = nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(3))
    part = StartingPoint([weight, bias], 0.4)
    assert part.penalty(nn.Module()).item() == 0

    with torch.no_grad():
        weight += 2.0
    found = part.penalty(nn.Module())

    assert found.item() == pytest.approx(0.4 / 2 * 6 * 4)
    (gradient,) = torch.autograd.grad(found, weight)
    torch.testing.assert_close(gradient, torch.full((2, 3), 0.4 * 2.0))


def test_l2_sp_holds_the_pretrained_tensors_and_lets_the_head_go():
    free, held, start = Bag(), Bag(), Bag()

    _train(free, {})
    _train(held, {"l2_sp": 30.0})

    def way(model: Bag, name: str) -> float:
        away = model.get_parameter(name) - start.get_parameter(name)
        return away.detach().norm().item()

    assert way(held, "encoder.weight") < 0.5 * way(free, "encoder.weight")
    assert way(held, "head.weight") > 0.5 * way(free, "head.weight")


def test_l2_sp_where_nothing_pretrained_trains_is_refused():
    recipe = _recipe({"l2_sp": 1.0}, Bag())

    with pytest.raises(SettingError, match="the method trains none of them"):
        train(Bag(), DATA, recipe, Watch())


def test_two_parts_with_a_loss_of_their_own_are_refused():
    with pytest.raises(SettingError, match="r_drop and mixup each have a loss") as caught:
        _train(Bag(dropout=0.1), {"r_drop": 1.0, "mixup": 0.2})

    assert caught.value.fix == "keep one of them: leave mixup out."
