"""A fitted model to one ONNX graph: input_ids, attention_mask → logits, any batch and length.

The graph's inputs are those of the model's `forward`, by name: one that reads two texts apart takes
other_ids and other_mask as well, of a length of their own; one that reads columns, their numbers.
Trees have an operator of their own, which the exporter does not write, and what recommends is
arrays: see `trees` and `recommender`.
"""

import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from inspect import signature
from io import StringIO
from pathlib import Path
from typing import Any

import onnx
import torch

from sartor.core.durable import write_durably
from sartor.core.errors import ModelError
from sartor.core.texts import COLUMNS
from sartor.shrink.graphs import fold_transposes, in_bytes, refuse_large
from sartor.shrink.joined import OUTPUT
from sartor.shrink.recommender import recommender_graph
from sartor.shrink.trees import trees_graph
from sartor.tasks.mastery.model import Tracer
from sartor.tasks.recommendation.model import Recommender
from sartor.tasks.tabular_text.trees import TreesClassifier

OPSET = 20
_SEQUENCES = ("sequence", "other_sequence")
"""Names of the lengths of the texts."""


def to_onnx(folder: Path, task: str, target: Path) -> None:
    """Export the model that a fit left in `folder`.

    Args:
        folder: `Fitted.folder`.
        task: Its training half rebuilds the model.
        target: The .onnx file to write; weights are inside it.

    Raises:
        ModelError: If the graph cannot be exported or does not pass the ONNX checker.
    """
    write_durably(target, exported(folder, task))


def exported(folder: Path, task: str) -> bytes:
    """The file that `to_onnx` writes; the same model gives the same bytes."""
    model = served(folder, task)
    if isinstance(model, TreesClassifier):
        graph = trees_graph(model, OPSET)
    elif isinstance(model, Recommender):
        graph = recommender_graph(model, OPSET)
    else:
        graph = traced(model)
    return in_bytes(finished(graph, folder), str(folder))


def served(folder: Path, task: str) -> torch.nn.Module:
    """The part of a fitted model that its graph computes."""
    training = import_module(f"sartor.tasks.{task}.train")
    # What lies beside a graph is not in it.
    return getattr(training, "served", _whole)(training.load(folder))


def finished(graph: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """A graph as it ships: checked, with weights as they are read, and no trace of this machine.

    Raises:
        ModelError: If it does not pass the ONNX checker, or is too large for a file.
    """
    refuse_large(graph, str(folder))
    try:
        onnx.checker.check_model(graph)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"The exported graph of {folder} is not valid ONNX: {error}.",
            fix="choose another backbone: this architecture cannot be exported.",
        ) from error
    fold_transposes(graph.graph)
    _without_traces(graph)
    return graph


def traced(model: torch.nn.Module, outputs: Sequence[str] = (OUTPUT,)) -> onnx.ModelProto:
    """What torch's exporter makes of a model.

    Args:
        model: Its `forward` names the inputs.
        outputs: Names of what it returns.
    """
    names = list(signature(model.forward).parameters)
    batch, example, shapes = torch.export.Dim("batch"), list[torch.Tensor](), list[Any]()
    # Ids and mask of each text; the example's lengths differ, or one would be taken for the other.
    for sequence, length in zip(_SEQUENCES, range(17, 17 + len(names) // 2), strict=False):
        example += [torch.ones(2, length, dtype=torch.long) for _ in range(2)]
        shapes += [{0: batch, 1: torch.export.Dim(sequence)}] * 2
    if COLUMNS in names:
        example.append(torch.zeros(2, _width(model)))
        shapes.append({0: batch})
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            model,
            tuple(example),
            dynamo=True,
            input_names=names,
            output_names=list(outputs),
            dynamic_shapes=tuple(shapes),
            opset_version=OPSET,
            verbose=False,
        )
    return program.model_proto


def _width(model: torch.nn.Module) -> int:
    """Numbers of a row's columns."""
    if isinstance(model, Tracer):
        return model.reads
    weight: Any = model.get_parameter("columns.weight")
    return weight.shape[1]


def _whole(model: torch.nn.Module) -> torch.nn.Module:
    return model


def _without_traces(graph: onnx.ModelProto) -> None:
    """Drop source lines and stack traces: they hold paths of this machine and change the bytes."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for function in graph.functions:
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""
    for value in [*graph.graph.value_info, *graph.graph.input, *graph.graph.output]:
        del value.metadata_props[:]
    for tensor in graph.graph.initializer:
        del tensor.metadata_props[:]
    del graph.graph.metadata_props[:]
    del graph.metadata_props[:]


@contextmanager
def _quiet() -> Generator[None]:
    """The exporter prints its steps and warns of its own internals; neither helps a user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
