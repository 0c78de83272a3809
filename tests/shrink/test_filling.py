"""Exports of tests: what is filled into a known graph is what the exporter makes."""

import numpy as np
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


def test_third_weights_are_filled_into_the_graph_that_the_exporter_makes(tmp_path):
    anew = Counted(ANEW)
    made = [Filling(tmp_path, anew)(Bag(seed).eval()) for seed in range(3)]
    assert anew.times == 2, "the first to know the graph, the second to prove it"
    assert written(made[2]) == written(ANEW(Bag(2).eval()))
    assert len(set(map(written, made))) == 3


@pytest.mark.parametrize("odd", ["a constant that is no weight", "a graph that weights change"])
def test_what_cannot_be_filled_in_is_exported_each_time(tmp_path, odd):
    def export(model: Bag) -> onnx.ModelProto:
        weight = model.head.weight.detach().numpy()
        held = weight * 2 if odd.startswith("a constant") else weight
        kept = numpy_helper.from_array(np.ascontiguousarray(held), "head.weight")
        name = "g" if odd.startswith("a constant") else f"g{weight[0, 0]}"
        return helper.make_model(helper.make_graph([], name, [], [], [kept]))

    anew = Counted(export)
    filling = Filling(tmp_path, anew)
    made = [filling(Bag(seed)) for seed in range(4)]
    assert anew.times == 4
    assert [written(each) for each in made] == [written(export(Bag(seed))) for seed in range(4)]


def test_an_architecture_is_all_but_the_weights():
    assert architecture(Bag(0)) == architecture(Bag(1))
    assert architecture(Bag(0)) != architecture(Bag(0).eval())
    steps = [architecture(Tracer(Sizes(4, 2, 1, steps))) for steps in (2, 3)]
    assert steps[0] != steps[1]
