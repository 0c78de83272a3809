"""Two graphs of one input as one: the cheap one answers, the rows it is unsure of climb.

logits(x) = z_cheap(x)   where max softmax(z_cheap(x)) ≥ threshold
            z_dear(x)    elsewhere

Rows are told apart inside the graph: those that climb are gathered, the dear member runs on them
alone, and its logits are scattered over the cheap ones. Where none climbs it does not run. So a
batch costs what its own rows cost, and whoever runs the graph sees one model.

Viola and Jones 2001, https://doi.org/10.1109/CVPR.2001.990517
"""

from pathlib import Path

import numpy as np
from onnx import helper

from sartor.shrink.joined import INPUTS, OUTPUT, Factor, Joined, Members


def cascade_graphs(
    cheap: tuple[Path, Factor], dear: tuple[Path, Factor], threshold: float, target: Path
) -> None:
    """Write a cascade as one graph.

    Args:
        cheap: (graph, what its logits are multiplied with) of the member that all rows go through.
        dear: Likewise of the member for the others.
        threshold: Of the cheap member's largest probability, below which a row climbs.
        target: The .onnx file to write.

    Raises:
        ModelError: As of `merge.merge_graphs`.
    """
    members = Members.read([cheap[0], dear[0]])
    first, second = members.graphs
    joined = Joined()
    logits = joined.times(joined.add(first), cheap[1])
    # The dear member may read an input that the cheap one does not.
    for value in second.input:
        joined.given.setdefault(value.name, value)
    sure = joined.apply("Softmax", [logits], "probabilities", axis=-1)
    last = joined.constant(np.array([1], np.int64), "last")
    sure = joined.apply("ReduceMax", [sure, last], "confidence", keepdims=0)
    bound = joined.constant(np.array(threshold, np.float32), "threshold")
    unsure = joined.apply("Less", [sure, bound], "unsure")
    places = joined.apply("NonZero", [unsure], "places")  # (1, climbing)
    rows = joined.apply(
        "Squeeze", [places, joined.constant(np.array([0], np.int64), "one")], "rows"
    )
    count = joined.apply("Size", [rows], "climbing")
    none = joined.constant(np.array(0, np.int64), "none")
    climbs = joined.apply("Greater", [count, none], "climbs")

    then = joined.branch()
    kinds = {value.name: value.type.tensor_type.elem_type for value in second.input}
    gathered = {
        name: then.apply("Gather", [name, rows], f"climbing_{name}", axis=0)
        for name in INPUTS
        if name in kinds
    }
    then.shapes += [
        helper.make_tensor_value_info(inner, kinds[name], [None, None])
        for name, inner in gathered.items()
    ]
    better = then.times(then.add(second, gathered), dear[1])
    column = then.constant(np.array([1], np.int64), "column")
    indices = then.apply("Unsqueeze", [rows, column], "indices")
    mixed = then.apply("ScatterND", [logits, indices, better], "climbed")

    other = joined.branch()
    same = other.apply("Identity", [logits], "stayed")

    joined.apply(
        "If", [climbs], OUTPUT, then_branch=then.inner(mixed), else_branch=other.inner(same)
    )
    members.write(joined.whole("cascade"), target)
