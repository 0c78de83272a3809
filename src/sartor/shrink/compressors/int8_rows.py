"""Int8 row by row: weights stored in 8 bits, each token's activations rounded by their own range.

x_i ≈ m_i / 127 · (q_i − 128),  m_i the largest |x| of row i;   w in [−63, 63], a scale a column
Yao et al. 2022, https://arxiv.org/abs/2206.01861

So a text is answered alike whatever stands beside it, as `int8_dynamic`, whose range is the
batch's, does not; and one token with large values costs the others nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onnx import ModelProto, TensorProto

from sartor.core.errors import NothingToShrink
from sartor.llm.translated import ENCODER
from sartor.shrink.api import COMPRESSORS, GRAPH, Bench, Eased, Form, Place
from sartor.shrink.eight_bits import in_eight_bits_by_row
from sartor.shrink.graphs import every_weight, read_graph, write_graph


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class Int8Rows:
    """Quantises matrix products and large tables; needs no texts."""

    eases: ClassVar[tuple[Eased, ...]] = ("size", "speed")
    trains: ClassVar[bool] = False
    place: ClassVar[Place] = "numbers"

    least: int = 1_024
    """Numbers that a table must hold to be rounded."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        whole = [read_graph(path) for path in source.graphs]
        smaller = [in_eight_bits_by_row(model, self.least) for model in whole]
        if list(map(_in_bytes, smaller)) == list(map(_in_bytes, whole)):
            raise NothingToShrink(
                f"int8_rows found no product of float weights and no large table in"
                f" {source.graph.name}.",
                fix="ship the float graph, or choose another compressor.",
            )
        for model, name in zip(smaller, (GRAPH, ENCODER), strict=False):
            write_graph(model, target / name)


def _in_bytes(model: ModelProto) -> int:
    """How many weights are stored in 8 bits."""
    weights = every_weight(model.graph).values()
    return sum(tensor.data_type == TensorProto.INT8 for tensor in weights)
