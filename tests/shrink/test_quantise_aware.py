"""Int8 that was trained for."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from sartor.shrink.api import COMPRESSORS, Form
from sartor.shrink.export import to_onnx
from sartor.tasks.text_classification.train import load
from sartor.tune.rounding import seen_in_int8
from tests.shrink.pupils import HELD, School, answers, check_laws, right
from tests.shrink.runs import batch, logits


def test_the_graph_is_int8_the_weights_are_floats_and_the_answers_stay(
    pupils: School, tmp_path: Path
):
    made = check_laws(pupils, "quantise_aware", tmp_path, lr=1e-3)

    kinds = [node.op_type for node in onnx.load(made.graph).graph.node]
    assert kinds.count("MatMulInteger") > 20
    assert made.graph.stat().st_size < 0.55 * pupils.form.graph.stat().st_size
    assert made.fit is not None
    assert all(tensor.dtype == torch.float32 for tensor in load(made.fit).state_dict().values())
    assert right(made) >= right(pupils.form) - 0.1


def test_training_computes_what_the_quantised_graph_does(pupils: School, tmp_path: Path):
    """One text at a time, as a scale of the graph is of the whole product."""
    assert pupils.form.fit is not None
    COMPRESSORS.get("int8_dynamic")().compress(pupils.form, tmp_path, pupils.bench)
    model = load(pupils.form.fit)
    with torch.no_grad(), seen_in_int8(model):
        for length in (5, 9, 17, 30):
            ids, _ = batch(1, length)
            mask = np.ones_like(ids)
            seen = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
            served = logits(tmp_path / "model.onnx", ids, mask)
            np.testing.assert_allclose(seen, served, atol=1e-4)
            assert np.abs(served - logits(pupils.form.graph, ids, mask)).max() > 1e-3


@pytest.mark.slow
def test_weights_that_learnt_under_rounding_lose_less_by_it(pupils: School, tmp_path: Path):
    """Against the same tune without rounding: how far int8 answers are from the floats'."""
    moved = {}
    for name, int8 in (("aware", True), ("unaware", False)):
        retrain = pupils.bench.retrain
        assert retrain is not None
        assert pupils.form.fit is not None
        settings = {"epochs": 3, "lr": 2e-3, "head_lr": 2e-3, "patience": 99, "int8": int8}
        fitted = retrain(pupils.form.fit, settings)
        (tmp_path / name).mkdir()
        graph = tmp_path / name / "float.onnx"
        to_onnx(fitted.folder, "text_classification", graph)
        form = Form(graph, pupils.form.tokenizer)
        COMPRESSORS.get("int8_dynamic")().compress(form, tmp_path / name, pupils.bench)
        texts = HELD.inputs["text"]
        change = answers(form, texts) - answers(form.left_in(tmp_path / name), texts)
        moved[name] = float(np.abs(change).mean() / answers(form, texts).std())
    assert moved["aware"] < moved["unaware"]
