"""A language model as one ONNX graph that both reads a prompt and writes a token.

    input_ids (rows, S), attention_mask (rows, P + S), position_ids (rows, S), keep (K,),
    past_key.i, past_value.i (rows, heads, P, size)
        → logits (rows, K, vocabulary), present_key.i, present_value.i (rows, heads, P + S, size)

P tokens were read before. `keep` says after which of the S tokens logits are wanted: the last one
to write, all of a reply to see how likely it is.

The graph is written node by node and not traced: a decoder of Llama's kind is a few formulas, so it
takes seconds instead of minutes, the products of one input are one product, and a key that several
heads share is not repeated. What it computes is compared with the model that was fitted, reply by
reply.

    RMS norm: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
    rotary positions: Su et al. 2021, https://arxiv.org/abs/2104.09864
    shared keys: Ainslie et al. 2023, https://arxiv.org/abs/2305.13245
    gated feed-forward: Shazeer 2020, https://arxiv.org/abs/2002.05202
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from sartor.core.durable import write_durably
from sartor.core.errors import ModelError

OPSET, IR = 20, 10
KINDS = ("llama", "mistral", "qwen2", "qwen3")
"""`model_type`s whose formulas these are."""
INVERSE, SCALING = "rotary.inverse_frequencies", "rotary.scaling"
_UNSEEN = float(np.finfo(np.float32).min) / 2
_FIX = "choose a model of Llama's or Qwen's kind."
Array = NDArray[Any]


def why_not(config: Mapping[str, Any]) -> str:
    """Why a model of this configuration cannot be written as such a graph; empty where it can."""
    kind = config.get("model_type")
    if kind not in KINDS:
        return f"it is a {kind}, and replies are written by {', '.join(KINDS)}"
    if config.get("hidden_act", "silu") != "silu":
        return f"its feed-forward layers use {config['hidden_act']}"
    if config.get("use_sliding_window") or (kind == "mistral" and config.get("sliding_window")):
        return "it reads through a sliding window"
    rope: Any = config.get("rope_parameters") or config.get("rope_scaling") or {}
    how = rope.get("rope_type", rope.get("type")) if isinstance(rope, dict) else None
    if how in ("dynamic", "longrope"):
        return "its positions depend on the length of the text"
    return ""


def write_decoder(folder: Path, target: Path) -> None:
    """Write the graph of a decoder that a fit left.

    Args:
        folder: Holds model.safetensors and config.json (see `tune.decoder`).
        target: The .onnx file to write; weights are inside it.

    Raises:
        ModelError: If it is not of a kind that is known, or a tensor is missing.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if fault := why_not(config):
        raise ModelError(f"{folder} cannot be exported: {fault}.", fix=_FIX)
    try:
        model = _Writing(_Shape.of(config), load_file(folder / "model.safetensors")).model()
    except KeyError as error:
        raise ModelError(
            f"{folder} cannot be exported: it has no tensor {error}.", fix=_FIX
        ) from error
    onnx.checker.check_model(model)
    write_durably(target, model.SerializeToString(deterministic=True))


@dataclass(frozen=True, slots=True)
class _Shape:
    """Numbers of a decoder.

    Args:
        layers: Of them.
        heads: Of queries.
        shared: Of keys and values; `heads` is a multiple.
        size: Of a head.
        epsilon: Of the norms.
    """

    layers: int
    heads: int
    shared: int
    size: int
    epsilon: float

    @staticmethod
    def of(config: Mapping[str, Any]) -> "_Shape":
        heads = int(config["num_attention_heads"])
        return _Shape(
            int(config["num_hidden_layers"]),
            heads,
            int(config.get("num_key_value_heads") or heads),
            int(config.get("head_dim") or config["hidden_size"] // heads),
            float(config.get("rms_norm_eps", 1e-6)),
        )


@dataclass(slots=True)
class _Writing:
    """Nodes and weights while they are being written down; a method adds nodes, and names what
    comes out of them."""

    shape: _Shape
    tensors: Mapping[str, Array]
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    weights: dict[str, Array] = field(default_factory=dict[str, Array])

    def model(self) -> onnx.ModelProto:
        shape = self.shape
        words = self.tensors["embed_tokens.weight"]
        self.weights["words"] = words
        states = self.op("Gather", "words", "input_ids", axis=0)
        cos, sin, unseen = *self._turns(), self._unseen()
        outputs: list[str] = []
        for layer in range(shape.layers):
            before = self._norm(layer, "input", states)
            found, kept = self._attention(layer, before, cos, sin, unseen)
            states = self.op("Add", states, found)
            after = self._norm(layer, "post_attention", states)
            states = self.op("Add", states, self._feed_forward(layer, after))
            outputs += kept
        kept_states = self.op("Gather", states, "keep", axis=1)
        last = self._scaled(kept_states, "norm.weight")
        head = self.tensors.get("head.weight", words)
        self.weights["head"] = np.ascontiguousarray(head.T)
        self.op("MatMul", last, "head", out="logits")
        return self._closed(len(words), outputs)

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """A node with one output, and its name."""
        name = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"n_{name}", **attributes))
        return name

    def split(self, value: str, sizes: list[int]) -> list[str]:
        """The last axis in parts."""
        names = [f"v{len(self.nodes)}_{part}" for part in range(len(sizes))]
        given = [value, self.numbers(sizes)]
        node = helper.make_node("Split", given, names, name=f"n_{names[0]}", axis=-1)
        self.nodes.append(node)
        return names

    def numbers(self, values: list[int]) -> str:
        """A constant of integers, kept once."""
        name = "i_" + "_".join(str(value).replace("-", "m") for value in values)
        self.weights[name] = np.array(values, np.int64)
        return name

    def number(self, value: float) -> str:
        name = f"f_{value!r}"
        self.weights[name] = np.array(value, np.float32)
        return name

    def _turns(self) -> tuple[str, str]:
        """Cosine and sine of every position's angles, (rows, 1, S, size)."""
        self.weights["frequencies"] = self.tensors[INVERSE].astype(np.float32)
        places = self.op("Cast", "position_ids", to=TensorProto.FLOAT)
        places = self.op("Unsqueeze", places, self.numbers([1, 3]))  # (rows, 1, S, 1)
        angles = self.op("Mul", places, "frequencies")
        both = self.op("Concat", angles, angles, axis=-1)
        scaling = self.number(float(self.tensors[SCALING][0]))
        cos, sin = (self.op("Mul", self.op(kind, both), scaling) for kind in ("Cos", "Sin"))
        return cos, sin

    def _unseen(self) -> str:
        """(rows, 1, 1, S, P + S): 0 where a token sees another, else very small."""
        zero, one = self.numbers([0]), self.numbers([1])
        whole = self.op("Gather", self.op("Shape", "attention_mask"), one, axis=0)
        new = self.op("Gather", self.op("Shape", "input_ids"), one, axis=0)
        scalar = self.op("Squeeze", whole, zero)
        first = self.op("Squeeze", self.op("Sub", whole, new), zero)
        self.weights["scalar_0"], self.weights["scalar_1"] = np.array(0), np.array(1)
        keys = self.op("Range", "scalar_0", scalar, "scalar_1")
        queries = self.op("Range", first, scalar, "scalar_1")
        earlier = self.op("LessOrEqual", keys, self.op("Unsqueeze", queries, one))  # (S, P + S)
        real = self.op("Cast", "attention_mask", to=TensorProto.BOOL)
        real = self.op("Unsqueeze", real, self.numbers([1, 2, 3]))
        seen = self.op("And", real, earlier)
        return self.op("Where", seen, self.number(0.0), self.number(_UNSEEN))

    def _norm(self, layer: int, which: str, states: str) -> str:
        return self._scaled(states, f"layers.{layer}.{which}_layernorm.weight")

    def _scaled(self, states: str, weight: str) -> str:
        """x / sqrt(mean x² + ε) · w."""
        self.weights[weight] = self.tensors[weight]
        mean = self.op(
            "ReduceMean", self.op("Pow", states, self.number(2.0)), self.numbers([-1]), keepdims=1
        )
        root = self.op("Sqrt", self.op("Add", mean, self.number(self.shape.epsilon)))
        return self.op("Mul", self.op("Div", states, root), weight)

    def _product(self, states: str, name: str, *parts: str) -> str:
        """One product with the weights of several layers, side by side."""
        rows = [self.tensors[f"{part}.weight"] for part in parts]
        self.weights[name] = np.ascontiguousarray(np.concatenate(rows).T)
        found = self.op("MatMul", states, name)
        biases = [self.tensors.get(f"{part}.bias") for part in parts]
        if all(bias is None for bias in biases):
            return found
        whole = [
            np.zeros(len(row), np.float32) if bias is None else bias
            for bias, row in zip(biases, rows, strict=True)
        ]
        self.weights[f"{name}.bias"] = np.concatenate(whole)
        return self.op("Add", found, f"{name}.bias")

    def _attention(
        self, layer: int, states: str, cos: str, sin: str, unseen: str
    ) -> tuple[str, list[str]]:
        """What a layer's attention adds, and the names of its keys and values."""
        shape, at = self.shape, f"layers.{layer}.self_attn"
        asked, keyed = shape.heads * shape.size, shape.shared * shape.size
        parts = [f"{at}.{which}_proj" for which in "qkv"]
        together = self._product(states, f"{at}.qkv", *parts)
        query, key, value = self.split(together, [asked, keyed, keyed])
        query = self._turned(self._heads(query, shape.heads, f"{at}.q_norm.weight"), cos, sin)
        key = self._turned(self._heads(key, shape.shared, f"{at}.k_norm.weight"), cos, sin)
        value = self._heads(value, shape.shared)
        names = [f"present_key.{layer}", f"present_value.{layer}"]
        key = self.op("Concat", f"past_key.{layer}", key, axis=2, out=names[0])
        value = self.op("Concat", f"past_value.{layer}", value, axis=2, out=names[1])
        group = shape.heads // shape.shared
        # (rows, shared, group · S, size): all heads that share a key are one product.
        flat = self.numbers([0, shape.shared, -1, shape.size])
        query = self.op("Reshape", query, flat)
        query = self.op("Mul", query, self.number(1 / sqrt(shape.size)))
        scores = self.op("MatMul", query, self.op("Transpose", key, perm=[0, 1, 3, 2]))
        length = self.op("Shape", scores)
        keys = self.op("Gather", length, self.numbers([3]), axis=0)
        apart = self.op(
            "Concat", self.numbers([0, shape.shared, group, -1]), keys, axis=0
        )  # (rows, shared, group, S, P + S)
        scores = self.op("Add", self.op("Reshape", scores, apart), unseen)
        weights = self.op("Reshape", self.op("Softmax", scores, axis=-1), length)
        mixed = self.op("MatMul", weights, value)
        mixed = self.op("Reshape", mixed, self._by_head())
        mixed = self.op("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = self.op("Reshape", mixed, self.numbers([0, 0, asked]))
        return self._product(mixed, f"{at}.o", f"{at}.o_proj"), names

    def _by_head(self) -> str:
        return self.numbers([0, self.shape.heads, -1, self.shape.size])

    def _heads(self, value: str, heads: int, norm: str = "") -> str:
        """(rows, S, heads · size) to (rows, heads, S, size)."""
        found = self.op("Reshape", value, self.numbers([0, 0, heads, self.shape.size]))
        if norm in self.tensors:
            found = self._scaled(found, norm)
        return self.op("Transpose", found, perm=[0, 2, 1, 3])

    def _turned(self, value: str, cos: str, sin: str) -> str:
        half = self.shape.size // 2
        first, second = self.split(value, [half, half])
        across = self.op("Concat", self.op("Neg", second), first, axis=-1)
        return self.op("Add", self.op("Mul", value, cos), self.op("Mul", across, sin))

    def _feed_forward(self, layer: int, states: str) -> str:
        at = f"layers.{layer}.mlp"
        together = self._product(states, f"{at}.gate_up", f"{at}.gate_proj", f"{at}.up_proj")
        width = len(self.tensors[f"{at}.gate_proj.weight"])
        gate, up = self.split(together, [width, width])
        opened = self.op("Mul", gate, self.op("Sigmoid", gate))
        return self._product(self.op("Mul", opened, up), f"{at}.down", f"{at}.down_proj")

    def _closed(self, words: int, presents: list[str]) -> onnx.ModelProto:
        shape, whole, floats = self.shape, TensorProto.INT64, TensorProto.FLOAT

        def cache(name: str, length: str) -> onnx.ValueInfoProto:
            sides = ["rows", shape.shared, length, shape.size]
            return helper.make_tensor_value_info(name, floats, sides)

        pasts = [name.replace("present", "past") for name in presents]
        inputs = [
            helper.make_tensor_value_info("input_ids", whole, ["rows", "new"]),
            helper.make_tensor_value_info("attention_mask", whole, ["rows", "all"]),
            helper.make_tensor_value_info("position_ids", whole, ["rows", "new"]),
            helper.make_tensor_value_info("keep", whole, ["kept"]),
            *(cache(name, "before") for name in pasts),
        ]
        outputs = [
            helper.make_tensor_value_info("logits", floats, ["rows", "kept", words]),
            *(cache(name, "all") for name in presents),
        ]
        stored = [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, "decoder", inputs, outputs, stored)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="sartor",
        )
