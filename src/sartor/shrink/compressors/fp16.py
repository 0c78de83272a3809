"""fp16: weights stored in 16 bits and computed in 32.

w ≈ float16(w): 11 significant bits, 2⁻¹¹ relative error

A Cast stands in front of each stored tensor, and ONNX Runtime folds it when it loads the graph. So
the file is half as large, and that is all: a CPU runs the same float32 products, no faster, and
holds the same float32 weights in memory.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from onnx import GraphProto, TensorProto, helper, numpy_helper

from sartor.core.errors import NothingToShrink
from sartor.shrink.api import COMPRESSORS, GRAPH, Bench, Eased, Form, Place
from sartor.shrink.graphs import every_graph, read_graph, replace_weight, write_graph

_FINITE = float(np.finfo(np.float16).max)


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class Fp16:
    """Stores weights and tables in 16 bits. It makes the file smaller, and nothing faster."""

    eases: ClassVar[tuple[Eased, ...]] = ("size",)
    trains: ClassVar[bool] = False
    place: ClassVar[Place] = "numbers"

    least: int = 256
    """Numbers that a tensor must hold to be worth a Cast."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        model = read_graph(source.graph)
        halved = sum(self._halve(graph) for graph in every_graph(model.graph))
        if not halved:
            raise NothingToShrink(
                f"fp16 found no float weights of {self.least} numbers in {source.graph.name}.",
                fix="ship the graph as it is: its weights take fewer bits already.",
            )
        write_graph(model, target / GRAPH)

    def _halve(self, graph: GraphProto) -> int:
        """How many tensors of this graph, those inside it aside, were halved."""
        halved = [t for t in graph.initializer if self._worth(t)]
        casts = [
            helper.make_node("Cast", [f"{t.name}_fp16"], [t.name], f"{t.name}_fp32", to=1)
            for t in halved
        ]
        for tensor in halved:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            replace_weight(tensor, numpy_helper.from_array(half))
            tensor.name += "_fp16"
        nodes = [*casts, *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        return len(halved)

    def _worth(self, tensor: TensorProto) -> bool:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < self.least:
            return False
        return bool(np.abs(numpy_helper.to_array(tensor)).max() <= _FINITE)
