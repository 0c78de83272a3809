"""Students whose training rows have no label, of every kind of answer that they are taught."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from sartor.core.events import silent
from sartor.core.types import Candidate, Examples
from sartor.search.retraining import Retraining
from sartor.serve.graph import Graph
from sartor.serve.reading import Reader
from sartor.serve.session import Session
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.export import to_onnx
from sartor.testing.workbench import LENGTH, rows
from sartor.tune.fit import TuneOptions, Tuner
from tests.tune.killed import NoFeatures, tiny_backbone

LEARNS = {"epochs": 2, "lr": 3e-3, "head_lr": 3e-3, "batch_rows": 16, "patience": 99}
PRAISE = ("good", "great", "love", "fine", "works", "quick")
OUTPUTS: dict[str, tuple[str, ...]] = {
    "multi_label": ("praise", "long"),
    "ordinal": ("low", "middle", "high"),
    "text_regression": ("value",),
}
SOME: dict[str, dict[str, Any]] = {
    "distil": {"layers": 0.5, "epochs": 2},
    "drop_layers": {"epochs": 1},
    "prune_ffn": {"epochs": 1},
    "prune_heads": {"epochs": 1},
    "quantise_aware": {"epochs": 1},
}


def told(task: str, count: int, seed: int) -> Examples:
    """Rows whose answer follows from their words of praise."""
    found = rows(count, seed)
    praise = [sum(word in PRAISE for word in text.split()) for text in found.texts]
    answers: dict[str, list[Any]] = {
        "multi_label": [("praise",) * (n > 0) + ("long",) * (n > 1) for n in praise],
        "ordinal": [("low", "middle", "high")[min(n, 2)] for n in praise],
        "text_regression": [100.0 * n for n in praise],
    }
    return replace(found, target=tuple(answers[task]))


def logits(form: Form, texts: Any, outputs: int) -> Any:
    tokenizer = Tokenizer.from_file(str(form.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LENGTH)
    reader = Reader(tokenizer, whole=None, prefix="", windows=None, room=LENGTH, pad=0)
    return Graph(Session.open(form.graph, 1), reader, outputs).logits(texts)


@pytest.fixture(scope="module", params=OUTPUTS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    task, place = request.param, tmp_path_factory.mktemp(request.param)
    outputs, train, held = OUTPUTS[task], told(task, 120, 1), told(task, 40, 2)
    backbone = tiny_backbone(place / "tiny")
    options = TuneOptions(task=task, max_length=LENGTH)
    tuner = Tuner({"tiny": backbone}, lambda _: NoFeatures(), place / "fits", outputs, options)
    fitted = tuner(Candidate("tiny", backbone.sha256, "full", LEARNS, 1), train, held, silent)
    to_onnx(fitted.folder, task, place / GRAPH)
    unread = rows(60, 3)
    both = Examples(
        (*train.ids, *(f"untold {each}" for each in unread.ids)),
        {"text": (*train.texts, *unread.texts)},
        (*train.target, *(None for _ in unread.ids)),
    )
    made = Bench(
        task=task,
        outputs=outputs,
        max_length=LENGTH,
        prefix="",
        train=both,
        validation=held,
        answers=lambda form, texts: logits(form, texts, len(outputs)),
        retrain=Retraining(tuner, both, held, "", LENGTH, 1, silent),
        seed=1,
        emit=silent,
    )
    return Form(place / GRAPH, fitted.folder / TOKENIZER, fitted.folder), made


@pytest.mark.parametrize(
    "name",
    ["distil", *(pytest.param(each, marks=pytest.mark.slow) for each in SOME if each != "distil")],
)
def test_a_student_learns_from_rows_that_have_no_answer(bench: Any, tmp_path: Path, name: str):
    form, made = bench
    COMPRESSORS.get(name)(**SOME[name]).compress(form, tmp_path, made)
    found = logits(form.left_in(tmp_path), made.validation.texts, len(made.outputs))
    assert found.shape == (len(made.validation), len(made.outputs))
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0


def test_every_student_is_tried():
    trained = {name for name in COMPRESSORS.names() if COMPRESSORS.get(name).trains}
    assert trained - set(SOME) == {"static_student"}, "a table is fitted to one label a row"
