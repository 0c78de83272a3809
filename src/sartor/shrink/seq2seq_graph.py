"""An encoder-decoder as two ONNX graphs: one reads a text, one writes a token of another.

    encoder: input_ids (rows, S), attention_mask (rows, S)
        → cross_key.i, cross_value.i (rows, heads, S, size), which every step asks
    decoder: input_ids (rows, T), source_mask (rows, S), keep (K,), cross_key.i, cross_value.i,
        past_key.i, past_value.i (rows, heads, P, size)
        → logits (rows, K, vocabulary), present_key.i, present_value.i (rows, heads, P + T, size)

P tokens were written before; `keep` says after which of the T new ones logits are wanted. The keys
and values that the decoder asks of the text depend on the text alone, so they are made once, by the
graph that reads it.

The graphs are written and not traced, as those of `decoder_graph` are. One set of formulas serves
the kinds that descend from the same model: they differ in where they normalise and in how they
count positions. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
"""

import json
from collections.abc import Callable, Mapping
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
from sartor.llm.translated import ENCODER
from sartor.shrink import computed_positions, t5_names
from sartor.shrink.api import GRAPH
from sartor.shrink.graphs import too_large, whole_file
from sartor.shrink.sheet import UNSEEN, Sheet, floats, whole

OFFSETS: Mapping[str, int] = {
    "bart": 2,
    "mbart": 2,
    computed_positions.KIND: 0,
    "marian": 0,
    "pegasus": 0,
    **dict.fromkeys(t5_names.KINDS, 0),
}
"""`model_type`s whose formulas these are, and at which row of their table positions begin."""
HEAD, BIAS = "head.weight", "head.bias"
_EPSILON = 1e-5
_FIX = "choose a model of BART's, mBART's, M2M-100's, Marian's, Pegasus' or T5's kind."


def why_not(config: Mapping[str, Any]) -> str:
    """Why a model of this configuration cannot be written as such graphs; empty where it can."""
    kind = config.get("model_type")
    if kind not in OFFSETS:
        return f"it is a {kind}, and {', '.join(OFFSETS)} are what can be shipped"
    told = config.get("feed_forward_proj") or config.get("activation_function") or "gelu"
    if str(told).removeprefix("gated-") not in _ACTIVATIONS:
        return f"its feed-forward layers use {told}"
    if config.get("encoder_attention_heads") != config.get("decoder_attention_heads"):
        return "its encoder and its decoder have different heads"
    return too_large(_weights(config))


def _weights(config: Mapping[str, Any]) -> int:
    """Numbers that the decoder's graph, the larger one, holds at least; 0 where the configuration
    does not tell."""

    def number(*names: str) -> int:
        return int(next((config[name] for name in names if config.get(name)), 0))

    width, words = number("d_model"), number("decoder_vocab_size", "vocab_size")
    inner = number("d_kv") * number("num_heads") or width
    layers = number("decoder_layers", "num_decoder_layers", "num_layers")
    products = 3 if str(config.get("feed_forward_proj")).startswith("gated-") else 2
    # Keys and values of what was read are made by the encoder's graph.
    layer = 6 * width * inner + products * width * number("decoder_ffn_dim", "d_ff")
    own = 2 if config.get("tie_word_embeddings") is False else 1
    return own * words * width + layers * layer


def write_seq2seq(fit: Path, target: Path) -> None:
    """Write the two graphs of a model that a fit left.

    Args:
        fit: Holds model.safetensors and config.json (see `tune.seq2seq`).
        target: Folder; weights are inside the graphs.

    Raises:
        ModelError: If it is not of a kind that is known, or a tensor is missing.
    """
    config = json.loads((fit / "config.json").read_text(encoding="utf-8"))
    if fault := why_not(config):
        raise ModelError(f"{fit} cannot be exported: {fault}.", fix=_FIX)
    tensors = load_file(fit / "model.safetensors")
    try:
        if config["model_type"] in t5_names.KINDS:
            config, tensors = t5_names.renamed(config, tensors)
        if config["model_type"] == computed_positions.KIND:
            tensors |= computed_positions.of(config)
        shape = _Shape.of(config, tensors)
        graphs = {
            ENCODER: _Writing(shape, Sheet(tensors)).encoder(),
            GRAPH: _Writing(shape, Sheet(tensors)).decoder(),
        }
    except KeyError as error:
        raise ModelError(f"{fit} cannot be exported: it has no tensor {error}.", fix=_FIX) from None
    for name, model in graphs.items():
        write_durably(target / name, whole_file(model, str(fit)))


@dataclass(frozen=True, slots=True)
class _Shape:
    """Numbers of an encoder-decoder.

    Args:
        encoder: Layers of it.
        decoder: Layers of it.
        heads: Of both.
        size: Of a head.
        scale: That words are multiplied by.
        asked: That queries are multiplied by.
        offset: See `OFFSETS`.
        activation: Of the feed-forward layers.
        first: Whether a part of a layer normalises what it reads; else the sum behind it.
        epsilon: Of the norms.
    """

    encoder: int
    decoder: int
    heads: int
    size: int
    scale: float
    asked: float
    offset: int
    activation: str
    first: bool
    epsilon: float

    @staticmethod
    def of(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> "_Shape":
        width, heads = int(config["d_model"]), int(config["decoder_attention_heads"])
        size = int(config.get("head_dim") or width // heads)
        return _Shape(
            int(config["encoder_layers"]),
            int(config["decoder_layers"]),
            heads,
            size,
            sqrt(width) if config.get("scale_embedding") else 1.0,
            float(config.get("attention_scale", 1 / sqrt(size))),
            OFFSETS[config["model_type"]],
            str(config.get("activation_function", "gelu")),
            # Those that normalise first normalise once more at the end.
            "encoder.layer_norm.weight" in tensors,
            float(config.get("epsilon", _EPSILON)),
        )


@dataclass(slots=True)
class _Writing:
    """A graph while it is being written down."""

    shape: _Shape
    sheet: Sheet

    def encoder(self) -> onnx.ModelProto:
        sheet, shape = self.sheet, self.shape
        states = self._words("encoder", "encoder.embed_tokens.weight", sheet.numbers([0]))
        real = sheet.op("Cast", "attention_mask", to=TensorProto.BOOL)
        start, end = sheet.numbers([0]), sheet.length("input_ids", 1)
        unseen = self._by_distance("encoder", self._unseen(real), start, end)
        for layer in range(shape.encoder):
            at = f"encoder.layers.{layer}"

            def attend(given: str, at: str = at) -> str:
                query, key, value = self._three(f"{at}.self_attn", given)
                return self._attention(f"{at}.self_attn", (query, key, value), unseen)

            states = self._part(f"{at}.self_attn_layer_norm", states, attend)
            states = self._part(f"{at}.final_layer_norm", states, self._forward(at))
        states = self._last("encoder", states)
        made = [
            self._heads(sheet.product(states, f"{which}.{layer}", f"{at}.{short}_proj"), out)
            for layer in range(shape.decoder)
            for at in (f"decoder.layers.{layer}.encoder_attn",)
            for which, short in (("key", "k"), ("value", "v"))
            for out in (f"cross_{which}.{layer}",)
        ]
        inputs = [whole(name, "rows", "source") for name in ("input_ids", "attention_mask")]
        return sheet.model("encoder", inputs, [self._cache(name, "source") for name in made])

    def decoder(self) -> onnx.ModelProto:
        sheet, shape = self.sheet, self.shape
        encoder, own = "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
        words = own if own in sheet.tensors else encoder
        before = sheet.length("past_key.0", 2)
        states = self._words("decoder", words, before)
        new = sheet.length("input_ids", 1)
        earlier = sheet.earlier(sheet.op("Add", before, new), new)
        causal = sheet.op("Where", earlier, sheet.number(0.0), sheet.number(UNSEEN))
        causal = self._by_distance("decoder", causal, before, sheet.op("Add", before, new))
        unseen = self._unseen(sheet.op("Cast", "source_mask", to=TensorProto.BOOL))
        for layer in range(shape.decoder):
            at = f"decoder.layers.{layer}"

            def attend(given: str, layer: int = layer, at: str = at) -> str:
                query, key, value = self._three(f"{at}.self_attn", given)
                key, value = (
                    sheet.op("Concat", f"past_{name}", each, axis=2, out=f"present_{name}")
                    for name, each in ((f"key.{layer}", key), (f"value.{layer}", value))
                )
                return self._attention(f"{at}.self_attn", (query, key, value), causal)

            def ask(given: str, layer: int = layer, at: str = at) -> str:
                at = f"{at}.encoder_attn"
                query = self._heads(sheet.product(given, f"{at}.q", f"{at}.q_proj"))
                parts = (query, f"cross_key.{layer}", f"cross_value.{layer}")
                return self._attention(at, parts, unseen)

            states = self._part(f"{at}.self_attn_layer_norm", states, attend)
            states = self._part(f"{at}.encoder_attn_layer_norm", states, ask)
            states = self._part(f"{at}.final_layer_norm", states, self._forward(at))
        states = self._last("decoder", sheet.op("Gather", states, "keep", axis=1))
        return self._closed(states, words)

    def _words(self, side: str, words: str, before: str) -> str:
        """Words and positions; `before` tokens stand before the first."""
        sheet, shape = self.sheet, self.shape
        states = sheet.op("Gather", sheet.weight(words), "input_ids", axis=0)
        if shape.scale != 1.0:
            states = sheet.op("Mul", states, sheet.number(shape.scale))
        table = f"{side}.embed_positions.weight"
        if table in sheet.tensors:
            start = sheet.op("Add", before, sheet.numbers([shape.offset]))
            places = self._range(start, sheet.op("Add", start, sheet.length("input_ids", 1)))
            found = sheet.op("Gather", sheet.weight(table), places, axis=0)
            states = sheet.op("Add", states, found)
        name = f"{side}.layernorm_embedding"
        return self._norm(name, states) if f"{name}.weight" in sheet.tensors else states

    def _range(self, start: str, end: str) -> str:
        """Whole numbers from one to before another, each (1,)."""
        sheet, zero = self.sheet, self.sheet.numbers([0])
        sheet.weights["step"] = np.array(1)
        bounds = (sheet.op("Squeeze", each, zero) for each in (start, end))
        return sheet.op("Range", *bounds, "step")

    def _by_distance(self, side: str, unseen: str, before: str, end: str) -> str:
        """What is added to scores by how far two tokens are apart, where a model has such a table.

        Args:
            side: Of the model.
            unseen: What is added anyhow.
            before: (1,) place of the first token that looks.
            end: (1,) behind the last one, and the last that is looked at.
        """
        sheet, name = self.sheet, f"{side}.distances"
        if name not in sheet.tensors:
            return unseen
        most = (len(sheet.tensors[name]) - 1) // 2
        keys = self._range(sheet.numbers([0]), end)
        queries = sheet.op("Unsqueeze", self._range(before, end), sheet.numbers([1]))
        apart = sheet.op("Sub", keys, queries)
        for which, limit in (("Max", -most), ("Min", most)):
            apart = sheet.op(which, apart, sheet.numbers([limit]))
        rows = sheet.op("Add", apart, sheet.numbers([most]))
        found = sheet.op("Gather", sheet.weight(name), rows, axis=0)  # (new, all, heads)
        return sheet.op("Add", unseen, sheet.op("Transpose", found, perm=[2, 0, 1]))

    def _last(self, side: str, states: str) -> str:
        return self._norm(f"{side}.layer_norm", states) if self.shape.first else states

    def _norm(self, name: str, states: str) -> str:
        sheet, epsilon = self.sheet, self.shape.epsilon
        scale = sheet.weight(f"{name}.weight")
        if f"{name}.bias" not in sheet.tensors:
            return sheet.scaled(states, scale, epsilon)
        bias = sheet.weight(f"{name}.bias")
        return sheet.op("LayerNormalization", states, scale, bias, axis=-1, epsilon=epsilon)

    def _part(self, norm: str, states: str, work: Callable[[str], str]) -> str:
        """A part of a layer, with the states beside it added."""
        if self.shape.first:
            return self.sheet.op("Add", states, work(self._norm(norm, states)))
        return self._norm(norm, self.sheet.op("Add", states, work(states)))

    def _forward(self, at: str) -> Callable[[str], str]:
        sheet, activation = self.sheet, _ACTIVATIONS[self.shape.activation]

        def work(given: str) -> str:
            opened = activation(sheet, sheet.product(given, f"{at}.up", f"{at}.fc1"))
            if f"{at}.fc1_beside.weight" in sheet.tensors:
                beside = sheet.product(given, f"{at}.beside", f"{at}.fc1_beside")
                opened = sheet.op("Mul", opened, beside)
            return sheet.product(opened, f"{at}.down", f"{at}.fc2")

        return work

    def _three(self, at: str, given: str) -> list[str]:
        """Queries, keys and values of what is given, by head."""
        width = self.shape.heads * self.shape.size
        parts = [f"{at}.{which}_proj" for which in "qkv"]
        together = self.sheet.product(given, f"{at}.qkv", *parts)
        return [self._heads(each) for each in self.sheet.split(together, [width] * 3)]

    def _heads(self, value: str, out: str = "") -> str:
        """(rows, S, heads · size) to (rows, heads, S, size)."""
        shape, sheet = self.shape, self.sheet
        apart = sheet.op("Reshape", value, sheet.numbers([0, 0, shape.heads, shape.size]))
        return sheet.op("Transpose", apart, perm=[0, 2, 1, 3], out=out)

    def _attention(self, at: str, parts: tuple[str, str, str], unseen: str) -> str:
        """What attention adds, given queries, keys and values by head."""
        shape, sheet = self.shape, self.sheet
        query, key, value = parts
        query = sheet.op("Mul", query, sheet.number(shape.asked))
        scores = sheet.op("MatMul", query, sheet.op("Transpose", key, perm=[0, 1, 3, 2]))
        weights = sheet.op("Softmax", sheet.op("Add", scores, unseen), axis=-1)
        mixed = sheet.op("Transpose", sheet.op("MatMul", weights, value), perm=[0, 2, 1, 3])
        flat = sheet.op("Reshape", mixed, sheet.numbers([0, 0, shape.heads * shape.size]))
        return sheet.product(flat, f"{at}.o", f"{at}.out_proj")

    def _unseen(self, real: str) -> str:
        """(rows, 1, 1, S): 0 where a token of the text is one, else very small."""
        sheet = self.sheet
        seen = sheet.op("Unsqueeze", real, sheet.numbers([1, 2]))
        return sheet.op("Where", seen, sheet.number(0.0), sheet.number(UNSEEN))

    def _closed(self, states: str, words: str) -> onnx.ModelProto:
        sheet, shape = self.sheet, self.shape
        sheet.weights[BIAS] = sheet.tensors[BIAS].reshape(-1)
        sheet.op("Add", sheet.scores(states, HEAD, words), BIAS, out="logits")
        kept = [f"{which}.{layer}" for layer in range(shape.decoder) for which in ("key", "value")]
        inputs = [
            whole("input_ids", "rows", "new"),
            whole("source_mask", "rows", "source"),
            whole("keep", "kept"),
            *(self._cache(f"cross_{name}", "source") for name in kept),
            *(self._cache(f"past_{name}", "before") for name in kept),
        ]
        outputs = [
            floats("logits", "rows", "kept", sheet.tensors[BIAS].size),
            *(self._cache(f"present_{name}", "all") for name in kept),
        ]
        return sheet.model("decoder", inputs, outputs)

    def _cache(self, name: str, length: str) -> onnx.ValueInfoProto:
        return floats(name, "rows", self.shape.heads, length, self.shape.size)


def _swish(sheet: Sheet, value: str) -> str:
    return sheet.op("Mul", value, sheet.op("Sigmoid", value))


_ACTIVATIONS: Mapping[str, Callable[[Sheet, str], str]] = {
    "gelu": lambda sheet, value: sheet.op("Gelu", value),
    "gelu_new": lambda sheet, value: sheet.op("Gelu", value, approximate="tanh"),
    "relu": lambda sheet, value: sheet.op("Relu", value),
    "silu": _swish,
    "swish": _swish,
}
