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
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from safetensors.numpy import load_file

from sartor.core.durable import write_durably
from sartor.core.errors import ModelError
from sartor.shrink.graphs import too_large, whole_file
from sartor.shrink.sheet import UNSEEN, Sheet, floats, whole

KINDS = ("llama", "mistral", "qwen2", "qwen3")
"""`model_type`s whose formulas these are."""
INVERSE, SCALING = "rotary.inverse_frequencies", "rotary.scaling"
_FIX = "choose a model of Llama's or Qwen's kind, of half a billion weights at most."


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
    return too_large(_weights(config))


def _weights(config: Mapping[str, Any]) -> int:
    """Numbers that the graph holds at least; 0 where the configuration does not tell."""
    width, inner, words, layers = (
        int(config.get(name) or 0)
        for name in ("hidden_size", "intermediate_size", "vocab_size", "num_hidden_layers")
    )
    heads = int(config.get("num_attention_heads") or 1)
    size = int(config.get("head_dim") or width // heads)
    shared = int(config.get("num_key_value_heads") or heads)
    layer = 2 * width * size * (heads + shared) + 3 * width * inner
    own = 2 if config.get("tie_word_embeddings") is False else 1
    return own * words * width + layers * layer


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
        sheet = Sheet(load_file(folder / "model.safetensors"))
        model = _Writing(_Shape.of(config), sheet).model()
    except KeyError as error:
        raise ModelError(
            f"{folder} cannot be exported: it has no tensor {error}.", fix=_FIX
        ) from error
    write_durably(target, whole_file(model, str(folder)))


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
    """A decoder while it is being written down."""

    shape: _Shape
    sheet: Sheet

    def model(self) -> onnx.ModelProto:
        shape = self.shape
        words = self.sheet.tensors["embed_tokens.weight"]
        self.sheet.weights["words"] = words
        states = self.sheet.op("Gather", "words", "input_ids", axis=0)
        cos, sin, unseen = *self._turns(), self._unseen()
        outputs: list[str] = []
        for layer in range(shape.layers):
            before = self._norm(layer, "input", states)
            found, kept = self._attention(layer, before, cos, sin, unseen)
            states = self.sheet.op("Add", states, found)
            after = self._norm(layer, "post_attention", states)
            states = self.sheet.op("Add", states, self._feed_forward(layer, after))
            outputs += kept
        kept_states = self.sheet.op("Gather", states, "keep", axis=1)
        last = self._scaled(kept_states, "norm.weight")
        self.sheet.scores(last, "head.weight", "words", out="logits")
        return self._closed(len(words), outputs)

    def _turns(self) -> tuple[str, str]:
        """Cosine and sine of every position's angles, (rows, 1, S, size)."""
        self.sheet.weights["frequencies"] = self.sheet.tensors[INVERSE].astype(np.float32)
        places = self.sheet.op("Cast", "position_ids", to=TensorProto.FLOAT)
        places = self.sheet.op("Unsqueeze", places, self.sheet.numbers([1, 3]))  # (rows, 1, S, 1)
        angles = self.sheet.op("Mul", places, "frequencies")
        both = self.sheet.op("Concat", angles, angles, axis=-1)
        scaling = self.sheet.number(float(self.sheet.tensors[SCALING][0]))
        cos, sin = (
            self.sheet.op("Mul", self.sheet.op(kind, both), scaling) for kind in ("Cos", "Sin")
        )
        return cos, sin

    def _unseen(self) -> str:
        """(rows, 1, 1, S, P + S): 0 where a token sees another, else very small."""
        sheet = self.sheet
        earlier = sheet.earlier(sheet.length("attention_mask", 1), sheet.length("input_ids", 1))
        real = self.sheet.op("Cast", "attention_mask", to=TensorProto.BOOL)
        real = self.sheet.op("Unsqueeze", real, self.sheet.numbers([1, 2, 3]))
        seen = self.sheet.op("And", real, earlier)
        return self.sheet.op("Where", seen, self.sheet.number(0.0), self.sheet.number(UNSEEN))

    def _norm(self, layer: int, which: str, states: str) -> str:
        return self._scaled(states, f"layers.{layer}.{which}_layernorm.weight")

    def _scaled(self, states: str, weight: str) -> str:
        """What `Sheet.scaled` gives, with a tensor of the model."""
        return self.sheet.scaled(states, self.sheet.weight(weight), self.shape.epsilon)

    def _attention(
        self, layer: int, states: str, cos: str, sin: str, unseen: str
    ) -> tuple[str, list[str]]:
        """What a layer's attention adds, and the names of its keys and values."""
        shape, at = self.shape, f"layers.{layer}.self_attn"
        asked, keyed = shape.heads * shape.size, shape.shared * shape.size
        parts = [f"{at}.{which}_proj" for which in "qkv"]
        together = self.sheet.product(states, f"{at}.qkv", *parts)
        query, key, value = self.sheet.split(together, [asked, keyed, keyed])
        query = self._turned(self._heads(query, shape.heads, f"{at}.q_norm.weight"), cos, sin)
        key = self._turned(self._heads(key, shape.shared, f"{at}.k_norm.weight"), cos, sin)
        value = self._heads(value, shape.shared)
        names = [f"present_key.{layer}", f"present_value.{layer}"]
        key = self.sheet.op("Concat", f"past_key.{layer}", key, axis=2, out=names[0])
        value = self.sheet.op("Concat", f"past_value.{layer}", value, axis=2, out=names[1])
        group = shape.heads // shape.shared
        # (rows, shared, group · S, size): all heads that share a key are one product.
        flat = self.sheet.numbers([0, shape.shared, -1, shape.size])
        query = self.sheet.op("Reshape", query, flat)
        query = self.sheet.op("Mul", query, self.sheet.number(1 / sqrt(shape.size)))
        scores = self.sheet.op("MatMul", query, self.sheet.op("Transpose", key, perm=[0, 1, 3, 2]))
        length = self.sheet.op("Shape", scores)
        keys = self.sheet.op("Gather", length, self.sheet.numbers([3]), axis=0)
        apart = self.sheet.op(
            "Concat", self.sheet.numbers([0, shape.shared, group, -1]), keys, axis=0
        )  # (rows, shared, group, S, P + S)
        scores = self.sheet.op("Add", self.sheet.op("Reshape", scores, apart), unseen)
        weights = self.sheet.op("Reshape", self.sheet.op("Softmax", scores, axis=-1), length)
        mixed = self.sheet.op("MatMul", weights, value)
        mixed = self.sheet.op("Reshape", mixed, self._by_head())
        mixed = self.sheet.op("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = self.sheet.op("Reshape", mixed, self.sheet.numbers([0, 0, asked]))
        return self.sheet.product(mixed, f"{at}.o", f"{at}.o_proj"), names

    def _by_head(self) -> str:
        return self.sheet.numbers([0, self.shape.heads, -1, self.shape.size])

    def _heads(self, value: str, heads: int, norm: str = "") -> str:
        """(rows, S, heads · size) to (rows, heads, S, size)."""
        found = self.sheet.op("Reshape", value, self.sheet.numbers([0, 0, heads, self.shape.size]))
        if norm in self.sheet.tensors:
            found = self._scaled(found, norm)
        return self.sheet.op("Transpose", found, perm=[0, 2, 1, 3])

    def _turned(self, value: str, cos: str, sin: str) -> str:
        half = self.shape.size // 2
        first, second = self.sheet.split(value, [half, half])
        across = self.sheet.op("Concat", self.sheet.op("Neg", second), first, axis=-1)
        return self.sheet.op(
            "Add", self.sheet.op("Mul", value, cos), self.sheet.op("Mul", across, sin)
        )

    def _feed_forward(self, layer: int, states: str) -> str:
        at = f"layers.{layer}.mlp"
        together = self.sheet.product(states, f"{at}.gate_up", f"{at}.gate_proj", f"{at}.up_proj")
        width = len(self.sheet.tensors[f"{at}.gate_proj.weight"])
        gate, up = self.sheet.split(together, [width, width])
        opened = self.sheet.op("Mul", gate, self.sheet.op("Sigmoid", gate))
        return self.sheet.product(self.sheet.op("Mul", opened, up), f"{at}.down", f"{at}.down_proj")

    def _closed(self, words: int, presents: list[str]) -> onnx.ModelProto:
        shape = self.shape

        def cache(name: str, length: str) -> onnx.ValueInfoProto:
            return floats(name, "rows", shape.shared, length, shape.size)

        pasts = [name.replace("present", "past") for name in presents]
        inputs = [
            whole("input_ids", "rows", "new"),
            whole("attention_mask", "rows", "all"),
            whole("position_ids", "rows", "new"),
            whole("keep", "kept"),
            *(cache(name, "before") for name in pasts),
        ]
        outputs = [
            floats("logits", "rows", "kept", words),
            *(cache(name, "all") for name in presents),
        ]
        return self.sheet.model("decoder", inputs, outputs)
