"""Several graphs of one input as one graph, whose logits are a weighted sum of theirs.

logits(x) = Σ_k w_k · logits_k(x)
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sartor.shrink.joined import OUTPUT, Joined, Members


def merge_graphs(parts: Sequence[tuple[Path, float]], target: Path) -> None:
    """Write the weighted sum of graphs as one graph.

    Args:
        parts: (graph, weight) of each member, at least one.
        target: The .onnx file to write.

    Raises:
        ModelError: If the graphs have different operator sets, hold a control-flow node, or are
            too large together for one file.
    """
    members = Members.read([path for path, _ in parts])
    joined = Joined()
    terms: list[str] = []
    for graph, (_, weight) in zip(members.graphs, parts, strict=True):
        logits = joined.add(graph)
        factor = joined.constant(np.array(weight, np.float32), "weight")
        terms.append(joined.apply("Mul", [logits, factor], "term"))
    joined.apply("Sum", terms, OUTPUT)
    members.write(joined.whole("ensemble"), target)
