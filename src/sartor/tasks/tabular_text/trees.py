"""Boosted trees as arrays: what scikit-learn grew, in torch and for ONNX alike.

logits = base + Σ_trees leaf(x) · share of the tree's kind,   go left where x[feature] <= threshold

A tree of one round and class is of that class's kind; two classes have one kind, whose sum s
becomes (−s/2, s/2). Thresholds are float32, rounded down: for float32 x, x <= t in double precision
is then exactly x <= t here, and every row ends in the leaf that scikit-learn puts it in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.tasks._encoder.files import write_model

KIND = "trees"
_LEAF = -1


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is of everything.

    Args:
        features: Numbers of a row.
        nodes: Of all trees together.
        trees: Number of trees.
        kinds: Of trees.
        outputs: Number of classes.
        depth: Of the deepest tree.
    """

    features: int
    nodes: int
    trees: int
    kinds: int
    outputs: int
    depth: int


class TreesClassifier(nn.Module):
    """Sums of trees over the columns.

    Args:
        sizes: See `Sizes`.
    """

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    roots: Tensor
    kind: Tensor
    share: Tensor
    base: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        nodes, trees = sizes.nodes, sizes.trees
        whole = {"feature": nodes, "left": nodes, "right": nodes, "roots": trees, "kind": trees}
        for name, count in whole.items():
            self.register_buffer(name, torch.zeros(count, dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros(nodes))
        self.register_buffer("value", torch.zeros(nodes))
        self.register_buffer("share", torch.zeros(sizes.kinds, sizes.outputs))
        self.register_buffer("base", torch.zeros(sizes.outputs))

    def forward(self, columns: Tensor) -> Tensor:
        """Logits (batch, outputs).

        Args:
            columns: (batch, features), float32.
        """
        at = self.roots.expand(len(columns), -1)
        for _ in range(self.sizes.depth):
            low = columns.gather(1, self.feature[at].clamp(min=0)) <= self.threshold[at]
            at = torch.where(low, self.left[at], self.right[at])
        sums = torch.zeros(len(columns), len(self.share), dtype=torch.float64)
        sums.index_add_(1, self.kind, self.value[at].double())
        return (sums @ self.share.double() + self.base).float()

    def save(self, folder: Path) -> None:
        """Write model.safetensors and classifier.json."""
        write_model(self, folder, {"kind": KIND, **asdict(self.sizes)})


def of_nodes(
    rounds: Sequence[Sequence[NDArray[Any]]],
    share: NDArray[np.float64],
    base: NDArray[np.float64],
    features: int,
) -> TreesClassifier:
    """The classifier of trees that scikit-learn grew.

    Args:
        rounds: For each round one tree a kind: its structured array of nodes, as
            `HistGradientBoostingClassifier` keeps them, without categorical splits.
        share: (kinds, outputs) what a kind's sum adds to each logit.
        base: (outputs,) logits before any tree.
        features: Numbers of a row.
    """
    flat = [(kind, nodes) for each in rounds for kind, nodes in enumerate(each)]
    starts = np.cumsum([0, *(len(nodes) for _, nodes in flat)])
    every = np.concatenate([nodes for _, nodes in flat])
    leaf = every["is_leaf"].astype(bool)
    offset = np.repeat(starts[:-1], [len(nodes) for _, nodes in flat])
    own = np.arange(len(every))
    depth = int(every["depth"].max(initial=0))
    model = TreesClassifier(Sizes(features, len(every), len(flat), len(share), len(base), depth))
    found: dict[str, NDArray[Any]] = {
        "feature": np.where(leaf, _LEAF, every["feature_idx"].astype(np.int64)),
        "threshold": np.where(leaf, 0, _rounded_down(every["num_threshold"])),
        "left": np.where(leaf, own, every["left"].astype(np.int64) + offset),
        "right": np.where(leaf, own, every["right"].astype(np.int64) + offset),
        "value": np.where(leaf, every["value"], 0.0),
        "roots": starts[:-1],
        "kind": np.array([kind for kind, _ in flat]),
        "share": share,
        "base": base,
    }
    state = model.state_dict()
    for name, values in found.items():
        state[name].copy_(torch.from_numpy(np.ascontiguousarray(values)))
    return model.eval()


def rebuild(shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TreesClassifier:
    """What `save` wrote.

    Raises:
        KeyError, RuntimeError: If the two do not fit each other.
    """
    sizes = Sizes(**{each.name: shape[each.name] for each in fields(Sizes)})
    model = TreesClassifier(sizes)
    model.load_state_dict(dict(tensors))
    bounds = {"left": sizes.nodes, "right": sizes.nodes, "roots": sizes.nodes, "kind": sizes.kinds}
    for name, most in bounds.items():
        places = tensors[name]
        if len(places) and not 0 <= int(places.min()) <= int(places.max()) < most:
            raise RuntimeError(f"{name} points outside the {most} there are")
    return model


def _rounded_down(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each threshold."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
