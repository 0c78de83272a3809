"""Exports of tests: what is filled into a known graph is what the exporter makes."""

import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from sartor.tasks.mastery.model import Sizes, Tracer
from tests.exports import ANEW, Filling, architecture


class Bag(nn.Module):
    """A table of words, their mean, and a head."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.table, self.head = nn.Embedding(30, 12), nn.Linear(12, 9)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        there = attention_mask.unsqueeze(-1).float()
        return self.head((self.table(input_ids) * there).sum(1) / there.sum(1))


@pytest.fixture(scope="module", autouse=True)
def filled_in() -> None:
    """Here each test says what exports."""


class Counted:
    """An exporter, and how often it was asked."""

    def __init__(self, export) -> None:
        self.export, self.times = export, 0

    def __call__(self, model: nn.Module) -> onnx.ModelProto:
        self.times += 1
        return self.export(model)


def written(made: onnx.ModelProto) -> bytes:
    return made.SerializeToString(deterministic=True)


def test_other_weights_are_filled_into_the_graph_that_the_exporter_makes(tmp_path):
    anew = Counted(ANEW)
    made = [Filling(tmp_path, anew)(Bag(seed).eval()) for seed in range(2)]
    assert anew.times == 1
    assert written(made[1]) == written(ANEW(Bag(1).eval()))
    assert written(made[0]) != written(made[1])


def test_a_graph_with_a_constant_that_is_no_weight_is_exported_each_time(tmp_path):
    def export(model: Bag) -> onnx.ModelProto:
        twice = 2 * model.head.weight.detach().numpy()
        kept = numpy_helper.from_array(twice, "head.weight")
        return helper.make_model(helper.make_graph([], "g", [], [], [kept]))

    anew = Counted(export)
    made = [Filling(tmp_path, anew)(Bag(seed)) for seed in range(3)]
    assert anew.times == 3
    assert [written(each) for each in made] == [written(export(Bag(seed))) for seed in range(3)]


def test_a_graph_that_answers_otherwise_than_its_model_is_exported_each_time(tmp_path):
    anew = Counted(lambda model: ANEW(Bag(0).eval()))
    wrong = Bag(1).eval()
    Filling(tmp_path, anew)(Bag(0).eval())
    (kept,) = tmp_path.glob("*.json")
    kept.write_text("{}")
    Filling(tmp_path, anew)(wrong)
    assert anew.times == 2


def test_an_architecture_is_all_but_the_weights():
    assert architecture(Bag(0)) == architecture(Bag(1))
    assert architecture(Bag(0)) != architecture(Bag(0).eval())
    steps = [architecture(Tracer(Sizes(4, 2, 1, steps))) for steps in (2, 3)]
    assert steps[0] != steps[1]
