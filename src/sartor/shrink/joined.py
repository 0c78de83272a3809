"""Several graphs of one input as one graph, what they compute alike computed once.

A node whose operator, attributes and inputs are those of an earlier node gives that node's outputs
(value numbering, Cocke and Schwartz 1970). So heads on one frozen encoder keep one encoder, and a
model whose lower layers were frozen shares them, without anybody having to know which method
trained what.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from sartor.core.durable import write_durably
from sartor.core.errors import ModelError
from sartor.core.texts import COLUMNS

INPUTS = ("input_ids", "attention_mask", "other_ids", "other_mask", COLUMNS)
OUTPUT = "logits"
Factor = float | Sequence[Sequence[float]]
"""What logits are multiplied with: a number, or a matrix (outputs, outputs), output by input."""
_MOST_BYTES = 2_000_000_000  # a protobuf message holds no more
_DRAWN = ("Random", "Multinomial", "Bernoulli", "Dropout")  # twice the same node, two results
_SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


@dataclass(frozen=True, slots=True)
class Members:
    """Graphs that are to be one.

    Args:
        graphs: In the order given; each reads `INPUTS` (or one of them) as the same token ids and
            writes (batch, outputs) over the same outputs.
        opsets: Domain to version; a domain that several use, the same for all.
        version: Of the intermediate representation.
    """

    graphs: Sequence[onnx.GraphProto]
    opsets: Mapping[str, int]
    version: int

    @staticmethod
    def read(paths: Sequence[Path]) -> "Members":
        """
        Raises:
            ModelError: If the graphs have different versions of an operator set.
        """
        models = [onnx.load(path, load_external_data=False) for path in paths]
        opsets = [{entry.domain: entry.version for entry in m.opset_import} for m in models]
        # Where two differ, the first one is right, and the other is named.
        every = {domain: version for found in reversed(opsets) for domain, version in found.items()}
        for path, model, found in zip(paths, models, opsets, strict=True):
            if not found.items() <= every.items() or len(model.functions):
                raise ModelError(
                    f"{path.name} was exported for other operators than the graphs it should join.",
                    fix="run the need again: all members are then exported by the same version.",
                )
        return Members([m.graph for m in models], every, max(m.ir_version for m in models))

    def write(self, graph: onnx.GraphProto, target: Path) -> None:
        """Write what was made of them.

        Raises:
            ModelError: If it is too large for one file.
        """
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(d, v) for d, v in self.opsets.items()],
            ir_version=self.version,
        )
        if (size := made.ByteSize()) > _MOST_BYTES:
            raise ModelError(
                f"The {len(self.graphs)} members take {size / 1e6:,.0f} MB together; one ONNX file"
                f" holds {_MOST_BYTES / 1e6:,.0f} MB.",
                fix="choose smaller backbones under prefer.backbones, or"
                " prefer: {ensemble: false}.",
            )
        onnx.checker.check_model(made)
        write_durably(target, made.SerializeToString(deterministic=True))


@dataclass(slots=True)
class Joined:
    """The graph so far, and what it already computes."""

    nodes: list[NodeProto] = field(default_factory=list[NodeProto])
    weights: list[TensorProto] = field(default_factory=list[TensorProto])
    shapes: list[ValueInfoProto] = field(default_factory=list[ValueInfoProto])
    given: dict[str, ValueInfoProto] = field(default_factory=dict[str, ValueInfoProto])
    answer: ValueInfoProto | None = None
    known: dict[object, list[str]] = field(default_factory=dict[object, list[str]])
    taken: set[str] = field(default_factory=lambda: {OUTPUT, *INPUTS})
    sized: bool = True
    """Whether the members' names of sizes ("batch") hold here."""

    def add(self, graph: onnx.GraphProto, instead: Mapping[str, str] | None = None) -> str:
        """Put a member in; the name under which its logits are now.

        Args:
            graph: The member.
            instead: Input's name to the value it reads in its place.

        Raises:
            ModelError: If the member holds a control-flow node.
        """
        names = {"": ""} | {value.name: value.name for value in graph.input} | dict(instead or {})
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
                self.shapes.append(self._shape(value, names[value.name]))
        return names[graph.output[0].name]

    def constant(self, values: NDArray[np.float32] | NDArray[np.int64], name: str) -> str:
        """A value that does not depend on the input; its name."""
        return self._weight(numpy_helper.from_array(values, name))

    def apply(self, operator: str, inputs: Sequence[str], name: str, **settings: object) -> str:
        """One operator more; the name of its result, which is `name` where that is free."""
        result = name if name == OUTPUT else self._free(name)
        node = helper.make_node(operator, inputs, [result], name=result, **settings)  # pyright: ignore[reportArgumentType]
        self.nodes.append(node)
        return result

    def times(self, logits: str, factor: Factor) -> str:
        """Logits multiplied with a factor; the result's name.

        A matrix is applied as products and sums: a compressor would take a matrix product for one
        worth rounding.
        """
        by = self.constant(np.array(factor, np.float32), "factor")
        if isinstance(factor, int | float):
            return self.apply("Mul", [logits, by], "scaled")
        column = self.apply("Unsqueeze", [logits, self.constant(np.array([1]), "column")], "row")
        last = self.constant(np.array([2]), "last")
        products = self.apply("Mul", [column, by], "products")
        return self.apply("ReduceSum", [products, last], "turned", keepdims=0)

    def branch(self) -> "Joined":
        """An empty graph to run inside this one, which sees its values and gives none of its own.

        Rows may be other ones there, so the members' names of sizes do not hold.
        """
        return Joined(
            given=self.given,
            answer=self.answer,
            known=dict(self.known),
            taken=self.taken,
            sized=False,
        )

    def whole(self, name: str) -> onnx.GraphProto:
        """The graph from `INPUTS` to `OUTPUT`."""
        given = [self.given[each] for each in INPUTS if each in self.given]
        return self._graph(name, given, OUTPUT)

    def inner(self, result: str) -> onnx.GraphProto:
        """The graph of a branch, which gives one value."""
        return self._graph(result, [], result)

    def _graph(self, name: str, given: Sequence[ValueInfoProto], result: str) -> onnx.GraphProto:
        assert self.answer is not None, "there is at least one member"
        logits = self._shape(self.answer, result)
        return helper.make_graph(
            self.nodes, name, given, [logits], self.weights, value_info=self.shapes
        )

    def _shape(self, value: ValueInfoProto, name: str) -> ValueInfoProto:
        copy = ValueInfoProto()
        copy.CopyFrom(value)
        copy.name = name
        if not self.sized:
            for size in copy.type.tensor_type.shape.dim:
                size.ClearField("dim_param")
        return copy

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
