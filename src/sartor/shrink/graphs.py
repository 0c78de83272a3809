"""ONNX files as compressors read and write them, and the graphs that lie inside a graph."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from sartor.core.durable import write_durably
from sartor.core.errors import ModelError

DOMAIN = "com.microsoft"
"""Of the operators that ONNX Runtime adds to ONNX's."""


MOST_BYTES = 2**31 - 2**20
"""Of the weights of a graph: its file, which holds them, must have less than 2 GiB."""
_FLOAT = 4
"""Bytes of a weight before any compressor."""


def too_large(weights: int) -> str:
    """Why a model of so many weights cannot be a graph in float32; empty where it can."""
    if weights * _FLOAT <= MOST_BYTES:
        return ""
    return (
        f"its graph has {weights * _FLOAT / 1e9:.1f} GB in float32, and an ONNX file holds"
        f" {MOST_BYTES / 1e9:.1f} GB: {MOST_BYTES // _FLOAT // 10**6:,} M weights"
    )


def refuse_large(model: ModelProto, name: str) -> None:
    """
    Args:
        model: Whole, with its weights.
        name: What it was made of.

    Raises:
        ModelError: If no file can hold it.
    """
    size = sum(tensor.ByteSize() for tensor in every_weight(model.graph).values())
    if size > MOST_BYTES:
        raise ModelError(
            f"The graph of {name} has {size / 1e9:.1f} GB, and an ONNX file holds"
            f" {MOST_BYTES / 1e9:.1f} GB.",
            fix="name a smaller backbone under prefer.backbones.",
        )


def in_bytes(model: ModelProto, name: str) -> bytes:
    """The file of a model: the same model, the same bytes.

    Raises:
        ModelError: If no file can hold it.
    """
    refuse_large(model, name)
    return model.SerializeToString(deterministic=True)


def whole_file(model: ModelProto, name: str) -> bytes:
    """The file of a model that was written here, checked; arguments and errors as of `in_bytes`."""
    found = in_bytes(model, name)
    onnx.checker.check_model(found)
    return found


def read_graph(path: Path) -> ModelProto:
    """The model in a file, with its weights."""
    return onnx.load(path)


def write_graph(model: ModelProto, target: Path) -> None:
    """Write a changed model: the same model, the same bytes.

    Raises:
        ModelError: If it is no longer valid ONNX, or no file can hold it.
    """
    found = in_bytes(model, target.name)
    try:
        onnx.checker.check_model(found)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"The compressed graph is not valid ONNX: {error}.",
            fix="name another backbone under prefer.backbones: this one is not understood.",
        ) from error
    write_durably(target, found)


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


def fold_transposes(graph: GraphProto) -> None:
    """Store weights as the products read them.

    The exporter does so itself, but not for a weight that two passes share; and what multiplies a
    computed value instead of a stored one, no compressor can quantise or fuse.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    turned = [n for n in graph.node if n.op_type == "Transpose" and n.input[0] in weights]
    stored: dict[tuple[str, tuple[int, ...]], str] = {}
    named: dict[str, str] = {}
    for node in turned:
        (axes,) = (tuple(each.ints) for each in node.attribute if each.name == "perm")
        name = stored.setdefault((node.input[0], axes), node.output[0])
        named[node.output[0]] = name
        if name == node.output[0]:
            found = numpy_helper.to_array(weights[node.input[0]]).transpose(axes)
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(found), name))
        graph.node.remove(node)
    for node in graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = named.get(name, name)
    if turned:
        drop_unread(graph)


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
