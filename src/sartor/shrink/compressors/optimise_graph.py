"""Graph optimisation: the same numbers from fewer and quicker operators of ONNX Runtime.

softmax(q · kᵀ · scale + mask) · v  →  MultiHeadAttention(q, k, v, mask)

The exporter writes an attention out as reshapes, transposes, two products and a softmax, with a
guard against rows that are masked whole, which no text has. One operator computes all of it and
does not write the scores of all heads to memory between its steps.

LayerNorm(Add(x, y))  →  LayerNorm(Sum(x, y))

ONNX Runtime would put its SkipLayerNormalization in the place of the left side when it loads the
graph, and on a CPU that takes several times as long as the two operators it replaces. It does not
look for a Sum. Other fusions and constant folding it does well by itself, and they are left to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from sartor.core.errors import NothingToShrink
from sartor.shrink.api import COMPRESSORS, GRAPH, Bench, Eased, Form, Place
from sartor.shrink.graphs import (
    DOMAIN,
    drop_unread,
    every_graph,
    every_weight,
    know_domain,
    read_graph,
    write_graph,
)

_APART = ("Transpose", "Reshape")
"""From heads apart back to heads side by side; each node's first input is the next one's result."""
_TURNED = ("Reshape", "Transpose", "Reshape", *_APART)


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class OptimiseGraph:
    """Fuses attentions that are written out, and keeps residual sums apart from layer norms."""

    eases: ClassVar[tuple[Eased, ...]] = ("speed",)
    trains: ClassVar[bool] = False
    place: ClassVar[Place] = "graph"

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        model = read_graph(source.graph)
        weights = every_weight(model.graph)
        changed = sum(
            _Attentions(graph, weights).fuse() + _kept_apart(graph)
            for graph in every_graph(model.graph)
        )
        if not changed:
            raise NothingToShrink(
                f"optimise_graph found no attention and no residual in {source.graph.name} that it"
                " knows a quicker form of.",
                fix="ship the graph as it is: it has none, or was optimised already.",
            )
        know_domain(model)
        drop_unread(model.graph)
        write_graph(model, target / GRAPH)


def _kept_apart(graph: GraphProto) -> int:
    """Let layer norms read a Sum where they read an Add; how many did."""
    read = {node.input[0] for node in graph.node if node.op_type == "LayerNormalization"}
    residuals = [n for n in graph.node if n.op_type == "Add" and n.output[0] in read]
    for node in residuals:
        node.op_type = "Sum"
    return len(residuals)


@dataclass(frozen=True, slots=True)
class _Found:
    """One attention.

    Args:
        given: q, k, v (batch, tokens, width) and what is added to the scores.
        result: Value that holds (batch, tokens, width) afterwards.
        heads: Their number.
        scale: Of the scores.
    """

    given: tuple[str, str, str, str]
    result: str
    heads: int
    scale: float


class _Attentions:
    """Those of one graph, the graphs inside it aside."""

    def __init__(self, graph: GraphProto, weights: Mapping[str, TensorProto]) -> None:
        self.graph, self.weights = graph, weights
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def fuse(self) -> int:
        """How many were found and fused."""
        found = [self._around(node) for node in self.graph.node if node.op_type == "Softmax"]
        by_result = {each.result: each for each in found if each is not None}
        nodes = [
            self._fused(by_result[node.output[0]]) if node.output[0] in by_result else node
            for node in self.graph.node
        ]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        return len(by_result)

    def _fused(self, found: _Found) -> NodeProto:
        q, k, v, mask = found.given
        return helper.make_node(
            "MultiHeadAttention",
            [q, k, v, "", "", mask],
            [found.result],
            f"{found.result}_fused",
            domain=DOMAIN,
            num_heads=found.heads,
            scale=found.scale,
        )

    def _around(self, softmax: NodeProto) -> _Found | None:
        """The attention whose scores a softmax normalises; None where it is written otherwise."""
        masked = self._maker(softmax.input[0], "Add")
        scores = masked and self._maker(masked.input[0], "MatMul")
        unmasked = self._reader(softmax.output[0], "Where")
        mixed = unmasked and self._reader(unmasked.output[0], "MatMul")
        side = mixed and self._reader(mixed.output[0], "Transpose")
        last = side and self._reader(side.output[0], "Reshape")
        if masked is None or scores is None or mixed is None or last is None:
            return None
        scaled = [self._maker(name, "Mul") for name in scores.input]
        if any(node is None for node in scaled):
            return None
        (left, q_scale), (right, k_scale) = [
            (n.input[0], self._number(n.input[1])) for n in scaled if n
        ]
        q, k = self._back(left, _APART), self._back(right, _TURNED)
        v = self._back(mixed.input[1], _APART)
        heads = self._heads(left, q)
        if not (q and k and v and heads and q_scale and k_scale):
            return None
        given = (q, k, v, masked.input[1])
        return _Found(given, last.output[0], heads, q_scale * k_scale)

    def _heads(self, apart: str, together: str | None) -> int | None:
        """Width of the queries over the width of one head, both as they are stored."""
        reshape = (
            self._maker(self.makers[apart].input[0], "Reshape") if apart in self.makers else None
        )
        shape = reshape and self._maker(reshape.input[1], "Concat")
        made = self.makers.get(together or "")
        one = shape and self._number(shape.input[-1])
        stored = [
            self.weights[n].dims[-1] for n in (made.input if made else ()) if n in self.weights
        ]
        if not one or not stored or stored[0] % int(one):
            return None
        return stored[0] // int(one)

    def _number(self, name: str) -> float | None:
        tensor = self.weights.get(name)
        if tensor is None or list(tensor.dims) not in ([], [1]):
            return None
        return float(numpy_helper.to_array(tensor).item())

    def _back(self, name: str, kinds: Sequence[str]) -> str | None:
        """The value that went through nodes of these kinds, last first, to become `name`."""
        for kind in kinds:
            node = self._maker(name, kind)
            if node is None:
                return None
            name = node.input[0]
        return name

    def _maker(self, name: str, kind: str) -> NodeProto | None:
        node = self.makers.get(name)
        return node if node is not None and node.op_type == kind else None

    def _reader(self, name: str, kind: str) -> NodeProto | None:
        """The one node of a kind that reads a value."""
        found = [node for node in self.readers.get(name, ()) if node.op_type == kind]
        return found[0] if len(found) == 1 else None
