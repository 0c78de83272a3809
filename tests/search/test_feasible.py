"""What cannot be is never trained; what might be is never left out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from sartor.core.errors import NeedError, SettingError
from sartor.core.types import Backbone, Examples
from sartor.need.grammar import parse_criterion
from sartor.search.estimates import SMALLEST_MB, Work, estimate
from sartor.search.feasible import Body, Dropped, Sieve, refuse_empty
from sartor.search.ladder import Rung
from sartor.search.rungs import Aim, build_rungs
from sartor.shrink.api import COMPRESSORS
from tests.shrink.runs import BENCH, compressed
from tests.tiny import tiny_tokenizer

MINILM = Backbone("minilm", "folder", "", "0" * 64, "MIT", ("en",), 22_700_000, 6, 384)
E5 = replace(MINILM, name="e5", sha256="1" * 64, parameters=118_000_000, layers=12)
WORK = Work(100_000, 10_000, 110_000, 180.0, text_tokens=64)


def ladder(
    criteria: Sequence[str], *backbones: Backbone, methods: Sequence[str] = ("head", "lora")
) -> tuple[list[Rung], list[Dropped]]:
    sieve = Sieve([parse_criterion(c) for c in criteria])
    return build_rungs(backbones, methods, Aim("text_classification", 0, sieve), lambda *_: WORK)


def test_a_backbone_that_no_compressor_brings_under_the_size_is_never_climbed():
    rungs, dropped = ladder(["accuracy >= 0.8", "size_mb <= 12"], MINILM, E5)
    assert {r.candidates[0].backbone for r in rungs} == {"minilm"}
    assert {(d.rung, d.backbone) for d in dropped} == {("head", "e5"), ("lora", "e5")}
    assert all("size_mb <= 12 is out of reach" in d.why for d in dropped)


def test_a_backbone_is_not_ruled_out_by_words_that_trimming_may_leave_out():
    # 96 of its 118 million weights are the words of a hundred languages; the layers take 17 MB.
    rungs, dropped = ladder(["size_mb <= 30"], E5)
    assert {r.name for r in rungs} == {"head", "lora"}
    assert not dropped


def test_a_backbone_whose_graph_no_file_holds_is_never_climbed(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta", "vocab_size": 250002}')
    large = replace(
        MINILM, name="large", path=str(tmp_path), parameters=560_000_000, layers=24, width=1024
    )
    rungs, dropped = ladder(["accuracy >= 0.8"], MINILM, large, methods=["lora"])
    assert [r.candidates[0].backbone for r in rungs] == ["minilm"]
    (refused,) = dropped
    assert (refused.backbone, refused.criterion) == ("large", "")
    assert "2.2 GB" in refused.why
    assert "an ONNX file holds 2.1 GB: 536 M weights" in refused.why
    assert Body(large, 12).weights < 536_000_000, "its first layers may do"


def test_a_head_that_reads_a_low_layer_may_fit_where_the_whole_backbone_does_not():
    rungs, dropped = ladder([f"size_mb <= {Body(MINILM, 4).size_mb}"], MINILM)
    (head,) = rungs
    assert head.name == "head"
    assert {min(c.settings["layers"]) for c in head.candidates} == {-3}
    assert len({c.settings["C"] for c in head.candidates}) > 1
    assert [d.rung for d in dropped] == ["lora"]


def test_a_latency_below_what_the_arithmetic_takes_is_out_of_reach():
    # 6 layers of 384 over a quarter of 64 tokens are 0.34 GFLOP: 0.47 ms at four times 180 GFLOP/s.
    for criterion in ("latency_p95_ms <= 0.4", "latency_p99_ms <= 0.4", "throughput_per_s >= 2400"):
        rungs, dropped = ladder([criterion], MINILM, methods=["lora"])
        assert (len(rungs), len(dropped)) == (0, 1), criterion
    assert ladder(["latency_p50_ms <= 0.4"], MINILM, methods=["lora"])[0], "half the texts may be"
    # The measured 8.8 ms of int8 on that machine must never be ruled out.
    assert not ladder(["latency_p95_ms <= 8.8", "throughput_per_s >= 110"], MINILM)[1]


@given(
    st.sampled_from([MINILM, E5]),
    st.integers(1, 12),
    st.floats(0, 512),
    st.floats(1, 1e4),
    st.floats(1.0, 10.0),
)
def test_floors_grow_with_the_model_and_fall_with_the_machine(
    backbone: Backbone, depth: int, tokens: float, gflops: float, times: float
):
    depth = min(depth, backbone.layers)
    work = replace(WORK, text_tokens=tokens, gflops=gflops)
    body, deeper = Body(backbone, depth), Body(backbone, min(depth + 1, backbone.layers))
    assert body.size_mb <= deeper.size_mb
    assert body.size_mb <= estimate(backbone, "tokens", 1, work).size_mb.low + 1e-9
    assert body.latency_ms(work) <= deeper.latency_ms(work)
    assert body.latency_ms(replace(work, gflops=gflops * times)) <= body.latency_ms(work)


def test_unknown_lengths_rule_nothing_out():
    body = Body(MINILM, 6)
    sieve = Sieve([parse_criterion("latency_p95_ms <= 0.001")])
    (rung,), _ = ladder([], MINILM, methods=["lora"])
    assert sieve.why_not(body, rung.candidates[0], replace(WORK, text_tokens=0.0)) is None


def test_a_method_that_does_not_attach_is_dropped_with_its_reason():
    def attaches(backbone: Backbone, candidate: object) -> str | None:
        method = getattr(candidate, "method", "")
        return "it has no linear layers" if (backbone.name, method) == ("e5", "lora") else None

    aim = Aim("text_classification", 0, Sieve(attaches=attaches))
    rungs, dropped = build_rungs([MINILM, E5], ["head", "lora"], aim, lambda *_: WORK)
    assert [(r.name, r.candidates[0].backbone) for r in rungs] == [
        ("head", "minilm"),
        ("head", "e5"),
        ("lora", "minilm"),
    ]
    assert dropped == [Dropped("lora", "e5", "it has no linear layers")]


def test_a_need_that_nothing_can_meet_names_the_criterion_its_line_and_what_would_do():
    criteria = [
        replace(parse_criterion(text), line=line)
        for line, text in ((8, "accuracy >= 0.8"), (9, "size_mb <= 5"))
    ]
    rungs, dropped = ladder([c.text for c in criteria], MINILM, E5)
    assert not rungs
    with pytest.raises(NeedError) as refused:
        refuse_empty("need.yaml", criteria, dropped)
    (fault,) = refused.value.faults
    assert fault.line == 9
    assert "minilm" in fault.what
    wanted = parse_criterion(fault.fix.split(",")[0].removeprefix("write "))
    assert ladder([wanted.text], MINILM, E5)[0], "what the fix says must leave something to climb"


def test_a_ladder_without_any_method_that_applies_is_refused_with_the_reasons():
    with pytest.raises(SettingError, match="lora, e5: it has no linear layers"):
        refuse_empty("need.yaml", [], [Dropped("lora", "e5", "it has no linear layers")])


ROUNDING = [name for name in COMPRESSORS.names() if COMPRESSORS.get(name).place == "numbers"]


@pytest.mark.parametrize("name", ROUNDING)
def test_no_compressor_ships_fewer_bytes_a_weight_than_planning_reckons_with(
    name: str, tmp_path: Path
):
    weights = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    table = np.random.default_rng(1).normal(size=(512, 256)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("MatMul", ["rows", "weights"], ["logits"]),
        ],
        "two layers",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "tokens", 256])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    bench = replace(BENCH, train=Examples(("1",), {"text": ("this is good",)}))
    size = compressed(name, tmp_path / "model.onnx", tmp_path / "small", bench).stat().st_size
    assert size >= SMALLEST_MB * 1e6 * (weights.size + table.size)
