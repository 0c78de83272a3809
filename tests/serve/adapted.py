"""A real bundle with a layer that takes tables and a linear head, and adapters of its users."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from sartor.bundle import Bundle, record_verdicts, write_bundle
from sartor.bundle.adapter import Adapter, write_adapter
from sartor.bundle.base import Base
from sartor.shrink.adaptable import make_base
from tests.serve.conftest import LABELS, WORDS, manifest_of

WIDTH, RANK, LAYER = 6, 3, "encoder.dense"
TEXTS = ("money back", "bill", "hello weather hello", "tax money", "weather")


def write_adaptable(folder: Path, seed: int = 0) -> Bundle:
    """mean over the tokens of tanh(W x + b), then a linear head; weights drawn."""
    draw = np.random.default_rng(seed)
    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {word: i + 2 for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    place = folder.parent / f"{folder.name}-parts"
    place.mkdir(parents=True)
    tokenizer.save(str(place / "tokenizer.json"))
    weights = {
        "table": draw.normal(size=(len(vocabulary), WIDTH)),
        f"{LAYER}.weight": draw.normal(size=(WIDTH, WIDTH)),
        f"{LAYER}.bias": draw.normal(size=WIDTH),
        "head.weight": draw.normal(size=(len(LABELS), WIDTH)),
        "head.bias": draw.normal(size=len(LABELS)),
        "one": np.ones(1),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", f"{LAYER}.weight"], ["product"]),
        helper.make_node("Add", ["product", f"{LAYER}.bias"], ["dense"]),
        helper.make_node("Tanh", ["dense"], ["bent"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["bent", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["wide", "middle"], ["count"], keepdims=0),
        helper.make_node("Max", ["count", "one"], ["least"]),
        helper.make_node("Div", ["sum", "least"], ["mean"]),
        helper.make_node("Gemm", ["mean", "head.weight", "head.bias"], ["logits"], transB=1),
    ]
    stored = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    stored += [numpy_helper.from_array(np.array([i]), n) for n, i in (("last", 2), ("middle", 1))]
    graph = helper.make_graph(
        nodes,
        "adaptable",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, place / "model.onnx")
    parts = {name: place / name for name in ("model.onnx", "tokenizer.json")}
    bundle = write_bundle(folder, manifest_of(f"tickets-{seed}"), parts, "name: tickets\n")
    return record_verdicts(bundle, [], released=True)


def own_head(base: Base, seed: int) -> Adapter:
    """A head of somebody's own."""
    draw = np.random.default_rng(seed)
    tensors = {
        "head.weight": draw.normal(size=(base.outputs, base.features)).astype(np.float32),
        "head.bias": draw.normal(size=base.outputs).astype(np.float32),
    }
    return Adapter(base.bundle, "head", tensors, {"personal": 0.9, "global": 0.8})


def own_tables(base: Base, seed: int, rank: int = RANK) -> Adapter:
    """Low-rank tables of somebody's own, for every layer."""
    draw = np.random.default_rng(seed)
    tensors = {}
    for name, (width, height) in base.linears.items():
        tensors[f"{name}.A"] = draw.normal(size=(rank, width)).astype(np.float32)
        tensors[f"{name}.B"] = draw.normal(size=(height, rank)).astype(np.float32)
    return Adapter(base.bundle, "lora", tensors)


def root_of(bundle: Bundle, rank: int = RANK) -> Path:
    """A root beside the bundle, with its base; `ann` and `bob` have heads, `cy` and `di` tables."""
    root = bundle.folder.parent / "adapters"
    base = make_base(bundle, root, rank=rank)
    write_adapter(root, None, "ann", own_head(base, 1))
    write_adapter(root, None, "bob", own_head(base, 2))
    if rank:
        write_adapter(root, None, "cy", own_tables(base, 3))
        write_adapter(root, None, "di", own_tables(base, 4, rank=1))
    return root
