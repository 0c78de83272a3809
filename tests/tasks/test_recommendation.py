"""Recommendation: what answers leave out, and the model of arrays against the equation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import ModelError
from sartor.core.texts import Cells
from sartor.core.types import Examples
from sartor.serve.session import Session
from sartor.shrink.export import to_onnx
from sartor.tasks.recommendation.model import Near, Vectors, made_of
from sartor.tasks.recommendation.spec import Recommendation
from sartor.tasks.recommendation.train import load

NAMES = [f"i{n}" for n in range(6)]
TASK = Recommendation()


def row(**values) -> Cells:
    return Cells.of({"history": [], **values})


def answers(texts, decision=None):
    logits = np.tile(np.arange(6, 0, -1, dtype=np.float32), (len(texts), 1))
    return TASK.decode(logits, NAMES, {"shown": 3, **(decision or {})}, texts)


def listed(answer):
    return [entry["id"] for entry in answer["documents"]]


def test_an_answer_lists_neither_the_history_nor_what_is_excluded():
    plain, seen, out = answers(
        [row(), row(history=["i0", "i2"]), row(history=["i0"], exclude=["i1"], k=2)]
    )
    assert listed(plain) == ["i0", "i1", "i2"]
    assert listed(seen) == ["i1", "i3", "i4"]
    assert listed(out) == ["i2", "i3"]
    assert sum(entry["score"] for entry in seen["documents"]) <= 1


def test_items_that_come_again_are_recommended_again_but_for_those_excluded():
    (again,) = answers([row(history=["i0"], exclude=["i1"], k=5)], {"repeats": True})
    assert listed(again) == ["i0", "i2", "i3", "i4", "i5"]


def test_who_has_chosen_everything_gets_no_answer_and_a_reason():
    (found,) = answers([row(history=NAMES)])
    assert (found["answer"], found["documents"]) == (None, [])
    assert found["reason"]
    assert TASK.brief(found).label is None
    assert TASK.likelihood(found, ("i1",)) <= 0.01


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_ranks_are_those_of_a_plain_sort(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 9_999)))
    logits = rng.normal(size=(3, 6)).astype(np.float32)
    histories = [list(rng.choice(NAMES, rng.integers(0, 4), replace=False)) for _ in range(3)]
    texts = [row(history=history) for history in histories]
    found = TASK.decode(logits, NAMES, {"shown": 6}, texts)
    for scores, history, answer in zip(logits, histories, found, strict=True):
        wanted = sorted(set(NAMES) - set(history), key=lambda n: -scores[NAMES.index(n)])
        assert listed(answer) == wanted


def test_rows_say_whether_items_come_again():
    texts = (row(history=["i1"]), row(history=["i2"]))
    for targets, again in ([("i2",), ("i3",)], False), ([("i2",), ("i2",)], True):
        examples = Examples(("1", "2"), {"columns": texts}, tuple(targets))
        logits = np.zeros((2, 6), np.float32)
        assert TASK.settle(logits, examples, NAMES, ())["repeats"] is again


def model(seed=0, items=5, length=4):
    rng = np.random.default_rng(seed)

    def floats(*shape):
        return rng.normal(size=shape).astype(np.float32)

    place = np.array([1.0, 0.5, 0.25, 0.0], np.float32)[:length]
    near = Near(rng.integers(0, items, (items, 3)), floats(items, 3), place)
    vectors = [Vectors(floats(items, d), floats(items, d), np.abs(place)) for d in (2, 3)]
    return made_of(floats(items), length, near, vectors), near, vectors


def by_hand(built, near, vectors, history):
    """The docstring's equation, item by item."""
    found = built.bias.numpy().astype(float).copy()
    for place, item in enumerate(history):
        for other, share in zip(near.items[item], near.share[item], strict=True):
            found[other] += near.place[place] * share
    for part in vectors:
        weight = sum(part.place[p] for p in range(len(history)))
        user = sum(
            (part.place[p] * part.given[item] for p, item in enumerate(history)),
            np.zeros(part.given.shape[1]),
        )
        found += part.wanted @ (user / max(weight, 1e-6))
    return found


@pytest.mark.parametrize("history", [[], [2], [0, 4], [3, 3, 1, 0]])
def test_the_model_its_graph_and_its_copy_are_the_equation(tmp_path, history):
    built, near, vectors = model()
    row = np.array([history + [-1] * (4 - len(history))], np.float32)
    wanted = by_hand(built, near, vectors, history)
    with torch.no_grad():
        assert built(torch.from_numpy(row))[0].numpy() == pytest.approx(wanted, abs=1e-5)
    built.save(tmp_path / "fit")
    with torch.no_grad():
        again = load(tmp_path / "fit")(torch.from_numpy(row))[0].numpy()
    assert again == pytest.approx(wanted, abs=1e-5)
    to_onnx(tmp_path / "fit", "recommendation", tmp_path / "model.onnx")
    session = Session.open(tmp_path / "model.onnx", 1, also=("columns",))
    none = np.zeros((1, 1), np.int64)
    (served,) = session.all(none, none, {"columns": np.repeat(row, 3, 0)})
    assert served == pytest.approx(np.tile(wanted, (3, 1)), abs=1e-5)


def test_a_model_of_popularity_alone_exports(tmp_path):
    made_of(np.array([3.0, 1.0], np.float32), 1, None, []).save(tmp_path / "fit")
    to_onnx(tmp_path / "fit", "recommendation", tmp_path / "model.onnx")
    session = Session.open(tmp_path / "model.onnx", 1, also=("columns",))
    none = np.zeros((2, 1), np.int64)
    (served,) = session.all(none, none, {"columns": np.full((2, 1), -1, np.float32)})
    assert served.tolist() == [[3.0, 1.0], [3.0, 1.0]]


def test_files_that_do_not_fit_each_other_are_refused(tmp_path):
    built, _, _ = model()
    built.near_items[0, 0] = 99
    built.save(tmp_path)
    with pytest.raises(ModelError, match="near_items"):
        load(tmp_path)
