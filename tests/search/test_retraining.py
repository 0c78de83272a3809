"""A compressor that trains, as a run calls it: with the run's tuner, rows and serving runtime."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sartor.bundle import Preprocess
from sartor.core.events import silent
from sartor.search.artefacts import Maker
from sartor.search.assess import Held
from sartor.search.retraining import Retraining
from sartor.tasks import TASKS
from tests.manifests import draft
from tests.shrink.pupils import HELD, LENGTH, OUTPUTS, TRAIN, answers, school


def test_a_run_hands_its_tuner_to_compressors(tmp_path: Path):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pupils = school(tmp_path / "school")
    manifest = draft(
        name="reviews",
        outputs=list(OUTPUTS),
        preprocess=Preprocess(prefix="", max_length=LENGTH),
        need={"name": "reviews"},
        lineage={"seed": 0},
    )
    task = TASKS.get("text_classification")()
    asked: list[np.ndarray] = []
    trains = pupils.bench.retrain
    assert isinstance(trains, Retraining)

    def retrain(start, settings, teacher=None):
        asked.append(teacher)
        return trains(start, settings, teacher)

    maker = Maker(
        Held(task, OUTPUTS, HELD, (), 100),
        TRAIN,
        manifest,
        "name: reviews\n",
        tmp_path / "scratch",
        tmp_path / "bundles",
        lambda bundle, texts: np.zeros((1, 1)),
        "here",
    )
    maker.scratch.mkdir()
    (tmp_path / "to").mkdir()
    replace(maker, students=lambda: (TRAIN, retrain))._compressing(
        "drop_layers", pupils.form, silent
    )(tmp_path / "to")
    torch.set_num_threads(before)

    made = pupils.form.left_in(tmp_path / "to")
    assert made.graph.stat().st_size < pupils.form.graph.stat().st_size
    # The teacher is the graph as it is served, on the training rows in their order.
    texts = TRAIN.inputs["text"]
    np.testing.assert_allclose(asked[0], answers(pupils.form, texts), atol=1e-4)
