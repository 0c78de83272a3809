"""Where a graph looks token ids up, so that rows of its tables can be left out.

Ids flow from `input_ids`, and from the `other_ids` of a second text, through nodes that move them
about; a table is what they index. Any other use of an id as a number would change its meaning with
the numbering, and is refused.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from sartor.core.errors import NothingToShrink
from sartor.shrink.graphs import every_graph, every_node, every_weight, replace_weight

IDS = ("input_ids", "other_ids")
_MOVES = ("Cast", "Expand", "Flatten", "GatherND", "Identity", "Reshape", "Slice", "Squeeze")
_MOVES = (*_MOVES, "Transpose", "Unsqueeze")
_MEASURES = ("Shape", "Size")
_COMPARES = ("Equal",)


@dataclass(slots=True)
class Lookups:
    """What is found about token ids in one graph.

    Args:
        tables: Names of the weights whose rows they choose.
        compared: Ids that they are compared with, such as that of the padding.
        constants: Names of the weights that hold such ids and are used for nothing else.
        pinned: Those of the compared ids that must keep their number, since the weight that holds
            them is also used otherwise.
    """

    tables: dict[str, list[NodeProto]] = field(default_factory=dict[str, list[NodeProto]])
    compared: set[int] = field(default_factory=set[int])
    constants: set[str] = field(default_factory=set[str])
    pinned: set[int] = field(default_factory=set[int])


def find_lookups(model: ModelProto) -> Lookups:
    """
    Raises:
        NothingToShrink: If ids are used as numbers, or nothing is looked up.
    """
    weights = every_weight(model.graph)
    stored = {
        node.output[0]: node.input[0]
        for node in every_node(model.graph)
        if node.op_type == "Cast" and node.input[0] in weights
    }
    found, ids, columns = Lookups(), set[str](IDS), set[str]()
    for node in every_node(model.graph):
        fed = [index for index, name in enumerate(node.input) if name in ids]
        if not fed or node.op_type in _MEASURES:
            continue
        if fed == [0] and node.op_type in (*_MOVES, "Gather"):
            ids.update(node.output)
            columns.update(node.output if node.op_type == "Unsqueeze" else ())
        elif fed == [1] and _looks_up(node, columns):
            table = stored.get(node.input[0], node.input[0])
            if table not in weights:
                raise _as_numbers(node)
            found.tables.setdefault(table, []).append(node)
        elif node.op_type in _COMPARES and len(fed) == 1 and node.input[1 - fed[0]] in weights:
            found.constants.add(node.input[1 - fed[0]])
        else:
            raise _as_numbers(node)
    _sort_compared(model, found, ids)
    _only_looked_up(model, found, stored)
    return found


def keep_rows(model: ModelProto, found: Lookups, kept: NDArray[np.int64]) -> None:
    """Leave the rows `kept` in every table, in that order; compared ids are all among them."""
    weights = every_weight(model.graph)
    number = {int(old): new for new, old in enumerate(kept)}
    for name in found.constants:
        before = numpy_helper.to_array(weights[name])
        after = np.array([number[int(old)] for old in before.ravel()], before.dtype)
        replace_weight(weights[name], numpy_helper.from_array(after.reshape(before.shape)))
    for name in found.tables:
        tensor = weights[name]
        rows = numpy_helper.to_array(tensor)[kept]
        replace_weight(tensor, numpy_helper.from_array(np.ascontiguousarray(rows)))
    stale = {*found.tables, *(node.input[0] for nodes in found.tables.values() for node in nodes)}
    for graph in every_graph(model.graph):
        shapes = [value for value in graph.value_info if value.name not in stale]
        del graph.value_info[:]
        graph.value_info.extend(shapes)


def rows_of(model: ModelProto, found: Lookups) -> int:
    """Rows that every table has."""
    weights = every_weight(model.graph)
    return min(int(weights[name].dims[0]) for name in found.tables)


def _sort_compared(model: ModelProto, found: Lookups, ids: set[str]) -> None:
    """Tell constants that may be renumbered from those that something else reads as numbers."""
    weights = every_weight(model.graph)
    values = {
        name: {int(value) for value in numpy_helper.to_array(weights[name]).ravel()}
        for name in found.constants
    }
    found.compared.update(*values.values())
    for node in every_node(model.graph):
        compares = node.op_type in _COMPARES and bool(ids.intersection(node.input))
        if not compares:
            for name in found.constants.intersection(node.input):
                found.pinned |= values[name]
                found.constants.discard(name)


def _only_looked_up(model: ModelProto, found: Lookups, stored: dict[str, str]) -> None:
    """Refuse a table that is also used whole, as tied output weights would be."""
    if not found.tables:
        raise NothingToShrink(
            "trim_vocabulary found no table that token ids choose rows of.",
            fix="choose another compressor: this graph holds no table of words.",
        )
    lookups = {node.output[0] for nodes in found.tables.values() for node in nodes}
    for node in every_node(model.graph):
        names = {stored.get(name, name) for name in node.input}
        moved = node.op_type == "Cast" and node.output[0] in stored
        if names & set(found.tables) and not moved and node.output[0] not in lookups:
            raise _as_numbers(node)


def _looks_up(node: NodeProto, columns: set[str]) -> bool:
    """Whether its second input chooses rows of its first; GatherND reads ids one in a column."""
    along = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Gather":
        return along.get("axis", 0) == 0
    return node.op_type == "GatherND" and node.input[1] in columns and not along.get("batch_dims")


def _as_numbers(node: NodeProto) -> NothingToShrink:
    return NothingToShrink(
        f"trim_vocabulary cannot renumber tokens: {node.op_type} uses their ids, or their table,"
        " otherwise than to look rows up.",
        fix="choose another compressor for this architecture.",
    )
