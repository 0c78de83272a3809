"""Mastery: the model against the equation and against a general optimiser, what is told of skills,
and how growth is found again in histories that were drawn with it."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit

from sartor.core.columns import Column
from sartor.core.errors import DataError, ModelError
from sartor.core.histories import LENGTH
from sartor.core.texts import Cells
from sartor.serve.session import Session
from sartor.shrink.export import to_onnx
from sartor.tasks.mastery.growing import growth
from sartor.tasks.mastery.model import Sizes, Tracer
from sartor.tasks.mastery.spec import Mastery
from sartor.tasks.mastery.telling import Course
from sartor.tasks.mastery.train import load
from tests.laws.test_tasks import SAMPLES

ITEMS, SKILLS = ("a", "b", "c", "d"), ("x", "y", "x", "y")
COLUMN = Column(kind="answers", values=list(ITEMS), skills=list(SKILLS))
HISTORIES = (
    [],
    [["a", 1]],
    [["b", 0], ["a", 1], ["c", 1], ["a", 0], ["d", 1], ["b", 1]],
    [["d", 0]] * 7,
)
TASK = Mastery()


def tracer(decays=2, steps=8, seed=0) -> Tracer:
    model = Tracer(Sizes(4, 2, decays, steps))
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        model.skill.copy_(torch.tensor([0, 1, 0, 1]))
        for at in range(decays):
            model.decay[at] = 0.7**at ** torch.arange(LENGTH)
        model.fade.copy_(0.9 ** torch.arange(LENGTH))
        model.spread.copy_(torch.tensor([0.5, 0.3]).log())
        for tensor in (model.easy, model.common, model.own, model.growth):
            tensor.copy_(torch.from_numpy(rng.normal(0, 0.4, tensor.shape)))
    return model.eval()


def numbers(model: Tracer) -> dict[str, np.ndarray]:
    return {name: tensor.detach().double().numpy() for name, tensor in model.state_dict().items()}


def likeliest(model: Tracer, history) -> tuple[float, np.ndarray]:
    """θ and δ by a general optimiser."""
    n = numbers(model)
    skill = [0, 1, 0, 1]
    rows, counts = [], [0, 0]
    for name, mark in history:
        item = ITEMS.index(name)
        rows.append((item, mark, np.log1p(counts[skill[item]])))
        counts[skill[item]] += 1

    def loss(x):
        total = x[0] ** 2 / (2 * np.exp(n["spread"][0])) + (x[1:] ** 2).sum() / (
            2 * np.exp(n["spread"][1])
        )
        for back, (item, mark, before) in enumerate(reversed(rows)):
            s = skill[item]
            z = n["easy"][item] + n["growth"][s] * before + x[0] + x[1 + s]
            total += n["fade"][back] * (np.logaddexp(0, z) - mark * z)
        return total

    found = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8})
    now = np.log1p(np.array(counts))
    return float(found.x[0]), found.x[1:] + n["growth"] * now


def counted(model: Tracer, history) -> tuple[float, np.ndarray]:
    """The docstring's sums, answer by answer."""
    n = numbers(model)
    common, own = 0.0, np.zeros(2)
    for at in range(model.sizes.decays):
        sums = np.zeros((2, 3))  # right or wrong, by (all, skill x, skill y)
        for back, (name, mark) in enumerate(reversed(history)):
            side, skill = 1 - mark, ITEMS.index(name) % 2
            sums[side, [0, 1 + skill]] += n["decay"][at, back]
        common += n["common"][at] @ np.log1p(sums[:, 0])
        own += (n["own"][at] * np.log1p(sums[:, 1:])).sum(0)
    return common, own


@pytest.mark.parametrize("history", HISTORIES, ids=len)
def test_counts_are_the_equation(history):
    model = tracer(steps=0)
    common, own = counted(model, history)
    with torch.no_grad():
        found = model(torch.from_numpy(COLUMN.encode([history])))[0].numpy()
    wanted = numbers(model)["easy"] + common + own[[0, 1, 0, 1]]
    assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("history", HISTORIES, ids=len)
def test_abilities_are_the_likeliest(history):
    model = tracer(decays=0, steps=60)
    theta, own = likeliest(model, history)
    with torch.no_grad():
        found = model(torch.from_numpy(COLUMN.encode([history])))[0].numpy()
    wanted = numbers(model)["easy"] + theta + own[[0, 1, 0, 1]]
    assert found == pytest.approx(wanted, abs=2e-3)


def test_a_gradient_through_the_steps_is_that_of_differences():
    model = tracer(steps=4).double()
    columns = torch.from_numpy(COLUMN.encode(HISTORIES)).double()
    for tensor in (model.easy, model.growth, model.spread, model.own):
        model.zero_grad()
        model(columns).square().sum().backward()
        assert tensor.grad is not None
        slope = tensor.grad.clone()
        place = (0,) * tensor.dim()
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                tensor[place] += step
                values.append(model(columns).square().sum().item())
                tensor[place] -= step
        assert slope[place].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4)


def test_the_graph_and_the_copy_say_what_the_model_says(tmp_path):
    model = tracer(decays=1, steps=2)
    columns = COLUMN.encode([*HISTORIES, [["a", 1], ["b", 0]] * 150])
    with torch.no_grad():
        wanted = model(torch.from_numpy(columns)).numpy()
        model.save(tmp_path / "fit")
        again = load(tmp_path / "fit")(torch.from_numpy(columns)).numpy()
    assert np.array_equal(again, wanted)
    to_onnx(tmp_path / "fit", "mastery", tmp_path / "model.onnx")
    session = Session.open(tmp_path / "model.onnx", 1, also=("columns",))
    none = np.zeros((len(columns), 1), np.int64)
    (served,) = session.all(none, none, {"columns": columns})
    assert served == pytest.approx(wanted, abs=1e-4)
    (one,) = session.all(none[:1], none[:1], {"columns": columns[2:3]})
    assert one[0] == pytest.approx(wanted[2], abs=1e-4)


def test_files_that_do_not_fit_each_other_are_refused(tmp_path):
    model = tracer()
    model.skill[0] = 9
    model.save(tmp_path)
    with pytest.raises(ModelError, match="skills point outside"):
        load(tmp_path)


def course(**more) -> Course:
    return Course(ITEMS, SKILLS, {"a": "Text of a."}, {"x": 0.2, "y": 0.0, "": 0.1}, **more)


def test_mastery_pace_and_next_are_what_they_are_said_to_be():
    chances = np.array([0.6, 0.9, 0.8, 0.9])
    found = course().about({"history": [["c", 1], ["b", 0], ["?", 1]], "item": ["d", "?"]}, chances)
    x, y = found["skills"]
    assert (x["skill"], x["mastery"], x["mastered"]) == ("x", 0.7, False)
    assert (x["answers"], x["right"]) == (1, 1)
    odds = np.log(0.85 / 0.15) - np.log(0.7 / 0.3)
    assert x["pace"] == int(np.ceil(odds / 0.2))
    assert (y["mastery"], y["mastered"], y["pace"], y["right"]) == (0.9, True, 0, 0)
    # c was answered right, b and d are of a skill that is mastered.
    assert (found["next"]["item"], found["next"]["text"]) == ("a", "Text of a.")
    assert [each["item"] for each in found["asked"]] == ["d"]


def test_items_whose_skill_nothing_names_are_no_skill_beside_others():
    found = Course(["a", "b", "new"], ["x", "y", ""], {}, {}).about({}, np.full(3, 0.5))
    assert [each["skill"] for each in found["skills"]] == ["x", "y"]
    alone = Course(["a", "b"], [], {}, {}).about({}, np.full(2, 0.5))
    assert [each["skill"] for each in alone["skills"]] == [""]


def test_the_aim_the_skill_and_the_bar_may_be_chosen():
    chances = np.array([0.5, 0.7, 0.8, 0.95])
    asked = {"history": [], "aim": 0.94, "mastered_at": 0.96}
    assert course().about(asked, chances)["next"]["item"] == "d"
    assert course().about({**asked, "skill": "x"}, chances)["next"]["item"] == "c"
    assert course().about({**asked, "skill": "z"}, chances)["next"] is None
    # What brings nothing has no pace.
    assert course().about(asked, chances)["skills"][1]["pace"] is None


def test_without_an_item_the_answer_is_about_the_next_and_strangers_are_told():
    logits = np.array([[2.0, -1.0, 1.1, 0.0]] * 6, np.float32)
    rows = [
        {"history": [], "item": []},
        {"history": [], "item": ["b"]},
        {"history": [], "item": ["zz"]},
        {"history": [[name, 1] for name in ITEMS], "item": []},
        {"history": [], "item": [], "skill": "zz"},
        {"history": [], "item": ["b"], "skill": "zz"},
    ]
    decision = {"skills": list(SKILLS)}
    nothing, asked, strange, done, unskilled, beside = TASK.decode(
        logits, ITEMS, decision, [*map(Cells.of, rows)]
    )
    assert nothing["item"] == nothing["next"]["item"] == "c"
    assert (asked["item"], asked["label"]) == ("b", "wrong")
    assert asked["probabilities"]["right"] == pytest.approx(expit(-1.0), abs=1e-5)
    assert (strange["label"], strange["reason"]) == (None, "no item is called 'zz'")
    assert done["label"] is None
    assert done["next"] is None
    assert "answered right already" in done["reason"]
    assert (unskilled["label"], unskilled["reason"]) == (None, "no skill is called 'zz'")
    assert (beside["item"], beside["next"]) == ("b", None)
    assert beside["notes"] == ["skill names what is no skill here: 'zz'."]


def test_growth_that_histories_were_drawn_with_is_found_again():
    rng = np.random.default_rng(0)
    histories = []
    for _ in range(400):
        start, history, counts = rng.normal(0, 0.8, 2), [], [0, 0]
        for _ in range(20):
            at = int(rng.integers(0, 4))
            z = start[at % 2] + (0.3, 0.05)[at % 2] * counts[at % 2] + (at - 1.5) / 2
            history.append((ITEMS[at], int(rng.random() < expit(z))))
            counts[at % 2] += 1
        histories.append(history)
    easy = {name: (at - 1.5) / 2 for at, name in enumerate(ITEMS)}
    skill_of = dict(zip(ITEMS, SKILLS, strict=True))
    found = growth(histories, easy, skill_of)
    assert found["x"] == pytest.approx(0.3, abs=0.08)
    assert found["y"] == pytest.approx(0.05, abs=0.05)
    assert found["y"] < found[""] < found["x"]
    # The beginning of a history is not counted beside it, and no history says what is usual.
    assert growth([*histories, *(h[:9] for h in histories)], easy, skill_of) == found
    assert growth([], {}, {}) == {"": 0.1}


def test_an_item_that_no_output_is_called_is_refused():
    sample = SAMPLES["mastery"].examples
    with pytest.raises(DataError, match="'item 0'"):
        TASK.truth(sample, ["item 1", "item 2"])
    assert TASK.outputs(sample, None) == ["item 0", "item 1", "item 2"]
    assert TASK.labels(["item 0"]) == ["wrong", "right"]
