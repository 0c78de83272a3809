"""Optimised graphs: fewer and quicker nodes, and the same answers."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from sartor.shrink.cascade import cascade_graphs
from sartor.shrink.graphs import every_node, inner_graphs
from tests.shrink.runs import batch, compressed, logits


def kinds(graph: onnx.GraphProto) -> Counter[str]:
    return Counter(node.op_type for node in every_node(graph))


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 128), (7, 30)])
def test_the_answers_are_those_of_attention_written_out(
    graphs: dict[str, Path], tmp_path: Path, rows: int, length: int
):
    fused = compressed("optimise_graph", graphs["both"], tmp_path / "fused")
    ids, mask = batch(rows, length)
    wanted = logits(graphs["both"], ids, mask)
    np.testing.assert_allclose(logits(fused, ids, mask), wanted, atol=1e-5)
    found = onnx.load(fused)
    assert kinds(found.graph)["MultiHeadAttention"] == 2
    assert kinds(found.graph)["Softmax"] == kinds(found.graph)["Transpose"] == 0
    heads = {onnx.helper.get_node_attr_value(n, "num_heads") for n in found.graph.node if n.domain}
    assert heads == {4}


def test_onnx_runtime_does_not_fuse_residuals_into_the_norm_when_it_loads_the_graph(
    graphs: dict[str, Path], tmp_path: Path
):
    quick = compressed("optimise_graph", graphs["top"], tmp_path / "quick")
    found: list[Counter[str]] = []
    for place in (graphs["top"], quick):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(place, options, providers=["CPUExecutionProvider"])
        found.append(kinds(onnx.load(tmp_path / "loaded.onnx").graph))
    as_exported, loaded = found
    assert as_exported["SkipLayerNormalization"] == 4, "else there is nothing to keep it from"
    assert loaded["SkipLayerNormalization"] == 0
    assert loaded["LayerNormalization"] == loaded["Sum"] == 5


def test_an_attention_in_a_branch_is_fused_too(graphs: dict[str, Path], tmp_path: Path):
    parts = (graphs["first"], 1.0), (graphs["other"], 1.0)
    cascade_graphs(*parts, 1.1, tmp_path / "c.onnx")
    fused = compressed("optimise_graph", tmp_path / "c.onnx", tmp_path / "fused")
    (fork,) = [n for n in onnx.load(fused).graph.node if n.op_type == "If"]
    assert sorted(kinds(b)["MultiHeadAttention"] for b in inner_graphs(fork)) == [0, 2]
    ids, mask = batch(9, 20)
    wanted = logits(tmp_path / "c.onnx", ids, mask)
    np.testing.assert_allclose(logits(fused, ids, mask), wanted, atol=1e-5)


@pytest.mark.parametrize(
    "order", [("optimise_graph", "int8_dynamic"), ("int8_dynamic", "optimise_graph")]
)
def test_it_composes_with_rounding_in_either_order(
    graphs: dict[str, Path], tmp_path: Path, order: tuple[str, str]
):
    path = graphs["top"]
    for name in order:
        path = compressed(name, path, tmp_path / name)
    found = kinds(onnx.load(path).graph)
    assert (found["MultiHeadAttention"], found["MatMulInteger"]) == (2, 13)
    ids, mask = batch(16, 20)
    one, other = logits(graphs["top"], ids, mask), logits(path, ids, mask)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98


def test_an_attention_written_otherwise_is_left_alone(graphs: dict[str, Path], tmp_path: Path):
    model = onnx.load(graphs["top"])
    softmax = next(n for n in model.graph.node if n.op_type == "Softmax")
    # A second reader of the normalised scores: they must go on being written down.
    extra = onnx.helper.make_node("Identity", [softmax.output[0]], ["kept"])
    for node in model.graph.node:
        if node.op_type == "Where" and softmax.output[0] in node.input:
            node.op_type, node.input[:] = "Identity", [softmax.output[0]]
    model.graph.node.append(extra)
    onnx.save(model, tmp_path / "odd.onnx")
    fused = compressed("optimise_graph", tmp_path / "odd.onnx", tmp_path / "fused")
    found = kinds(onnx.load(fused).graph)
    assert (found["MultiHeadAttention"], found["Softmax"]) == (1, 1)
    ids, mask = batch(3, 9)
    wanted = logits(graphs["top"], ids, mask)
    np.testing.assert_allclose(logits(fused, ids, mask), wanted, atol=1e-5)
