"""Several graphs in one: the weighted sum of their logits, what they share computed once."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sartor.core.errors import ModelError
from sartor.shrink.merge import merge_graphs
from tests.shrink.runs import GRAPH_COMPRESSORS, batch, compressed, logits

BLOCK = 4 * 32 * 32 + 2 * 32 * 64
"""Weights in the matrices of one layer of the tiny BERT."""


def matrices(path: Path) -> int:
    """Weights in the square matrices of a graph, or of what was made smaller of it."""
    sizes = [tuple(t.dims) for t in onnx.load(path).graph.initializer]
    return sum(
        int(np.prod(s)) for s in sizes if len(s) == 2 and s in {(32, 32), (32, 64), (64, 32)}
    )


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (7, 30)])
@pytest.mark.parametrize("names", [("top", "first", "both"), ("top", "other"), ("both",)])
def test_the_merged_graph_answers_the_weighted_sum_of_its_members(
    graphs: dict[str, Path], tmp_path: Path, names: tuple[str, ...], rows: int, length: int
):
    weights = [0.5, 0.3, 0.2][: len(names)]
    merge_graphs([(graphs[n], w) for n, w in zip(names, weights, strict=True)], tmp_path / "m.onnx")
    ids, mask = batch(rows, length)
    wanted = sum(w * logits(graphs[n], ids, mask) for n, w in zip(names, weights, strict=True))
    np.testing.assert_allclose(logits(tmp_path / "m.onnx", ids, mask), wanted, atol=1e-5)


def test_a_matrix_a_member_and_a_bias_make_a_stack(graphs: dict[str, Path], tmp_path: Path):
    draw = np.random.default_rng(0)
    ids, mask = batch(7, 30)
    matrices, bias = draw.normal(size=(2, 3, 3)), draw.normal(size=3)
    parts = [(graphs[n], m.tolist()) for n, m in zip(("both", "other"), matrices, strict=True)]
    merge_graphs(parts, tmp_path / "m.onnx", bias.tolist())
    members = (logits(graphs[n], ids, mask) for n in ("both", "other"))
    wanted = sum(z @ m.T for z, m in zip(members, matrices, strict=True)) + bias
    np.testing.assert_allclose(logits(tmp_path / "m.onnx", ids, mask), wanted, atol=1e-4)

    smaller = compressed("int8_dynamic", tmp_path / "m.onnx", tmp_path / "small")
    held = {t.name: t for t in onnx.load(smaller).graph.initializer}
    factors = [t for name, t in held.items() if name.startswith("factor")]
    assert [t.data_type for t in factors] == [onnx.TensorProto.FLOAT] * 2, "they stay as they are"


def test_members_that_read_one_encoder_keep_one_encoder(graphs: dict[str, Path], tmp_path: Path):
    assert matrices(graphs["top"]) == 2 * BLOCK
    merge_graphs([(graphs[n], 0.3) for n in ("top", "first", "both")], tmp_path / "m.onnx")
    assert matrices(tmp_path / "m.onnx") == 2 * BLOCK
    nodes = len(onnx.load(tmp_path / "m.onnx").graph.node)
    assert nodes < len(onnx.load(graphs["both"]).graph.node) + 10, "the layers are run once"


def test_members_of_other_weights_keep_their_own(graphs: dict[str, Path], tmp_path: Path):
    merge_graphs([(graphs["top"], 0.5), (graphs["other"], 0.5)], tmp_path / "m.onnx")
    assert matrices(tmp_path / "m.onnx") == 4 * BLOCK


@pytest.mark.parametrize("name", GRAPH_COMPRESSORS)
def test_every_compressor_works_on_a_merged_graph(
    name: str, graphs: dict[str, Path], tmp_path: Path
):
    merged = tmp_path / "m.onnx"
    merge_graphs([(graphs["both"], 0.6), (graphs["other"], 0.4)], merged)
    smaller = compressed(name, merged, tmp_path / "small")
    assert smaller.stat().st_size < 0.8 * merged.stat().st_size
    ids, mask = batch(16, 20)
    one, other = logits(merged, ids, mask), logits(smaller, ids, mask)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98


def test_merging_again_gives_the_same_bytes(graphs: dict[str, Path], tmp_path: Path):
    parts = [(graphs["both"], 0.6), (graphs["other"], 0.4)]
    merge_graphs(parts, tmp_path / "one.onnx")
    merge_graphs(parts, tmp_path / "two.onnx")
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def plain(path: Path, *nodes: onnx.NodeProto, opset: int = 20) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input_ids", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10),
        path,
    )
    return path


def test_two_draws_are_not_one(tmp_path: Path):
    draw = helper.make_node("RandomNormalLike", ["input_ids"], ["logits"])
    member = plain(tmp_path / "draw.onnx", draw)
    merge_graphs([(member, 0.5), (member, 0.5)], tmp_path / "m.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert kinds.count("RandomNormalLike") == 2


def test_graphs_for_other_operators_are_refused(graphs: dict[str, Path], tmp_path: Path):
    old = plain(
        tmp_path / "old.onnx", helper.make_node("Relu", ["input_ids"], ["logits"]), opset=13
    )
    with pytest.raises(ModelError, match=r"old\.onnx was exported for other operators"):
        merge_graphs([(graphs["top"], 0.5), (old, 0.5)], tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
