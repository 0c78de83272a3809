"""What recommends to one ONNX graph: the places of a history's items → logits of all items.

The equation is that of `tasks.recommendation.model`; neighbours are added up where they lie by
ScatterElements, so that a request touches the neighbours of its own items alone.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sartor.core.texts import COLUMNS
from sartor.shrink.joined import OUTPUT
from sartor.tasks.recommendation.model import LEAST, Recommender


@dataclass(slots=True)
class _Graph:
    """Nodes and weights while they are put together."""

    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    kept: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])

    def keep(self, name: str, value: NDArray[np.generic]) -> str:
        """A stored tensor's name."""
        self.kept.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """The name of what a node gives."""
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output


def recommender_graph(model: Recommender, opset: int) -> onnx.ModelProto:
    """The graph of a model that recommends.

    Args:
        model: In eval mode.
        opset: Of the other graphs.
    """
    g, sizes = _Graph(), model.sizes
    zero = g.keep("zero", np.array(0, np.int64))
    places = g.node("Cast", [COLUMNS], "places", to=TensorProto.INT64)
    items = g.node("Max", [places, zero], "items")
    known = g.node("GreaterOrEqual", [places, zero], "known")
    there = g.node("Cast", [known], "there", to=TensorProto.FLOAT)
    batch = g.node("Shape", [COLUMNS], "batch", start=0, end=1)
    shape = g.node("Concat", [batch, g.keep("one", np.array([1], np.int64))], "shape", axis=0)
    total = g.node("Expand", [g.keep("bias", _row(model, "bias")), shape], "total")
    if sizes.near:
        total = _neighbours(g, model, (items, there, batch), total)
    for at in range(len(sizes.widths)):
        total = _vectors(g, model, at, (items, there), total)
    g.node("Identity", [total], OUTPUT)
    graph = helper.make_graph(
        g.nodes,
        "recommender",
        [helper.make_tensor_value_info(COLUMNS, TensorProto.FLOAT, ["batch", sizes.length])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", sizes.items])],
        g.kept,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _row(model: Recommender, name: str) -> NDArray[np.float32]:
    """(1, n) of a stored vector."""
    return model.get_buffer(name).numpy()[None, :]


def _neighbours(g: _Graph, model: Recommender, given: tuple[str, str, str], total: str) -> str:
    items, there, batch = given
    table = g.keep("near_items", model.near_items.numpy())
    where = g.node("Gather", [table, items], "near_where", axis=0)
    shares = g.keep("near_share", model.near_share.numpy())
    share = g.node("Gather", [shares, items], "near", axis=0)
    weight = g.node("Mul", [there, g.keep("near_place", _row(model, "near_place"))], "near_weight")
    axis = g.keep("last", np.array([-1], np.int64))
    strength = g.node("Mul", [share, g.node("Unsqueeze", [weight, axis], "near_wide")], "strength")
    rest = g.keep("rest", np.array([model.sizes.length * model.sizes.near], np.int64))
    flat = g.node("Concat", [batch, rest], "near_shape", axis=0)
    return g.node(
        "ScatterElements",
        [
            total,
            g.node("Reshape", [where, flat], "near_where_flat"),
            g.node("Reshape", [strength, flat], "strength_flat"),
        ],
        "with_near",
        axis=1,
        reduction="add",
    )


def _vectors(g: _Graph, model: Recommender, at: int, given: tuple[str, str], total: str) -> str:
    items, there = given
    place = g.keep(f"place_{at}", _row(model, f"place_{at}"))
    weight = g.node("Mul", [there, place], f"weight_{at}")
    axis = g.keep(f"axis_{at}", np.array([1], np.int64))
    table = g.keep(f"given_{at}", model.get_buffer(f"given_{at}").numpy())
    said = g.node("Gather", [table, items], f"said_{at}", axis=0)
    wide = g.node("Unsqueeze", [weight, axis], f"wide_{at}")
    summed = g.node("Squeeze", [g.node("MatMul", [wide, said], f"sum_{at}"), axis], f"user_{at}")
    count = g.node("ReduceSum", [weight, axis], f"count_{at}", keepdims=1)
    least = g.keep(f"least_{at}", np.array(LEAST, np.float32))
    user = g.node("Div", [summed, g.node("Max", [count, least], f"most_{at}")], f"mean_{at}")
    wanted = g.keep(f"wanted_{at}", model.get_buffer(f"wanted_{at}").numpy().T)
    found = g.node("MatMul", [user, wanted], f"wants_{at}")
    return g.node("Add", [total, found], f"total_{at}")
