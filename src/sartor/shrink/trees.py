"""Boosted trees to one ONNX graph: columns → logits, by ONNX's own operator for sums of trees.

TreeEnsembleRegressor of ai.onnx.ml: BRANCH_LEQ goes left where x[feature] <= threshold; a leaf adds
its value to one target or to several.
"""

from typing import Any

import onnx
from onnx import TensorProto, helper

from sartor.core.texts import COLUMNS
from sartor.shrink.joined import OUTPUT
from sartor.tasks.tabular_text.trees import TreesClassifier

_DOMAIN, _VERSION = "ai.onnx.ml", 3


def trees_graph(model: TreesClassifier, opset: int) -> onnx.ModelProto:
    """The graph of a sum of trees.

    Args:
        model: In eval mode.
        opset: Of the other graphs, so that they can be joined.
    """
    features, outputs = model.sizes.features, model.sizes.outputs
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [COLUMNS],
        [OUTPUT],
        "trees",
        domain=_DOMAIN,
        n_targets=outputs,
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=model.base.tolist(),
        **_nodes(model),
        **_leaves(model),
    )
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info(COLUMNS, TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", outputs])],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(_DOMAIN, _VERSION)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _places(model: TreesClassifier) -> tuple[list[int], list[int]]:
    """Of every node its tree, and its number in that tree."""
    starts = [*model.roots.tolist(), len(model.feature)]
    trees: list[int] = []
    numbers: list[int] = []
    for tree in range(len(starts) - 1):
        count = starts[tree + 1] - starts[tree]
        trees += [tree] * count
        numbers += range(count)
    return trees, numbers


def _nodes(model: TreesClassifier) -> dict[str, Any]:
    trees, numbers = _places(model)
    starts = model.roots.tolist()
    leaf = (model.feature < 0).tolist()
    low = [at - starts[t] for at, t in zip(model.left.tolist(), trees, strict=True)]
    high = [at - starts[t] for at, t in zip(model.right.tolist(), trees, strict=True)]
    return {
        "nodes_treeids": trees,
        "nodes_nodeids": numbers,
        "nodes_modes": ["LEAF" if end else "BRANCH_LEQ" for end in leaf],
        "nodes_featureids": [max(0, f) for f in model.feature.tolist()],
        "nodes_values": model.threshold.tolist(),
        "nodes_truenodeids": [0 if end else at for end, at in zip(leaf, low, strict=True)],
        "nodes_falsenodeids": [0 if end else at for end, at in zip(leaf, high, strict=True)],
        "nodes_missing_value_tracks_true": [0] * len(leaf),
        "nodes_hitrates": [1.0] * len(leaf),
    }


def _leaves(model: TreesClassifier) -> dict[str, Any]:
    """What every leaf adds, and to which logit."""
    trees, numbers = _places(model)
    kind, share = model.kind.tolist(), model.share.tolist()
    found: dict[str, list[Any]] = {
        "target_treeids": [],
        "target_nodeids": [],
        "target_ids": [],
        "target_weights": [],
    }
    rows = zip(trees, numbers, model.feature.tolist(), model.value.tolist(), strict=True)
    for tree, number, feature, value in rows:
        if feature >= 0:
            continue
        for output, part in enumerate(share[kind[tree]]):
            if part:
                for name, each in zip(found, (tree, number, output, part * value), strict=True):
                    found[name].append(each)
    return dict(found)
