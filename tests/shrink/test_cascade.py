"""A cascade in one graph: each row answered by the member that it should be answered by."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from sartor.core.errors import ModelError
from sartor.shrink.cascade import cascade_graphs
from sartor.shrink.graphs import every_graph
from tests.shrink.runs import batch, compressed, logits

CHEAP, DEAR = 2.0, 0.5
"""What the members' logits are multiplied with."""


def confidence(z: np.ndarray) -> np.ndarray:
    p = np.exp(z - z.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True)).max(1)


def operators(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for setting in node.attribute:
            yield from operators(setting.g)


def branch(path: Path, name: str) -> onnx.GraphProto:
    (fork,) = [node for node in onnx.load(path).graph.node if node.op_type == "If"]
    return next(a.g for a in fork.attribute if a.name == name)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 9), (7, 30), (16, 20)])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("dear", ["other", "top"])
def test_rows_that_the_cheap_member_is_unsure_of_get_the_dear_ones_logits(
    graphs: dict[str, Path], tmp_path: Path, dear: str, share: float, rows: int, length: int
):
    ids, mask = batch(rows, length)
    cheap, better = (
        CHEAP * logits(graphs["first"], ids, mask),
        DEAR * logits(graphs[dear], ids, mask),
    )
    sure = confidence(cheap)
    ranked = np.append(np.sort(sure), 1.1)
    threshold = float(ranked[round(share * rows)]) - 1e-4
    wanted = np.where((sure < threshold)[:, None], better, cheap)

    cascade_graphs((graphs["first"], CHEAP), (graphs[dear], DEAR), threshold, tmp_path / "c.onnx")

    np.testing.assert_allclose(logits(tmp_path / "c.onnx", ids, mask), wanted, atol=1e-5)
    assert (sure < threshold).sum() == round(share * rows)


def test_the_dear_member_is_not_run_where_no_row_climbs(graphs: dict[str, Path], tmp_path: Path):
    cascade_graphs((graphs["first"], CHEAP), (graphs["other"], DEAR), 0.5, tmp_path / "c.onnx")
    assert [n.op_type for n in branch(tmp_path / "c.onnx", "else_branch").node] == ["Identity"]
    above = {n.op_type for n in onnx.load(tmp_path / "c.onnx").graph.node}
    assert "Gelu" in above, "the cheap member is an encoder of one layer"
    kinds = [n.op_type for n in branch(tmp_path / "c.onnx", "then_branch").node]
    assert kinds.count("Gelu") == 2, "both layers of the dear one"


def test_weights_that_both_members_have_are_kept_once(graphs: dict[str, Path], tmp_path: Path):
    for dear in ("top", "other"):
        parts = (graphs["first"], CHEAP), (graphs[dear], DEAR)
        cascade_graphs(*parts, 0.5, tmp_path / f"{dear}.onnx")
    shared, apart = ((tmp_path / f"{n}.onnx").stat().st_size for n in ("top", "other"))
    assert shared < 0.75 * apart


@pytest.mark.parametrize("compressor", ["int8_dynamic", "int8_rows"])
@pytest.mark.parametrize("dear", ["other", "top"])
def test_rounding_reaches_the_dear_member(
    graphs: dict[str, Path], tmp_path: Path, dear: str, compressor: str
):
    whole = tmp_path / "c.onnx"
    cascade_graphs((graphs["first"], CHEAP), (graphs[dear], DEAR), 1.1, whole)
    smaller = compressed(compressor, whole, tmp_path / "small")
    assert smaller.stat().st_size < 0.6 * whole.stat().st_size
    held = [t.name for t in branch(smaller, "then_branch").initializer if np.prod(t.dims) > 1000]
    assert not [t for t in held if not t.endswith("_quantized")], "no matrix of floats is left"
    ids, mask = batch(16, 20)
    one, other = logits(whole, ids, mask), logits(smaller, ids, mask)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98


def test_a_dear_member_alone_is_enough_to_shrink(graphs: dict[str, Path], tmp_path: Path):
    whole = tmp_path / "c.onnx"
    cascade_graphs((graphs["first"], CHEAP), (graphs["other"], DEAR), 1.1, whole)
    smaller = compressed("int8_dynamic", whole, tmp_path / "small")
    kinds = list(operators(branch(smaller, "then_branch")))
    assert kinds.count("MatMulInteger") == 13, "six of each layer, and the head"


def test_what_both_members_have_is_rounded_once(graphs: dict[str, Path], tmp_path: Path):
    cascade_graphs((graphs["first"], CHEAP), (graphs["top"], DEAR), 0.7, tmp_path / "c.onnx")
    smaller = onnx.load(compressed("int8_rows", tmp_path / "c.onnx", tmp_path / "small"))
    kinds = list(operators(smaller.graph))
    assert kinds.count("MatMulIntegerToFloat") == 18, "six of each layer"
    assert len(smaller.graph.initializer) == len({t.name for t in smaller.graph.initializer})
    held = [t for graph in every_graph(smaller.graph) for t in graph.initializer]
    sizes = Counter(tuple(t.dims) for t in held if t.data_type == TensorProto.INT8)
    assert sizes[32, 32] == 4 * 2, "queries, keys, values and outputs of two layers"
    floats = [t for t in held if t.data_type == TensorProto.FLOAT]
    assert not [t.name for t in floats if np.prod(t.dims) >= 1_024]


def test_rows_of_a_rounded_cascade_are_answered_alike_alone_and_beside_others(
    graphs: dict[str, Path], tmp_path: Path
):
    cascade_graphs((graphs["first"], CHEAP), (graphs["other"], DEAR), 0.6, tmp_path / "c.onnx")
    smaller = compressed("int8_rows", tmp_path / "c.onnx", tmp_path / "small")
    ids, mask = batch(16, 20)
    together = logits(smaller, ids, mask)
    alone = [logits(smaller, ids[row : row + 1], mask[row : row + 1]) for row in range(16)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_making_it_again_gives_the_same_bytes(graphs: dict[str, Path], tmp_path: Path):
    for name in ("one", "two"):
        parts = (graphs["both"], CHEAP), (graphs["other"], DEAR)
        cascade_graphs(*parts, 0.7, tmp_path / f"{name}.onnx")
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_a_cascade_is_no_member_of_another(graphs: dict[str, Path], tmp_path: Path):
    cascade_graphs((graphs["first"], CHEAP), (graphs["other"], DEAR), 0.5, tmp_path / "c.onnx")
    with pytest.raises(ModelError, match="control-flow node If"):
        cascade_graphs((graphs["first"], 1), (tmp_path / "c.onnx", 1), 0.5, tmp_path / "d.onnx")
