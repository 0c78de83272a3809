"""Several graphs of one input as one graph, whose logits are a weighted sum of theirs.

logits(x) = Σ_k W_k · logits_k(x) + b,   W_k a number or a matrix
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sartor.shrink.joined import OUTPUT, Factor, Joined, Members


def merge_graphs(
    parts: Sequence[tuple[Path, Factor]], target: Path, bias: Sequence[float] = ()
) -> None:
    """Write the weighted sum of graphs as one graph.

    Args:
        parts: (graph, weight) of each member, at least one.
        target: The .onnx file to write.
        bias: Added to the sum, one an output; nothing where there is none.

    Raises:
        ModelError: If the graphs have different operator sets, hold a control-flow node, or are
            too large together for one file.
    """
    members = Members.read([path for path, _ in parts])
    joined = Joined()
    terms = [
        joined.times(joined.add(graph), weight)
        for graph, (_, weight) in zip(members.graphs, parts, strict=True)
    ]
    if bias:
        terms.append(joined.constant(np.array([bias], np.float32), "bias"))
    joined.apply("Sum", terms, OUTPUT)
    members.write(joined.whole("ensemble"), target)
