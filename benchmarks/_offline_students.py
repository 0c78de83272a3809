"""Students of the model that `offline_throughput` measures, as `sartor shrink` makes them.

`distil` with half of the layers; it learns from the whole model's answers on the labelled rows and
on the other reviews, whose labels it is not told, and is then quantised. With its defaults, two
layers, it was 1.9 points below, and counted nowhere. Of what is there already, `shorten` makes a
form that reads less of long texts.
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
from sartor.shrink.parity import Parity, parity
from sartor.tune.fit import Tuner

STUDENTS: Mapping[str, Mapping[str, Any]] = MappingProxyType({"student-3": {"layers": 0.5}})
"""Settings of `distil` by the name of a form; the number is that of its layers."""
_BATCH, _TOLERANCE = 16, 0.02


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


def shorten(whole: Form, source: Form, bench: Bench, to: Path) -> Form:
    """The form that reads less of long texts, as the validation rows allow.

    Args:
        whole: The model that it is held against.
        source: The form to shorten.
        bench: With the labelled rows.
        to: New folder.
    """
    rows = bench.validation

    def said(form: Form) -> list[dict[str, Any]]:
        best = _logits(form, rows.texts, bench).argmax(1)
        return [{"best": bench.outputs[index]} for index in best]

    before = said(whole)

    def compares(form: Form) -> Parity:
        return parity(before, said(form), [str(label) for label in rows.target], _TOLERANCE)

    to.mkdir()
    COMPRESSORS.get("shorten_texts")().compress(source, to, replace(bench, compares=compares))
    return source.left_in(to)


def _logits(form: Form, texts: Any, bench: Bench) -> Floats:
    """(texts, outputs), those of about equal length together."""
    session: Any = onnxruntime.InferenceSession(form.graph, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(form.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(form.max_length or bench.max_length)
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
