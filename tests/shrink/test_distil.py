"""A shallow, narrow student that studies long."""

from dataclasses import replace
from pathlib import Path

import pytest

from sartor.core.events import silent
from sartor.search.retraining import Retraining
from sartor.shrink.api import COMPRESSORS
from sartor.tasks._encoder.model import TextClassifier, layer_stack
from sartor.tasks._encoder.sizes import sizes_of
from sartor.tasks.text_classification.train import load
from tests.shrink.pupils import HELD, LENGTH, TRAIN, School, answers, check_laws, matrices, right
from tests.tune.killed import reviews

SETTINGS = {"lr": 3e-3, "epochs": 8}


def test_a_student_of_a_quarter_answers_nearly_as_the_whole(pupils: School, tmp_path: Path):
    made = check_laws(pupils, "distil", tmp_path, **SETTINGS)

    assert made.fit is not None
    student = load(made.fit)
    assert isinstance(student, TextClassifier)
    sizes = sizes_of(list(layer_stack(student.encoder) or ()))
    assert sizes is not None
    assert (sizes.heads, sizes.neurons) == ((4,), (32,))
    assert matrices(made.graph) < 0.25 * matrices(pupils.form.graph)
    assert right(made) >= right(pupils.form) - 0.1


def test_texts_without_a_label_teach_too(pupils: School, tmp_path: Path):
    """Few labelled rows and many texts: the student that reads the texts follows its teacher more
    closely."""
    tuner = pupils.bench.retrain.tuner  # type: ignore[union-attr]
    few, unread = TRAIN.take(range(24)), reviews(200, 3)
    both = replace(
        few,
        ids=few.ids + unread.ids,
        inputs={"text": few.inputs["text"] + unread.inputs["text"]},
        target=few.target + (None,) * len(unread),
    )
    agreed = {}
    for name, rows in (("few", few), ("both", both)):
        retrain = Retraining(tuner, rows, HELD, "", LENGTH, 1, silent)
        bench = replace(pupils.bench, train=rows, retrain=retrain)
        (tmp_path / name).mkdir()
        COMPRESSORS.get("distil")(**SETTINGS).compress(pupils.form, tmp_path / name, bench)
        texts = HELD.inputs["text"]
        made = answers(pupils.form.left_in(tmp_path / name), texts)
        agreed[name] = (made.argmax(1) == answers(pupils.form, texts).argmax(1)).mean()
    assert agreed["both"] > agreed["few"]


@pytest.mark.parametrize("neurons", [1.0])
def test_all_neurons_may_stay(neurons: float, pupils: School, tmp_path: Path):
    made = pupils.compressed("distil", tmp_path / "to", neurons=neurons, epochs=1, layers=0.5)
    assert made.fit is not None
    student = load(made.fit)
    assert isinstance(student, TextClassifier)
    sizes = sizes_of(list(layer_stack(student.encoder) or ()))
    assert sizes is not None
    assert sizes.neurons == (64, 64)
