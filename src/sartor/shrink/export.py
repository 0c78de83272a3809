"""A fitted model to one ONNX graph: input_ids, attention_mask → logits, any batch and length."""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import onnx
import torch

from sartor.core.durable import write_durably
from sartor.core.errors import ModelError

OPSET = 20


def to_onnx(folder: Path, task: str, target: Path) -> None:
    """Export the model that a fit left in `folder`.

    Args:
        folder: `Fitted.folder`.
        task: Its training half rebuilds the model.
        target: The .onnx file to write; weights are inside it.

    Raises:
        ModelError: If the graph cannot be exported or does not pass the ONNX checker.
    """
    model = import_module(f"sartor.tasks.{task}.train").load(folder)
    ids = torch.ones(2, 17, dtype=torch.long)
    example = (ids, torch.ones_like(ids))
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence")
    shape = {0: batch, 1: sequence}
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            model,
            example,
            dynamo=True,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=(shape, shape),
            opset_version=OPSET,
            verbose=False,
        )
    graph: onnx.ModelProto = program.model_proto
    try:
        onnx.checker.check_model(graph)
    except onnx.checker.ValidationError as error:
        raise ModelError(
            f"The exported graph of {folder} is not valid ONNX: {error}.",
            fix="choose another backbone: this architecture cannot be exported.",
        ) from error
    _without_traces(graph)
    write_durably(target, graph.SerializeToString(deterministic=True))


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
