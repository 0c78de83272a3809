"""Int8 row by row: a text's answer does not depend on the texts beside it."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from sartor.shrink.api import Form
from sartor.shrink.compressors.int8_dynamic import Int8Dynamic
from sartor.shrink.compressors.int8_rows import Int8Rows
from sartor.testing.workbench import Workbench


def made(bench: Workbench, kind: type[Int8Rows] | type[Int8Dynamic], to: Path) -> Form:
    to.mkdir()
    kind().compress(bench.form, to, bench.bench)
    return bench.form.left_in(to)


def apart(form: Form) -> float:
    """How far the logits of texts asked together lie from those of each alone."""
    draw = np.random.default_rng(0)
    ids = draw.integers(5, 40, (12, 20))
    mask = (np.arange(20) < draw.integers(3, 21, (12, 1))).astype(np.int64)
    session = onnxruntime.InferenceSession(form.graph, providers=["CPUExecutionProvider"])

    def asked(rows: slice) -> np.ndarray:
        given = {"input_ids": ids[rows], "attention_mask": mask[rows]}
        return np.asarray(session.run(None, given)[0])

    alone = np.concatenate([asked(slice(row, row + 1)) for row in range(len(ids))])
    return float(np.abs(asked(slice(None)) - alone).max())


def test_a_text_is_answered_alike_alone_and_beside_others(bench: Workbench, tmp_path: Path):
    assert apart(made(bench, Int8Rows, tmp_path / "rows")) < 1e-5
    assert apart(made(bench, Int8Dynamic, tmp_path / "dynamic")) > 1e-4


def test_the_products_run_in_integers(bench: Workbench, tmp_path: Path):
    form = made(bench, Int8Rows, tmp_path / "rows")
    kinds = Counter(node.op_type for node in onnx.load(form.graph).graph.node)
    assert kinds["MatMulIntegerToFloat"] >= 12, "six in each of two layers"
    # Products of one value share its rounding: queries, keys and values read the same.
    assert kinds["QuantizeLinear"] < kinds["MatMulIntegerToFloat"]


def test_a_row_of_zeros_and_a_row_of_huge_numbers_stay_what_they_are(tmp_path: Path):
    from onnx import TensorProto, helper, numpy_helper

    from sartor.shrink.eight_bits import in_eight_bits_by_row

    weight = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 32])],
        [numpy_helper.from_array(weight, "w")],
    )
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.save(in_eight_bits_by_row(model, 1_024), tmp_path / "small.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx")
    x = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    x[0], x[2] = 0.0, x[2] * 1e6
    found = np.asarray(session.run(None, {"x": x})[0])
    wanted = x @ weight
    assert not found[0].any()
    for row in (1, 2):
        assert np.abs(found[row] - wanted[row]).max() < 0.03 * np.abs(wanted[row]).max()
