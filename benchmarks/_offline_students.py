"""Students of the model that `offline_throughput` measures, as `sartor shrink` makes them.

`distil` with its defaults, and with more layers; each learns from the whole model's answers on the
labelled rows and on the other reviews, whose labels it is not told, and is then quantised.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from sartor.core.protocols import Floats
from sartor.core.types import Examples
from sartor.search.retraining import Retraining
from sartor.shrink.api import COMPRESSORS, Bench, Form
from sartor.tune.fit import Tuner

STUDENTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"student-2": {"layers": 0.34}, "student-3": {"layers": 0.5}}
)
"""Settings of `distil` by the name of a form; the number is that of its layers."""
_BATCH = 16


def make_students(source: Form, bench: Bench, tuner: Tuner, more: Examples, place: Path) -> None:
    """Write each student's form into a folder of its name.

    Args:
        source: The whole model, with its fit.
        bench: With the labelled rows.
        tuner: Trains.
        more: Rows without labels.
        place: Folder of all forms.
    """
    train = Examples(
        (*bench.train.ids, *(f"more {number}" for number in more.ids)),
        {"text": (*bench.train.inputs["text"], *more.inputs["text"])},
        (*bench.train.target, *(None for _ in more.ids)),
    )
    retrain = Retraining(
        tuner, train, bench.validation, bench.prefix, bench.max_length, bench.seed, bench.emit
    )
    asked = replace(
        bench, train=train, answers=lambda form, texts: _logits(form, texts, bench), retrain=retrain
    )
    for name, settings in STUDENTS.items():
        steps = [("distil", settings), ("optimise_graph", {}), ("int8_dynamic", {})]
        form = source
        for step, given in steps:
            made = place / name if step == "int8_dynamic" else place / f"{name}-{step}"
            made.mkdir()
            COMPRESSORS.get(step)(**given).compress(form, made, asked)
            form = form.left_in(made)


def _logits(form: Form, texts: Any, bench: Bench) -> Floats:
    """(texts, outputs), those of about equal length together."""
    session: Any = onnxruntime.InferenceSession(form.graph, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(form.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(bench.max_length)
    rows = [found.ids for found in tokenizer.encode_batch([bench.prefix + text for text in texts])]
    order = np.argsort([len(ids) for ids in rows], kind="stable").tolist()
    found = np.zeros((len(rows), len(bench.outputs)), np.float32)
    for start in range(0, len(order), _BATCH):
        part = order[start : start + _BATCH]
        ids = np.zeros((len(part), len(rows[part[-1]])), np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(part):
            ids[place, : len(rows[row])], mask[place, : len(rows[row])] = rows[row], 1
        found[part] = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    return found
