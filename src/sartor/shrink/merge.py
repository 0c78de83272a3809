"""Several graphs of one input as one graph, whose logits are a weighted sum of theirs.

logits(x) = Σ_k w_k · logits_k(x)

What two members compute alike from the same weights is computed once: a node whose operator,
attributes and inputs are those of an earlier node gives that node's outputs (value numbering,
Cocke and Schwartz 1970). So heads on one frozen encoder keep one encoder, and a model whose lower
layers were frozen shares them, without anybody having to know which method trained what.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from sartor.core.durable import write_durably
from sartor.core.errors import ModelError

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"
_MOST_BYTES = 2_000_000_000  # a protobuf message holds no more
_DRAWN = ("Random", "Multinomial", "Bernoulli", "Dropout")  # twice the same node, two results
_SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def merge_graphs(parts: Sequence[tuple[Path, float]], target: Path) -> None:
    """Write the weighted sum of graphs as one graph.

    Args:
        parts: (graph, weight) of each member, at least one; all read `INPUTS` (or one of them) as
            the same token ids and write `OUTPUT` (batch, outputs) over the same outputs.
        target: The .onnx file to write.

    Raises:
        ModelError: If the graphs have different operator sets, hold a control-flow node, or are
            too large together for one file.
    """
    merged = _Merged()
    opsets, version = None, 0
    for path, weight in parts:
        model = onnx.load(path, load_external_data=False)
        found = {entry.domain: entry.version for entry in model.opset_import}
        opsets = opsets or found
        if found != opsets or len(model.functions):
            raise ModelError(
                f"{path.name} was exported for other operators than the graphs it should join.",
                fix="run the need again: all members are then exported by the same version.",
            )
        version = max(version, model.ir_version)
        merged.scale(merged.add(model.graph), weight)
    graph = merged.graph()
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(d, v) for d, v in (opsets or {}).items()],
        ir_version=version,
    )
    if (size := made.ByteSize()) > _MOST_BYTES:
        raise ModelError(
            f"The {len(parts)} members take {size / 1e6:,.0f} MB together; one ONNX file holds"
            f" {_MOST_BYTES / 1e6:,.0f} MB.",
            fix="choose smaller backbones under prefer.backbones, or prefer: {ensemble: false}.",
        )
    onnx.checker.check_model(made)
    write_durably(target, made.SerializeToString(deterministic=True))


@dataclass(slots=True)
class _Merged:
    """The graph so far, and what it already computes."""

    nodes: list[NodeProto] = field(default_factory=list[NodeProto])
    weights: list[TensorProto] = field(default_factory=list[TensorProto])
    shapes: list[ValueInfoProto] = field(default_factory=list[ValueInfoProto])
    given: dict[str, ValueInfoProto] = field(default_factory=dict[str, ValueInfoProto])
    answer: ValueInfoProto | None = None
    terms: list[str] = field(default_factory=list[str])
    known: dict[object, list[str]] = field(default_factory=dict[object, list[str]])
    taken: set[str] = field(default_factory=lambda: {OUTPUT, *INPUTS})

    def add(self, graph: onnx.GraphProto) -> str:
        """Put a member in; the name under which its logits are now."""
        names = {"": ""} | {value.name: value.name for value in graph.input}
        for value in graph.input:
            self.given.setdefault(value.name, value)
        self.answer = self.answer or graph.output[0]
        for tensor in graph.initializer:
            names[tensor.name] = self._weight(tensor)
        new: set[str] = set()
        for node in graph.node:
            self._node(node, names, new)
        for value in graph.value_info:
            if value.name in new:
                copy = ValueInfoProto()
                copy.CopyFrom(value)
                copy.name = names[value.name]
                self.shapes.append(copy)
        return names[graph.output[0].name]

    def scale(self, name: str, weight: float) -> None:
        """One more term of the sum."""
        factor = self._weight(numpy_helper.from_array(np.array(weight, np.float32), "weight"))
        term = self._free("term")
        self.nodes.append(helper.make_node("Mul", [name, factor], [term], name=term))
        self.terms.append(term)

    def graph(self) -> onnx.GraphProto:
        self.nodes.append(helper.make_node("Sum", self.terms, [OUTPUT], name=OUTPUT))
        assert self.answer is not None, "a sum has at least one member"
        logits = ValueInfoProto()
        logits.CopyFrom(self.answer)
        logits.name = OUTPUT
        given = [self.given[name] for name in INPUTS if name in self.given]
        return helper.make_graph(
            self.nodes, "ensemble", given, [logits], self.weights, value_info=self.shapes
        )

    def _weight(self, tensor: TensorProto) -> str:
        values = numpy_helper.to_array(tensor)
        bytes_ = hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()
        key = (tensor.data_type, tuple(tensor.dims), bytes_)
        if key not in self.known:
            copy = TensorProto()
            copy.CopyFrom(tensor)
            copy.name = self._free(tensor.name)
            self.weights.append(copy)
            self.known[key] = [copy.name]
        return self.known[key][0]

    def _node(self, node: NodeProto, names: dict[str, str], new: set[str]) -> None:
        """One node of a member, whose results `names` tells afterwards; `new` if they are."""
        if any(a.type in _SUBGRAPHS for a in node.attribute):
            raise ModelError(
                f"A graph of the ensemble holds the control-flow node {node.op_type}.",
                fix="set prefer: {ensemble: false}; this architecture cannot be merged.",
            )
        inputs = [names[name] for name in node.input]
        key: object = (node.domain, node.op_type, tuple(inputs), len(node.output), _settings(node))
        if key not in self.known or node.op_type.startswith(_DRAWN):
            copy = NodeProto()
            copy.CopyFrom(node)
            outputs = [self._free(name) if name else "" for name in node.output]
            copy.input[:], copy.output[:] = inputs, outputs
            copy.name = outputs[0]
            self.nodes.append(copy)
            self.known[key] = outputs
            new.update(name for name in node.output if name)
        names.update(zip(node.output, self.known[key], strict=True))

    def _free(self, name: str) -> str:
        """`name`, or with a number behind it where another member has it."""
        free, count = name, 1
        while free in self.taken:
            count += 1
            free = f"{name}_{count}"
        self.taken.add(free)
        return free


def _settings(node: NodeProto) -> tuple[bytes, ...]:
    ordered = sorted(node.attribute, key=lambda a: a.name)
    return tuple(a.SerializeToString(deterministic=True) for a in ordered)
