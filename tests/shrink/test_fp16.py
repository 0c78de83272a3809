"""16 bits on disk, 32 in the processor."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tests.shrink.runs import batch, compressed, logits


def test_answers_move_less_than_a_hundredth_and_the_file_is_half(
    graphs: dict[str, Path], tmp_path: Path
):
    small = compressed("fp16", graphs["both"], tmp_path / "small")
    ids, mask = batch(16, 30)
    one, other = logits(graphs["both"], ids, mask), logits(small, ids, mask)
    assert 0 < np.abs(one - other).max() < 1e-2
    assert small.stat().st_size < 0.62 * graphs["both"].stat().st_size


def test_onnx_runtime_computes_in_32_bits_without_a_cast_at_run_time(
    graphs: dict[str, Path], tmp_path: Path
):
    small = compressed("fp16", graphs["top"], tmp_path / "small")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx").graph
    assert not [t.name for t in loaded.initializer if t.data_type == TensorProto.FLOAT16]


def test_a_number_too_large_for_16_bits_stays_as_it_is(tmp_path: Path):
    weights = np.ones((32, 32), np.float32)
    large = weights.copy()
    large[0, 0] = 1e6
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "small"], ["y"]),
            helper.make_node("MatMul", ["y", "large"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 32])],
        [numpy_helper.from_array(weights, "small"), numpy_helper.from_array(large, "large")],
    )
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "g.onnx")
    held = onnx.load(compressed("fp16", tmp_path / "g.onnx", tmp_path / "small")).graph.initializer
    assert {t.name: t.data_type for t in held} == {
        "small_fp16": TensorProto.FLOAT16,
        "large": TensorProto.FLOAT,
    }
