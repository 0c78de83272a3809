"""Running a graph on token ids that are drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from sartor.core.events import silent
from sartor.core.types import Examples
from sartor.shrink.api import COMPRESSORS, GRAPH, Bench, Form


def logits(graph: Path, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert [found.name for found in session.get_outputs()] == ["logits"]
    return np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])


def batch(rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(rows * 100 + length)
    mask = (np.arange(length) < draw.integers(1, length + 1, (rows, 1))).astype(np.int64)
    return draw.integers(5, 80, (rows, length)), mask


ALL: dict[str, Any] = {name: COMPRESSORS.get(name) for name in COMPRESSORS.names()}
GRAPH_COMPRESSORS = [name for name, kind in ALL.items() if kind.eases and not kind.trains]
"""Those that make a graph smaller without weights in torch."""

NO_ROWS = Examples((), {"text": ()})


def no_answers(form: Form, texts: object) -> np.ndarray:
    raise AssertionError("this compressor asks for no answers")


BENCH = Bench(
    "text_classification", ("a", "b", "c"), 64, "", NO_ROWS, NO_ROWS, no_answers, None, 0, silent
)
"""For what works on a graph alone."""


def compressed(name: str, graph: Path, folder: Path, bench: Bench = BENCH) -> Path:
    """The graph that a compressor made of one, in a new folder."""
    folder.mkdir()
    form = Form(graph, graph.parent / "tokenizer.json")
    COMPRESSORS.get(name)().compress(form, folder, bench)
    return folder / GRAPH
