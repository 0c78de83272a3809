"""Low-rank tables beside the linear layers of a finished graph, as inputs.

y = W x + b  →  y + (x A_i) B_i,   A: (1 or batch, in, rank),  B: (1 or batch, rank, out)

Each row of a batch has tables of its own, so one pass answers many users. With zeros for B a layer
gives what it gave. Layers in 8 bits take the float value that is rounded for them, and add to what
they give: the product in 8 bits stays as it was judged. That goes where ranges are fixed, or each
row's own. Where they are those of the batch at hand (dynamic int8), one user's tables would move
another's answers.

Hu et al. 2021, https://arxiv.org/abs/2106.09685
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

_DYNAMIC = "DynamicQuantizeMatMul"
_BIAS = 6
"""Place of the bias among the inputs of MatMulIntegerToFloat."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer of a graph.

    Args:
        reads: The value that it multiplies, before any rounding.
        gives: Its result, the bias added.
        width: Columns of the one.
        height: Columns of the other.
    """

    reads: str
    gives: str
    width: int
    height: int


def linears(
    model: ModelProto, where: str = "*", but: Sequence[NodeProto] = ()
) -> dict[str, Linear]:
    """Name to linear layer of the outermost graph, in order.

    A layer is called as the module that it was exported from, by its bias's name. Where it has
    none, or shares it (the exporter stores equal values once), it is called by its place.

    Args:
        model: Exported, in float or in 8 bits.
        where: Glob over the names.
        but: Nodes of layers that are left out.
    """
    reading = _Reading(model.graph)
    left_out = {name for node in but for name in node.output}
    found: dict[str, Linear] = {}
    for node in model.graph.node:
        if node.output[0] not in left_out and (one := reading.linear(node)) is not None:
            name, linear = one
            found[name or f"linear.{len(found)}"] = linear
    return {name: linear for name, linear in found.items() if fnmatchcase(name, where)}


def add_tables(model: ModelProto, chosen: Mapping[str, Linear], rank: int) -> None:
    """Let layers take tables: inputs `NAME.A` (1 or batch, in, rank), `NAME.B` (…, rank, out).

    Args:
        model: Changed.
        chosen: Layers by name, as `linears` found them.
        rank: Of the tables.
    """
    graph = model.graph
    by_result = {one.gives: (name, one) for name, one in chosen.items()}
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        if node.output[0] not in by_result:
            continue
        name, one = by_result[node.output[0]]
        plain, down, up = f"{one.gives}_plain", f"{name}.down", f"{name}.up"
        # Whoever reads the layer now reads the sum.
        node.output[0] = plain
        nodes += (
            helper.make_node("MatMul", [one.reads, f"{name}.A"], [down], down),
            helper.make_node("MatMul", [down, f"{name}.B"], [up], up),
            helper.make_node("Add", [plain, up], [one.gives], f"{name}.adapted"),
        )
        for side, shape in (("A", [one.width, rank]), ("B", [rank, one.height])):
            graph.input.append(
                helper.make_tensor_value_info(
                    f"{name}.{side}", TensorProto.FLOAT, ["adapters", *shape]
                )
            )
    del graph.node[:]
    graph.node.extend(nodes)


def downstream(graph: GraphProto, names: Iterable[str]) -> set[str]:
    """Values of the outermost graph that depend on some, those themselves included."""
    found = set(names)
    for node in graph.node:
        if found.intersection(node.input):
            found.update(node.output)
    return found


def mixes_rows(graph: GraphProto, tables: Collection[str]) -> bool:
    """Whether tables of one row move the answer of another: values that depend on tables are
    rounded to the range that they have over a whole batch."""
    above = downstream(graph, tables)
    dynamic = (n for n in graph.node if n.op_type in ("DynamicQuantizeLinear", _DYNAMIC))
    return any(above.intersection(node.output) for node in dynamic)


class _Reading:
    """Finds its way through a graph."""

    def __init__(self, graph: GraphProto) -> None:
        self.shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        for node in graph.node:  # weights stored in 16 bits are cast first
            if node.op_type == "Cast" and node.input[0] in self.shapes:
                self.shapes[node.output[0]] = self.shapes[node.input[0]]
        self.readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def linear(self, node: NodeProto) -> tuple[str, Linear] | None:
        """A layer, where the node is one's product with stored weights; its name, or ""."""
        reads = self._multiplied(node)
        shape = self.shapes.get(node.input[1], ()) if reads else ()
        last = self._scaled(node)
        if reads is None or last is None or len(shape) != 2 or reads in self.shapes:
            return None
        stored = ""
        if node.op_type == "MatMulIntegerToFloat" and len(node.input) > _BIAS:
            stored = node.input[_BIAS]
        elif (added := self._reader(last.output[0], "Add")) is not None:
            bias = [name for name in added.input if len(self.shapes.get(name, ())) == 1]
            if bias:
                last, stored = added, bias[0]
        known = stored.endswith(".bias") and len(self.readers[stored]) == 1
        name = stored.removesuffix(".bias") if known else ""
        return name, Linear(reads, last.output[0], *shape)

    def _multiplied(self, node: NodeProto) -> str | None:
        """What a product reads, before it was rounded for it; None for any other node."""
        if node.op_type == "MatMul":
            return node.input[0]
        if node.op_type in ("MatMulInteger", "MatMulIntegerToFloat"):
            rounding = self.makers.get(node.input[0])
            if rounding is not None and rounding.op_type.endswith("QuantizeLinear"):
                shares = self._shares(node)
                return shares.input[0] if shares else rounding.input[0]
        return None

    def _shares(self, node: NodeProto) -> NodeProto | None:
        """Where a product in 8 bits reads each row as shares of its largest, what makes them."""
        rounding = self.makers.get(node.input[0])
        made = self.makers.get(rounding.input[0]) if rounding is not None else None
        times = self._reader(node.output[0], "Mul")
        if made is None or made.op_type != "Div" or times is None:
            return None
        return made if made.input[1] in times.input else None

    def _scaled(self, node: NodeProto) -> NodeProto | None:
        """The node whose result is a product's in float: itself, unless it lacks the scales."""
        if node.op_type == "MatMulIntegerToFloat" and self._shares(node):
            return self._reader(node.output[0], "Mul")
        if node.op_type != "MatMulInteger":
            return node
        cast = self._reader(node.output[0], "Cast")
        return cast and self._reader(cast.output[0], "Mul")

    def _reader(self, name: str, kind: str) -> NodeProto | None:
        """The only reader of a value, where it is of a kind."""
        found = self.readers.get(name, [])
        return found[0] if len(found) == 1 and found[0].op_type == kind else None
