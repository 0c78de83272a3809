"""Weights that are set to zero where they stand."""

import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from sartor.core.errors import NothingToShrink
from sartor.shrink.api import COMPRESSORS
from sartor.shrink.compressors.prune_weights import PruneWeights, _norms
from sartor.shrink.students import Whole
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import load
from tests.shrink.pupils import School, check_laws, right


def linears(form) -> list[nn.Linear]:
    model = load(form.fit)
    assert isinstance(model, TextClassifier)
    return [m for m in model.encoder.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize("by", ["wanda", "magnitude"])
def test_the_share_goes_of_each_output_and_only_the_zipped_graph_is_smaller(
    by: str, pupils: School, tmp_path: Path
):
    made = check_laws(pupils, "prune_weights", tmp_path, by=by, sparsity=0.25)

    for layer in linears(made):
        zeros = (layer.weight == 0).sum(1)
        assert set(zeros.tolist()) == {layer.in_features // 4}
    before, after = pupils.form.graph.read_bytes(), made.graph.read_bytes()
    assert len(after) == len(before)
    assert len(zlib.compress(after)) < 0.95 * len(zlib.compress(before))
    assert right(made) >= right(pupils.form) - 0.1


def test_it_says_that_it_eases_nothing():
    assert PruneWeights.eases == ()


def test_an_input_that_is_always_small_loses_its_weights_first(pupils: School):
    whole = Whole.read("prune_weights", pupils.form, pupils.bench)
    layer = whole.layers()[0].get_submodule("intermediate.dense")
    before = whole.layers()[0].get_submodule("attention.output.LayerNorm")
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        before.weight[3] = 0  # type: ignore[index, operator]
        before.bias[3] = 1e-6  # type: ignore[index, operator]
        layer.weight[:, 3] = 100
    (norm,) = _norms(whole, [layer], 16)
    worth = layer.weight.detach().abs() * norm
    assert (worth.argmin(1) == 3).all(), "however large they are"


def test_padding_does_not_count(pupils: School):
    whole = Whole.read("prune_weights", pupils.form, pupils.bench)
    layer = whole.layers()[0].get_submodule("intermediate.dense")
    assert isinstance(layer, nn.Linear)
    rows = pupils.bench.train.take([0, 1, 2])
    together = replace(whole, bench=replace(whole.bench, train=rows))
    (found,) = _norms(together, [layer], 3)
    alone = torch.zeros_like(found)
    for i in range(3):
        one = replace(whole, bench=replace(whole.bench, train=rows.take([i])))
        alone += _norms(one, [layer], 3)[0] ** 2
    torch.testing.assert_close(found, alone.sqrt(), rtol=1e-4, atol=1e-4)


def test_a_share_that_is_no_weight_is_said(pupils: School, tmp_path: Path):
    with pytest.raises(NothingToShrink, match="no weight of any layer"):
        COMPRESSORS.get("prune_weights")(sparsity=0.01).compress(
            pupils.form, tmp_path, pupils.bench
        )
