"""What no table touches is computed once a text: the layers below the lowest adapted one.

    h = lower(texts)           (texts, …)
    logits = upper(h[rows])    (rows, …),  rows: which text each row asks about

Where only upper layers take tables, the lower ones give the same for every user. So the graph reads
each different text once, and an input says which of them each row is about. Values that go from the
lower to the upper part are gathered by it; those that only hold sizes are computed anew for the
rows. Which are which shows in two runs with different numbers of texts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from sartor.bundle.base import ROWS
from sartor.shrink.graphs import drop_unread, inner_graphs
from sartor.shrink.lowrank import downstream

_PRODUCTS = ("MatMul", "MatMulInteger", "MatMulIntegerToFloat", "MultiHeadAttention")
_MOST_COPIES = 60
"""Nodes of arithmetic on sizes; more would be part of the model itself."""
Probe = Mapping[str, NDArray[np.int64]]
"""Inputs of a graph, some texts of them."""


class _TooTangled(Exception):
    """The upper part reads of the lower one what cannot be told apart."""


def share_prefix(model: ModelProto, tables: Collection[str], probes: Sequence[Probe]) -> bool:
    """Let a graph compute its lower part once a text; whether there was anything to share.

    Args:
        model: Changed where it could be: it then has the input `ROWS`.
        tables: Names of the inputs that take tables.
        probes: Two, with different numbers of texts of one length.
    """
    graph = model.graph
    if any(inner_graphs(node) for node in graph.node):
        return False
    above = downstream(graph, tables)
    upper = [node for node in graph.node if above.intersection(node.output)]
    lower = [node for node in graph.node if not above.intersection(node.output)]
    stored = {tensor.name for tensor in graph.initializer}
    read = {node.input[0] for node in upper if len(node.input) > 1 and node.input[1] in tables}
    if not any(node.op_type in _PRODUCTS for node in _behind(read, lower)):
        return False
    crossing = [name for node in upper for name in node.input if name]
    crossing = [n for n in dict.fromkeys(crossing) if n not in above and n not in stored]
    crossed = _Crossing(graph, _seen(model, crossing, probes))
    try:
        instead = {name: crossed.for_rows(name) for name in crossing}
    except _TooTangled:
        return False
    for node in upper:
        node.input[:] = [instead.get(name, name) for name in node.input]
    graph.input.append(helper.make_tensor_value_info(ROWS, TensorProto.INT64, ["rows"]))
    del graph.node[:]
    graph.node.extend([*lower, *crossed.nodes, *upper])
    # What was said of shapes named the texts; now some of it has rows.
    del graph.value_info[:]
    return True


def _behind(names: Collection[str], nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Those of some nodes, in the order in which they run, that values are computed from."""
    needed, found = set(names), list[NodeProto]()
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            found.append(node)
    return found


def _seen(
    model: ModelProto, names: Sequence[str], probes: Sequence[Probe]
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Each value as it is for the one probe and for the other."""
    copy = ModelProto()
    copy.CopyFrom(model)
    given = [value for value in copy.graph.input if value.name in probes[0]]
    inside = [name for name in names if name not in probes[0]]
    del copy.graph.output[:], copy.graph.input[:]
    copy.graph.output.extend(ValueInfoProto(name=name) for name in inside)
    copy.graph.input.extend(given)
    drop_unread(copy.graph)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        copy.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    wanted = {value.name for value in given}

    def run(probe: Probe) -> dict[str, NDArray[Any]]:
        found: Any = session.run(None, {n: v for n, v in probe.items() if n in wanted})
        return {**dict(zip(inside, found, strict=True)), **probe}

    first, second = (run(probe) for probe in probes)
    return {name: (first[name], second[name]) for name in names}


@dataclass(slots=True)
class _Crossing:
    """Gathers what goes from the lower part to the upper one.

    Args:
        graph: Of both.
        seen: Values that cross, as the two probes made them.
        nodes: What was put between.
    """

    graph: GraphProto
    seen: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]
    nodes: list[NodeProto] = field(default_factory=list[NodeProto])
    done: dict[str, str] = field(default_factory=dict[str, str])

    def for_rows(self, name: str) -> str:
        """The value that a row sees in the place of one that is computed for texts."""
        if name in self.done:
            return self.done[name]
        one, other = self.seen[name]
        if one.shape == other.shape and np.array_equal(one, other):
            found = name  # nothing of it depends on how many texts there are
        elif self._has_rows(name):
            found = self._gathered(name)
        else:
            found = self._again(name)
        self.done[name] = found
        return found

    def _gathered(self, name: str) -> str:
        result = f"{name}_of_rows"
        self.nodes.append(helper.make_node("Gather", [name, ROWS], [result], result, axis=0))
        self.done[name] = result
        return result

    def _again(self, name: str) -> str:
        """Arithmetic on sizes, from the inputs or from a value that is gathered already."""
        if name in self.done:
            return self.done[name]
        if name in self.seen and self._has_rows(name):
            return self._gathered(name)
        if any(value.name == name for value in self.graph.input):
            return self._gathered(name)
        made = [node for node in self.graph.node if name in node.output]
        if not made:
            return name  # stored
        if len(self.nodes) > _MOST_COPIES or made[0].op_type in _PRODUCTS:
            raise _TooTangled
        inputs = [self._again(read) if read else "" for read in made[0].input]
        copy = NodeProto()
        copy.CopyFrom(made[0])
        copy.input[:] = inputs
        copy.output[:] = [f"{result}_of_rows" if result else "" for result in made[0].output]
        copy.name = f"{made[0].name or name}_of_rows"
        self.nodes.append(copy)
        self.done |= zip(made[0].output, copy.output, strict=True)
        return self.done[name]

    def _has_rows(self, name: str) -> bool:
        one, other = self.seen[name]
        return bool(one.ndim) and one.shape[0] != other.shape[0]  # they differ in texts alone
