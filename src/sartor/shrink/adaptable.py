"""A bundle's graph as a base that its users' adapters stand on: the same answers, and an opening.

The graph also gives what its head reads, so that a user's own head can be put in the place of the
one that all share; where a rank is asked for, every linear layer takes low-rank tables as inputs
(`lowrank`). The bundle stays what was judged: the base lies with the adapters, names the bundle,
and is not written unless it answers as the bundle does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[reportAttributeAccessIssue]

from sartor.bundle import Bundle
from sartor.bundle.base import (
    BIAS,
    MAX_RANK,
    ROWS,
    WEIGHT,
    Base,
    refuse_other,
    verified_base,
    write_base,
)
from sartor.bundle.manifest import entry_of
from sartor.bundle.tensors import pack_tensors
from sartor.core.errors import BundleError, ModelError, NothingToTune, SettingError
from sartor.core.protocols import Floats
from sartor.shrink.api import GRAPH
from sartor.shrink.graphs import inner_graphs, read_graph
from sartor.shrink.lowrank import Linear, add_tables, linears, mixes_rows
from sartor.shrink.prefix import share_prefix

FEATURES = "adapter_features"
_CANNOT_RUN = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.RuntimeException)
_SAME = 1e-6
"""Largest change of a logit, as a share of the largest logit."""
_AFFINE = 0.05
"""Likewise between the head and the affine map that it is taken for: a head in 8 bits rounds."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last linear layer.

    Args:
        reads: Value that the logits depend on, and depend on the input through it alone.
        nodes: From there to the logits, in order.
    """

    reads: str
    nodes: tuple[NodeProto, ...]


def make_base(bundle: Bundle, root: Path | str, rank: int = 0, where: str = "*") -> Base:
    """Put the base of a bundle's adapters under a root, unless one that can do as much is there.

    One root holds the adapters of one bundle.

    Args:
        bundle: Whose graph it is.
        root: Made where it does not exist.
        rank: Highest rank of low-rank adapters; 0 for heads alone.
        where: Glob over the layers that take them, e.g. `encoder.*.query`.

    Raises:
        BundleError: If the bundle holds no graph, or the root the adapters of another bundle.
        SettingError: If the rank is none.
        NothingToTune: If the graph has neither a head that can be replaced nor such layers, or
            users' low-rank updates would not stay apart in it.
        ModelError: If what was made of the graph does not answer as the graph does.
        WorkspaceError: If the disk is full.
    """
    if not 0 <= rank <= MAX_RANK:
        raise SettingError(f"rank must be 0 to {MAX_RANK}. Got {rank}.", fix="take 4, 8 or 16.")
    graph, source = bundle.path(GRAPH), bundle.manifest.files[GRAPH].sha256
    refuse_other(root, bundle.manifest.id)
    try:
        found, _ = verified_base(root, bundle.manifest.id, source)
    except BundleError:
        pass
    else:
        if rank == 0 or (rank, where) == (found.rank, found.where):
            return found
    model = read_graph(graph)
    head = find_head(model)
    chosen = linears(model, where, () if head is None else head.nodes) if rank else {}
    if rank and not chosen:
        raise NothingToTune(
            f"{graph} has no linear layer called {where!r}.",
            fix="give another pattern, e.g. *; or no rank, for heads alone.",
        )
    if head is None and not chosen:
        raise NothingToTune(
            f"{graph} has no linear head that could be a user's own.",
            fix="take a single model, no cascade and no ensemble; or give a rank, to adapt layers.",
        )
    shared = None if head is None else _shared_head(model, head)
    if head is not None:
        _give_features(model, head)
    add_tables(model, chosen, rank)
    tables = _zeros(chosen, rank)
    if mixes_rows(model.graph, tables):
        raise NothingToTune(
            f"{graph} rounds the values of a whole batch to one range: one user's low-rank updates"
            " would move another's answers.",
            fix="tune heads, or take a bundle in float, int8_rows or int8_static: a run makes"
            " int8_dynamic only where a criterion on size, speed or cost is missed without it.",
        )
    once = bool(chosen) and share_prefix(model, tables, [_probe(3), _probe(5)])
    data = model.SerializeToString(deterministic=True)
    features = _check_same(graph, data, tables, once)
    packed = b"" if shared is None else pack_tensors(shared)
    base = Base(
        bundle=bundle.manifest.id,
        source=source,
        graph=entry_of(data),
        outputs=len(bundle.manifest.outputs),
        features=features,
        head=entry_of(packed) if shared else None,
        rank=rank,
        where=where,
        shared=once,
        linears={name: (one.width, one.height) for name, one in chosen.items()},
    )
    write_base(root, base, data, packed)
    return base


def find_head(model: ModelProto) -> Head | None:
    """The last layer of a graph, where it is linear and all of the graph goes through it."""
    graph = model.graph
    if any(inner_graphs(node) for node in graph.node):
        return None  # a cascade: which head answers depends on the text
    makers = {name: node for node in graph.node for name in node.output}
    given = {value.name for value in graph.input}
    for node in reversed(graph.node):
        reads = _multiplies(node, makers)
        if reads is None or reads in given:
            continue
        behind = _behind(graph.output[0].name, reads, makers)
        if given.isdisjoint(behind):
            names = set(behind)
            kept = tuple(one for one in graph.node if names.intersection(one.output))
            return Head(reads, kept) if node in kept else None
        return None
    return None


def _multiplies(node: NodeProto, makers: dict[str, NodeProto]) -> str | None:
    """The float value that a matrix product reads; None for any other node."""
    if node.op_type in ("MatMul", "Gemm"):
        return node.input[0]
    if node.op_type in ("MatMulInteger", "MatMulIntegerToFloat"):
        rounding = makers.get(node.input[0])
        return rounding.input[0] if rounding is not None else None
    return None


def _behind(last: str, stop: str, makers: dict[str, NodeProto]) -> set[str]:
    """Everything that `last` is computed from, up to `stop`."""
    found: set[str] = set()
    waiting = [last]
    while waiting:
        name = waiting.pop()
        if name and name != stop and name not in found:
            found.add(name)
            waiting += makers[name].input if name in makers else ()
    return found


def _shared_head(model: ModelProto, head: Head) -> dict[str, Floats]:
    """Its weight and bias, by what it makes of the unit vectors.

    Raises:
        NothingToTune: If it is not affine.
    """
    needed = {name for node in head.nodes for name in node.input}
    tail = helper.make_model(
        helper.make_graph(
            list(head.nodes),
            "head",
            [helper.make_tensor_value_info(head.reads, TensorProto.FLOAT, ["rows", "features"])],
            [model.graph.output[0]],
            [tensor for tensor in model.graph.initializer if tensor.name in needed],
        ),
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
    )
    session = _session(tail.SerializeToString())

    def of(rows: Floats) -> Floats:
        found: Any = session.run(None, {head.reads: rows})
        return found[0]

    width = _width(model, head)
    bias = of(np.zeros((1, width), np.float32))[0]
    # A row at a time: a head in 8 bits rounds the rows of a batch to one scale.
    weight = np.stack([of(row[None])[0] - bias for row in np.eye(width, dtype=np.float32)], axis=1)
    probe = np.random.default_rng(0).normal(size=(8, width)).astype(np.float32)
    wanted = of(probe)
    apart = np.abs(probe @ weight.T + bias - wanted).max()
    if apart > _AFFINE * max(float(np.abs(wanted).max()), 1e-6):
        raise NothingToTune(
            "The graph's last layer is not linear: no user's own head can take its place.",
            fix="take a bundle whose head is linear.",
        )
    return {WEIGHT: np.ascontiguousarray(weight, np.float32), BIAS: bias.astype(np.float32)}


def _width(model: ModelProto, head: Head) -> int:
    copy = ModelProto()
    copy.CopyFrom(model)
    _give_features(copy, head)
    return _run(_session(copy.SerializeToString()), {})[1].shape[1]


def _give_features(model: ModelProto, head: Head) -> None:
    """What the head reads, as the graph's second output."""
    model.graph.node.append(helper.make_node("Identity", [head.reads], [FEATURES], FEATURES))
    shape = ["batch", "features"]
    model.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, shape))


def _check_same(graph: Path, made: bytes, tables: Mapping[str, Floats], once: bool) -> int:
    """Columns of the features.

    Args:
        graph: The bundle's.
        made: What was made of it.
        tables: That change nothing.
        once: Whether it reads each text once: then some are asked about twice.

    Raises:
        ModelError: If the graph that was made does not run, or answers otherwise.
    """
    (before,) = _run(_session(graph), {})
    rows = np.array([0, 2, 1, 0]) if once else np.arange(len(before))
    try:
        after, *features = _run(_session(made), {**tables, ROWS: rows} if once else tables)
    except _CANNOT_RUN as error:
        raise ModelError(
            f"What was made of {graph} cannot be run: {error}.",
            fix="make heads alone: this architecture's layers take no tables.",
        ) from error
    apart = float(np.abs(after - before[rows]).max())
    if apart > _SAME * max(1.0, float(np.abs(before).max())):
        raise ModelError(
            f"What was made of {graph} does not answer as it does: logits differ by {apart:.1e}.",
            fix="make heads alone; please report this with the bundle's manifest.",
        )
    return features[0].shape[1] if features else 0


def _zeros(chosen: Mapping[str, Linear], rank: int) -> dict[str, Floats]:
    """Tables that change nothing, by the names of their inputs."""
    found: dict[str, Floats] = {}
    for name, one in chosen.items():
        found[f"{name}.A"] = np.zeros((1, one.width, rank), np.float32)
        found[f"{name}.B"] = np.zeros((1, rank, one.height), np.float32)
    return found


def _session(model: Path | bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _probe(texts: int) -> dict[str, NDArray[np.int64]]:
    """Token ids that every vocabulary has, and a mask with padding; the first text is whole."""
    ids = np.arange(texts * 7, dtype=np.int64).reshape(texts, 7) % 6
    lengths = np.array([7, 4, 1, 6, 2])[:texts, None]
    return {"input_ids": ids, "attention_mask": (np.arange(7) < lengths).astype(np.int64)}


def _run(session: ort.InferenceSession, more: Mapping[str, NDArray[Any]]) -> list[Any]:
    names = {value.name for value in session.get_inputs()}
    given = {n: v for n, v in _probe(3).items() if n in names}
    return [*session.run(None, {**given, **more})]
