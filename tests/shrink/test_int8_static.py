"""Static int8: ranges from texts, integers at run time, and floats where rounding hurts."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from sartor.shrink.api import GRAPH, Form
from sartor.shrink.calibration import Seen, observe, typical
from sartor.shrink.cascade import cascade_graphs
from sartor.shrink.compressors.int8_static import Int8Static
from sartor.shrink.eight_bits import in_eight_bits, products
from sartor.shrink.graphs import every_node, replace_weight, write_graph
from sartor.testing.workbench import Workbench


def rounded(bench: Workbench, to: Path, **settings: object) -> Form:
    to.mkdir()
    Int8Static(**settings).compress(bench.form, to, bench.bench)  # type: ignore[arg-type]
    return bench.form.left_in(to)


def in_float(form: Form) -> int:
    """Values that products of float weights read."""
    return len({product.reads for product in products(onnx.load(form.graph))})


def shift(bench: Workbench, form: Form) -> float:
    return float(np.abs(bench.logits(form) - bench.logits(bench.form)).max())


def test_onnx_runtime_runs_the_products_in_integers(bench: Workbench, tmp_path: Path):
    form = rounded(bench, tmp_path / "small", in_float=0.0)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(form.graph, options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node)
    assert kinds["MatMulIntegerToFloat"] == 12, "six in each of two layers"
    assert kinds["DynamicQuantizeLinear"] == kinds["DequantizeLinear"] == 0


def test_two_products_of_eight_bits_never_pass_sixteen(bench: Workbench, tmp_path: Path):
    form = rounded(bench, tmp_path / "small", in_float=0.0)
    model = onnx.load(form.graph)
    multiplied = {n.input[1] for n in model.graph.node if n.op_type == "MatMulIntegerToFloat"}
    weights = [t for t in model.graph.initializer if t.name in multiplied]
    assert len(weights) == 12
    assert (
        max(np.abs(numpy_helper.to_array(t).astype(int)).max() for t in weights) * 2 * 255 < 2**15
    )


def test_what_loses_most_stays_in_float_and_no_more_than_the_share(
    bench: Workbench, tmp_path: Path
):
    whole = rounded(bench, tmp_path / "whole", in_float=0.0)
    assert in_float(whole) == 0
    some = rounded(bench, tmp_path / "some", in_float=0.5, shift=1e-9)
    assert in_float(some) == 4, "half of the four values that are read in each of two layers"
    assert shift(bench, some) < shift(bench, whole)
    enough = rounded(bench, tmp_path / "enough", in_float=0.5, shift=10.0)
    assert enough.graph.read_bytes() == whole.graph.read_bytes(), "nothing was to be saved"


def test_tables_that_were_rounded_before_change_no_answer(bench: Workbench, tmp_path: Path):
    model = onnx.load(bench.form.graph)
    read = list(dict.fromkeys(product.reads for product in products(model)))[:5]
    limits = dict.fromkeys(read, (-6.0, 6.0))
    slim = in_eight_bits(model, {}, (), 64)
    assert slim.ByteSize() < model.ByteSize() / 1.2
    answers: list[np.ndarray] = []
    for name, start in (("whole", model), ("slim", slim)):
        (tmp_path / name).mkdir()
        write_graph(in_eight_bits(start, limits, read, 64), tmp_path / name / GRAPH)
        answers.append(bench.logits(Form(tmp_path / name / GRAPH, bench.form.tokenizer)))
    np.testing.assert_array_equal(*answers)


def test_nothing_that_was_tried_is_left_behind(bench: Workbench, tmp_path: Path):
    form = rounded(bench, tmp_path / "small", in_float=0.5, shift=1e-9)
    assert [path.name for path in form.graph.parent.iterdir()] == [GRAPH]


def cascade(bench: Workbench, to: Path, threshold: float) -> Form:
    """The form as both members, the dear one's weights a little larger."""
    dear = onnx.load(bench.form.graph)
    for tensor in dear.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2:
            replace_weight(tensor, numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.01))
    onnx.save(dear, to / "dear.onnx")
    members = (bench.form.graph, 1.0), (to / "dear.onnx", 1.0)
    cascade_graphs(*members, threshold, to / "both.onnx")
    return Form(to / "both.onnx", bench.form.tokenizer)


def rounded_products(graph: onnx.GraphProto) -> int:
    return sum(node.op_type == "MatMulIntegerToFloat" for node in every_node(graph))


def test_the_dear_member_of_a_cascade_is_rounded_by_the_texts_that_climb(
    bench: Workbench, tmp_path: Path
):
    form = cascade(bench, tmp_path, 0.9)
    assert in_float(form) == 16, "four values in each of two layers of each member"
    (tmp_path / "small").mkdir()
    Int8Static(in_float=0.0).compress(form, tmp_path / "small", bench.bench)
    small = form.left_in(tmp_path / "small")
    assert in_float(small) == 0
    assert rounded_products(onnx.load(small.graph).graph) == 24
    before, after = bench.logits(form), bench.logits(small)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.98
    pieces = typical(form.tokenizer, bench.bench.train.inputs["text"], 64, 32)
    model = onnx.load(form.graph)
    seen = observe(model, [product.reads for product in products(model)], pieces)
    counted = sorted({found.texts for found in seen.values()})
    assert len(counted) == 2
    assert 0 < counted[0] < counted[1] == len(pieces)


def test_a_dear_member_that_no_text_climbs_to_stays_in_float(bench: Workbench, tmp_path: Path):
    form = cascade(bench, tmp_path, 0.0)
    (tmp_path / "small").mkdir()
    Int8Static(in_float=0.0).compress(form, tmp_path / "small", bench.bench)
    small = form.left_in(tmp_path / "small")
    assert in_float(small) == 8
    assert rounded_products(onnx.load(small.graph).graph) == 12


def test_what_is_shown_of_a_branch_is_what_flows_in_it(bench: Workbench, tmp_path: Path):
    model = onnx.load(cascade(bench, tmp_path, 1.1).graph)
    dear = onnx.load(tmp_path / "dear.onnx")
    pieces = typical(bench.form.tokenizer, bench.bench.train.inputs["text"], 8, 12)
    inside = [product.reads for product in products(model)][12:]
    own = [product.reads for product in products(dear)]
    found, wanted = observe(model, inside, pieces), observe(dear, own, pieces)
    assert len(inside) == len(own) == 12
    for one, other in zip(inside, own, strict=True):
        assert found[one].low == pytest.approx(wanted[other].low, rel=1e-4)
        assert found[one].high == pytest.approx(wanted[other].high, rel=1e-4)


VALUES = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=300)


@given(VALUES, st.sampled_from(["minmax", "percentile", "mse"]))
def test_a_range_holds_zero_and_lies_within_what_was_seen(values: list[float], method: str):
    found = np.array(values, np.float64)
    low, high = float(found.min()), float(found.max())
    seen = Seen(low, high, np.histogram(found, 2048, (low, high))[0])
    least, most = seen.limits(method, 0.01)  # type: ignore[arg-type]
    assert min(low, 0) <= least <= 0 <= most <= max(high, 0)


def test_noise_is_what_eight_bits_change_of_values():
    values = np.random.default_rng(0).normal(size=100_000)
    counts, edges = np.histogram(values, 2_048)
    seen = Seen(float(edges[0]), float(edges[-1]), counts)
    low, high = -3.0, 3.0
    step = (high - low) / 255
    rounded = np.clip(np.round((values - low) / step), 0, 255) * step + low
    exact = np.sqrt(((rounded - values) ** 2).mean() / (values**2).mean())
    assert seen.noise((low, high)) == pytest.approx(exact, rel=0.05)
    assert seen.noise((-1.0, 1.0)) > seen.noise((low, high)) > 0
    assert Seen(0.0, 0.0, np.array([7])).noise((0.0, 0.0)) == 0.0


def test_the_least_error_gives_an_outlier_up_and_all_that_was_seen_does_not():
    values = np.append(np.random.default_rng(0).normal(size=100_000), 80.0)
    seen = Seen(values.min(), values.max(), np.histogram(values, 2048)[0])
    (_, whole), (_, less), (_, part) = (
        seen.limits("minmax", 0),
        seen.limits("mse", 0),
        seen.limits("percentile", 1e-3),
    )
    assert whole == 80.0
    assert part < less < whole


def test_ranges_are_those_of_the_values_that_flow(bench: Workbench):
    model = onnx.load(bench.form.graph)
    pieces = typical(bench.form.tokenizer, bench.bench.train.inputs["text"], 8, 12)
    texts = [ids for (ids,) in pieces]
    assert [len(t) for t in texts] == sorted(len(t) for t in texts)
    assert max(len(t) for t in texts) == 12
    name = products(model)[0].reads
    seen = observe(model, [name], pieces)[name]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    flowed = [
        session.run([name], {"input_ids": t[None], "attention_mask": np.ones_like(t)[None]})[0]
        for t in texts
    ]
    assert seen.low == pytest.approx(min(f.min() for f in flowed), abs=1e-5)
    assert seen.high == pytest.approx(max(f.max() for f in flowed), abs=1e-5)
    assert seen.counts.sum() == sum(f.size for f in flowed)
