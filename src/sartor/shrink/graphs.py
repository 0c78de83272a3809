"""ONNX files as compressors read and write them, and the graphs that lie inside a graph."""

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from sartor.core.durable import write_durably
from sartor.core.errors import ModelError

DOMAIN = "com.microsoft"
"""Of the operators that ONNX Runtime adds to ONNX's."""


def read_graph(path: Path) -> ModelProto:
    """The model in a file, with its weights."""
    return onnx.load(path)


def write_graph(model: ModelProto, target: Path) -> None:
    """Write a changed model: the same model, the same bytes.

    Raises:
        ModelError: If it is no longer valid ONNX.
    """
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"The compressed graph is not valid ONNX: {error}.",
            fix="name another backbone under prefer.backbones: this one is not understood.",
        ) from error
    write_durably(target, model.SerializeToString(deterministic=True))


def know_domain(model: ModelProto) -> None:
    """Say that the model uses operators of `DOMAIN`."""
    if all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))


def inner_graphs(node: NodeProto) -> list[GraphProto]:
    """The branches or the body of a node of control flow; nothing of any other."""
    return [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]


def every_graph(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph, then those inside it: the dear member of a cascade lies in a branch."""
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from every_graph(inner)


def every_node(graph: GraphProto) -> Iterator[NodeProto]:
    """Nodes in the order in which they run, those of a branch right after the node it hangs on."""
    for node in graph.node:
        yield node
        for inner in inner_graphs(node):
            yield from every_node(inner)


def every_weight(graph: GraphProto) -> dict[str, TensorProto]:
    """Name to tensor of all weights, wherever they lie; no name occurs twice."""
    return {tensor.name: tensor for each in every_graph(graph) for tensor in each.initializer}


def replace_weight(tensor: TensorProto, by: TensorProto) -> None:
    """Put another tensor in the place of one; it keeps the name."""
    name = tensor.name
    tensor.CopyFrom(by)
    tensor.name = name


def drop_unread(graph: GraphProto) -> None:
    """Leave out nodes, weights and shapes that no output depends on, in inner graphs too."""
    for node in graph.node:
        for inner in inner_graphs(node):
            drop_unread(inner)
    needed = {value.name for value in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_reads(node))
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    shapes = [value for value in graph.value_info if value.name in needed]
    del graph.node[:]
    graph.node.extend(reversed(kept))
    del graph.initializer[:]
    graph.initializer.extend(weights)
    del graph.value_info[:]
    graph.value_info.extend(shapes)


def _reads(node: NodeProto) -> Iterator[str]:
    yield from node.input
    for inner in inner_graphs(node):
        for value in inner.output:
            yield value.name
        for each in inner.node:
            yield from _reads(each)
