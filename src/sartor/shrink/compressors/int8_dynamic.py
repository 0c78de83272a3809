"""Dynamic int8: weights stored in 8 bits, activations quantised at run time, a batch at once.

w ≈ scale · q,  q in [−64, 63], one scale for each output channel
x ≈ scale · (q − zero),  one scale for all that a product reads: a text's numbers are rounded a
little otherwise beside other texts than alone
Jacob et al. 2018, https://arxiv.org/abs/1712.05877; ONNX Runtime's dynamic quantisation
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from sartor.core.errors import NothingToShrink
from sartor.shrink.api import COMPRESSORS, GRAPH, Bench, Eased, Form, Place
from sartor.shrink.graphs import every_node


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class Int8Dynamic:
    """Quantises matrix products and embedding tables."""

    eases: ClassVar[tuple[Eased, ...]] = ("size", "speed")
    trains: ClassVar[bool] = False
    place: ClassVar[Place] = "numbers"

    per_channel: bool = True
    """One scale for each output channel instead of one a matrix: closer, and no slower."""
    reduce_range: bool = True
    """Use 7 of the 8 bits. Processors without VNNI add two 8-bit products in 16 bits and would
    saturate: the bundle would then answer differently there than where it was judged."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        smaller = target / GRAPH
        logger = logging.getLogger()
        level = logger.level
        logger.setLevel(logging.ERROR)  # it advises a pre-processing that the exporter has done
        try:
            quantize_dynamic(
                source.graph,
                smaller,
                op_types_to_quantize=["MatMul", "Gemm", "Gather"],
                per_channel=self.per_channel,
                reduce_range=self.reduce_range,
                weight_type=QuantType.QInt8,
                extra_options={"EnableSubgraph": True},  # the dear member of a cascade lies in one
            )
        finally:
            logger.setLevel(level)
        # One that is quantised already comes out as it was.
        if rounded(smaller) <= rounded(source.graph):
            smaller.unlink()
            raise NothingToShrink(
                f"int8_dynamic found no matrix product to quantise in {source.graph.name}.",
                fix="ship the float graph, or choose another compressor.",
            )


def rounded(path: Path) -> int:
    """Nodes that round activations, in branches too."""
    nodes = every_node(onnx.load(path, load_external_data=False).graph)
    return sum(node.op_type in ("DynamicQuantizeLinear", "MatMulInteger") for node in nodes)
