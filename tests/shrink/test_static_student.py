"""A table of scores that learns from a network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.optimize import check_grad

from sartor.core.errors import NothingToShrink
from sartor.shrink.api import COMPRESSORS
from sartor.shrink.compressors.static_student import StaticStudent, _bags, _Lesson
from sartor.shrink.students import Whole
from sartor.tasks._encoder.static import StaticClassifier
from sartor.tasks.text_classification.train import load
from tests.shrink.pupils import TRAIN, School, answers, check_laws, matrices, right


def test_it_answers_nearly_as_the_network_without_a_matrix(pupils: School, tmp_path: Path):
    made = check_laws(pupils, "static_student", tmp_path)

    assert made.fit is not None
    assert isinstance(load(made.fit), StaticClassifier)
    assert matrices(made.graph) == 0
    assert made.graph.stat().st_size < 0.2 * pupils.form.graph.stat().st_size
    assert right(made) >= right(pupils.form) - 0.1
    assert "MatMul" not in {node.op_type for node in onnx.load(made.graph).graph.node}


def test_it_learns_from_the_teacher_where_there_are_no_labels(pupils: School, tmp_path: Path):
    """A teacher that says the opposite is believed."""

    def lies(form, texts):
        return -answers(form, texts)

    bare = replace(pupils.bench, train=replace(TRAIN, target=()), answers=lies)
    (tmp_path / "to").mkdir()
    COMPRESSORS.get("static_student")().compress(pupils.form, tmp_path / "to", bare)
    assert right(pupils.form.left_in(tmp_path / "to")) < 0.5


def test_tokens_that_no_training_text_holds_have_a_score(pupils: School, tmp_path: Path):
    few = replace(pupils.bench, train=TRAIN.take(range(12)))
    (tmp_path / "to").mkdir()
    COMPRESSORS.get("static_student")().compress(pupils.form, tmp_path / "to", few)
    student = load(tmp_path / "to" / "fit")
    assert isinstance(student, StaticClassifier)
    assert float(student.scores.detach().abs().sum(1).min()) > 0
    assert not student.counted[2], "[CLS] is in every text and says nothing"


def test_the_gradient_is_that_of_finite_differences(pupils: School):
    whole = Whole.opened("static_student", pupils.form, pupils.bench)
    some = TRAIN.take(range(6))
    mixed = replace(some, target=(None, *some.target[1:]))
    whole = replace(whole, bench=replace(whole.bench, train=mixed))
    words = np.random.default_rng(0).normal(size=(whole.model.encoder.config.vocab_size, 4))
    bags = _bags(whole, mixed, np.ones(len(words), np.bool_))
    lesson = _Lesson.of(StaticStudent(), whole, bags, (words, np.arange(len(words))))

    def value(flat):
        return lesson._loss(flat.reshape(6, 2))[0]

    def slope(flat):
        return lesson._loss(flat.reshape(6, 2))[1].ravel()

    at = np.random.default_rng(1).normal(size=12)
    assert check_grad(value, slope, at) < 1e-6


def test_it_has_nothing_to_learn_from_without_training(pupils: School, tmp_path: Path):
    with pytest.raises(NothingToShrink, match="nothing to train with"):
        StaticStudent().compress(pupils.form, tmp_path, replace(pupils.bench, retrain=None))
