"""Matrix products and tables in 8 bits, as ONNX Runtime's own operator computes them.

x ≈ s · (q − z),  q in [0, 255];   w ≈ s_c · q,  q in [−63, 63], one scale for each output channel
row by row:  x_i ≈ m_i / 127 · (q_i − 128),  m_i the largest |x| of row i

Seven bits of the weights: two products of 255 and 63 add up to less than 2¹⁵, so a processor
without VNNI does not saturate.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from sartor.shrink.graphs import (
    DOMAIN,
    drop_unread,
    every_graph,
    every_node,
    every_weight,
    fold_transposes,
    know_domain,
)

WEIGHT_TOP = 63
_ROW_TOP, _ROW_ZERO = 127, 128
_LEAST_ROW = 1e-12  # a row of zeros must not be divided by nothing
_LAST_AXIS, _FLOOR, _ROW_SCALE, _ROW_MIDDLE = (
    "rows_axis",
    "rows_floor",
    "rows_scale",
    "rows_zero_point",
)
_TABLE_TOP = 127  # rows are looked up, not multiplied
Limits = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product with stored weights.

    Args:
        result: Name of its result.
        reads: The value it multiplies; products that read the same one belong together.
        weight: Name of its (in, out) matrix.
    """

    result: str
    reads: str
    weight: str


def products(model: ModelProto) -> list[Product]:
    """Products whose weights may be rounded, in order, those of the graphs inside included."""
    weights = every_weight(model.graph)
    return [
        Product(node.output[0], node.input[0], node.input[1])
        for node in every_node(model.graph)
        if node.op_type == "MatMul"
        and node.input[0] not in weights
        and (tensor := weights.get(node.input[1])) is not None
        and tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) == 2
    ]


def in_eight_bits(
    model: ModelProto, limits: Mapping[str, Limits], chosen: Collection[str], least: int
) -> ModelProto:
    """A copy whose chosen products, and all large tables, are in 8 bits.

    Args:
        model: In float.
        limits: Range of each value that a product reads.
        chosen: Names of values; the products that read them are rounded.
        least: Numbers a table must hold.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    rounding = _Rounding(copy)
    for product in products(copy):
        if product.reads in chosen:
            rounding.product(product, limits[product.reads])
    rounding.tables(least)
    rounding.finish()
    know_domain(copy)
    return copy


def in_eight_bits_by_row(model: ModelProto, least: int) -> ModelProto:
    """A copy whose products, and all large tables, are in 8 bits; each row has its own range.

    Args:
        model: In float.
        least: Numbers a table must hold.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    fold_transposes(copy.graph)  # a table that is multiplied too is rounded as both
    rounding = _Rounding(copy)
    for product in products(copy):
        rounding.product_by_row(product)
    rounding.tables(least)
    rounding.finish()
    know_domain(copy)
    return copy


class _Rounding:
    """Collects what is put between the nodes of a graph and of those inside it.

    What is made of a value or of a weight stands in the graph where that stands: the graphs inside
    see it too, and it is made once.
    """

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.graphs = list(every_graph(model.graph))
        self.weights = every_weight(model.graph)
        self.home = {t.name: graph for graph in self.graphs for t in graph.initializer}
        """Weight to the graph that holds it."""
        self.level = {
            node.output[0]: level for level, graph in enumerate(self.graphs) for node in graph.node
        }
        """Result to the number of the graph that computes it."""
        self.makers = {node.output[0]: node for node in every_node(model.graph)}
        self.behind: dict[str, list[NodeProto]] = {}
        """Value to what is computed from it at once."""
        self.rounded: dict[str, tuple[str, str, str]] = {}
        self.behind_rows = set[str]()
        """Values that are rounded row by row."""
        self.readers: dict[str, list[NodeProto]] = {}
        for node in every_node(model.graph):
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def product(self, product: Product, limits: Limits) -> None:
        node = self.makers[product.result]
        value, matrix = self._value(product.reads, limits), self._matrix(product.weight)
        given = [*zip(value, matrix, strict=True)]
        node.input[:] = [name for pair in given for name in pair]
        node.op_type, node.domain = "MatMulIntegerToFloat", DOMAIN
        self._with_bias(node)

    def product_by_row(self, product: Product) -> None:
        node, result = self.makers[product.result], product.result
        value, largest = self._rows(product.reads)
        matrix, scales, zeros = self._matrix(product.weight)
        node.input[:] = [value, matrix, _ROW_SCALE, scales, _ROW_MIDDLE, zeros]
        node.op_type, node.domain = "MatMulIntegerToFloat", DOMAIN
        node.output[0] = f"{result}_of_shares"
        times = helper.make_node("Mul", [node.output[0], largest], [result], f"{result}_times")
        self.behind.setdefault(node.output[0], []).append(times)

    def _with_bias(self, node: NodeProto) -> None:
        """Let the product add its bias, so that the result is written once."""
        readers = self.readers.get(node.output[0], [])
        if len(readers) != 1 or readers[0].op_type != "Add":
            return
        if self.level[readers[0].output[0]] != self.level[node.output[0]]:
            return  # its bias may be one that is not to be seen from here
        bias = [name for name in readers[0].input if name != node.output[0]]
        tensor = self.weights.get(bias[0]) if bias else None
        if tensor is not None and len(tensor.dims) == 1:
            node.input.append(bias[0])
            readers[0].op_type = "Identity"
            readers[0].input[:] = [node.output[0]]

    def tables(self, least: int) -> None:
        """Round the tables that rows are looked up in and nothing else is done with.

        Args:
            least: Numbers that a table must hold.
        """
        for name in dict.fromkeys(node.input[0] for node in self.makers.values() if node.input):
            tensor, readers = self.weights.get(name), self.readers.get(name, [])
            if tensor is None or not all(_looks_up(node, name) for node in readers):
                continue
            large = len(tensor.dims) == 2 and np.prod(tensor.dims) >= least
            if tensor.data_type == TensorProto.FLOAT and large:
                self._table(tensor, readers)

    def _table(self, tensor: TensorProto, readers: Iterable[NodeProto]) -> None:
        """Round a table of rows, one scale for each column."""
        name, rows = tensor.name, numpy_helper.to_array(tensor)
        scale = (np.abs(rows).max(0) / _TABLE_TOP).astype(np.float32)
        scale[scale == 0] = 1.0
        home = self.home[name]
        self._store(f"{name}_quantized", np.round(rows / scale).astype(np.int8), home)
        self._store(f"{name}_scale", scale, home)
        for node in readers:
            node.input[0] = f"{name}_quantized"
            result = node.output[0]
            node.output[0] = f"{result}_looked_up"
            # The scales are those of the columns, so looked-up rows are multiplied, in any rank.
            cast = helper.make_node(
                "Cast", [node.output[0]], [f"{result}_cast"], f"{result}_cast", to=1
            )
            times = helper.make_node(
                "Mul", [cast.output[0], f"{name}_scale"], [result], f"{result}_times"
            )
            self.behind.setdefault(node.output[0], []).extend((cast, times))

    def finish(self) -> None:
        """Put the nodes in their places, and drop the weights that nothing reads any more."""
        # Ordering a graph copies its nodes, and what hangs on them: the inmost first.
        for graph in reversed(self.graphs):
            self._order(graph)
        drop_unread(self.graph)

    def _order(self, graph: GraphProto) -> None:
        ordered: list[NodeProto] = []

        def place(results: Iterable[str]) -> None:
            for node in [each for result in results for each in self.behind.get(result, ())]:
                ordered.append(node)
                place(node.output)

        place(value.name for value in graph.input)
        for node in graph.node:
            ordered.append(node)
            place(node.output)
        del graph.node[:]
        graph.node.extend(ordered)

    def _value(self, name: str, limits: Limits) -> tuple[str, str, str]:
        """Names of a value in 8 bits, its scale and its zero point."""
        if name not in self.rounded:
            low, high = limits
            scale = np.float32((high - low) / 255 or 1.0)
            zero = np.uint8(np.clip(round(-low / float(scale)), 0, 255))
            quantized, *ends = self._names(name)
            self._store(ends[0], np.array(scale, np.float32))
            self._store(ends[1], np.array(zero, np.uint8))
            node = helper.make_node("QuantizeLinear", [name, *ends], [quantized], quantized)
            self.behind.setdefault(name, []).append(node)
        return self.rounded[name]

    def _rows(self, name: str) -> tuple[str, str]:
        """Names of a value in 8 bits, as shares of the largest of its row, and of that largest."""
        shares, largest = f"{name}_shares", f"{name}_largest"
        if name not in self.behind_rows:
            self.behind_rows.add(name)
            sizes, found, parts = f"{name}_sizes", f"{name}_found", f"{name}_parts"
            self._once(_LAST_AXIS, np.array([-1], np.int64))
            self._once(_FLOOR, np.array(_LEAST_ROW, np.float32))
            self._once(_ROW_SCALE, np.array(1 / _ROW_TOP, np.float32))
            self._once(_ROW_MIDDLE, np.array(_ROW_ZERO, np.uint8))
            steps = (
                ("Abs", [name], sizes),
                ("ReduceMax", [sizes, _LAST_AXIS], found),
                ("Max", [found, _FLOOR], largest),
                ("Div", [name, largest], parts),
                ("QuantizeLinear", [parts, _ROW_SCALE, _ROW_MIDDLE], shares),
            )
            self.behind.setdefault(name, []).extend(
                helper.make_node(kind, given, [result], result) for kind, given, result in steps
            )
        return shares, largest

    def _once(self, name: str, values: NDArray[np.generic]) -> None:
        if all(tensor.name != name for tensor in self.graph.initializer):
            self._store(name, values)

    def _matrix(self, name: str) -> tuple[str, str, str]:
        """Names of a matrix in 8 bits, its columns' scales and their zero points."""
        if name not in self.rounded:
            matrix = numpy_helper.to_array(self.weights[name])
            scale = (np.abs(matrix).max(0) / WEIGHT_TOP).astype(np.float32)
            scale[scale == 0] = 1.0
            quantized, scales, zeros = self._names(name)
            home = self.home[name]
            self._store(quantized, np.round(matrix / scale).astype(np.int8), home)
            self._store(scales, scale, home)
            self._store(zeros, np.zeros(len(scale), np.int8), home)
        return self.rounded[name]

    def _names(self, name: str) -> tuple[str, str, str]:
        self.rounded[name] = (f"{name}_quantized", f"{name}_scale", f"{name}_zero_point")
        return self.rounded[name]

    def _store(
        self, name: str, values: NDArray[np.generic], home: GraphProto | None = None
    ) -> None:
        """
        Args:
            name: Of the weight.
            values: What it holds.
            home: The graph that is to hold it; the outermost one, which all see, when None.
        """
        (home or self.graph).initializer.append(numpy_helper.from_array(values, name))


def _looks_up(node: NodeProto, table: str) -> bool:
    """Whether a node chooses rows of a table and reads it nowhere else."""
    along = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "axis"), 0)
    chooses = node.op_type == "Gather" and along == 0
    return chooses and node.input[0] == table and table not in node.input[1:]
