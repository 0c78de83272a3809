"""Running a graph on token ids that are drawn."""

from pathlib import Path

import numpy as np
import onnxruntime


def logits(graph: Path, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert [found.name for found in session.get_outputs()] == ["logits"]
    return np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])


def batch(rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(rows * 100 + length)
    mask = (np.arange(length) < draw.integers(1, length + 1, (rows, 1))).astype(np.int64)
    return draw.integers(5, 80, (rows, length)), mask
