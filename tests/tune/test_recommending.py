"""Methods that recommend: counts against counting by hand, towers against finite differences, and
every method against what is known to be right."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad

from sartor.core.columns import Column, TableCode
from sartor.core.errors import DataError
from sartor.core.events import silent
from sartor.core.likelihood import losses
from sartor.core.texts import Cells, cells_of
from sartor.core.types import Examples
from sartor.serve.session import Session
from sartor.shrink.export import to_onnx
from sartor.testing.documented import undocumented
from sartor.tune.api import METHODS, ReadsItems
from sartor.tune.choices import Choices, Compared, neighbours, popular, scored, weighed
from sartor.tune.fit import Tuner
from sartor.tune.inputs import Traces
from sartor.tune.settings import read_settings
from sartor.tune.towers import Schooling, Towers, towers
from tests.tiny import WORDS
from tests.tune.solved import candidate, tuner_of

NAMES = [
    name
    for name in METHODS.names()
    if isinstance(METHODS.get(name), ReadsItems) and not isinstance(METHODS.get(name), Traces)
]
ITEMS = [f"i{n:02}" for n in range(24)]
SAID = {name: " ".join(WORDS[n % 6 : n % 6 + 3]) + f" {n}" for n, name in enumerate(ITEMS)}
CODE = TableCode(columns={"history": Column(kind="items", values=ITEMS)})


def moments(count: int, seed: int) -> Examples:
    """Who has item n takes n + 1 next, mostly; the last four are never taken."""
    rng = np.random.default_rng(seed)
    cells, targets = [], []
    for _ in range(count):
        start = int(rng.integers(0, 17))
        history = [(start + step) % 20 for step in range(rng.integers(1, 4))]
        follows = (history[-1] + 1) % 20 if rng.random() < 0.85 else int(rng.integers(0, 20))
        cells.append(Cells.of({"history": [ITEMS[n] for n in history]}))
        targets.append((ITEMS[follows],))
    ids = tuple(f"{seed}-{i}" for i in range(count))
    return Examples(ids, {"columns": tuple(cells)}, tuple(targets))


TRAIN, HELD = moments(500, 1), moments(100, 2)


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory) -> Tuner:
    work = tmp_path_factory.mktemp("work")
    return tuner_of(work, "recommendation", ITEMS, code=CODE, descriptions=SAID)


def top(logits) -> float:
    right = [ITEMS.index(target[0]) for target in HELD.target]
    return float(np.mean(logits.argmax(1) == right))


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_documented_and_the_portfolio_is_valid(name):
    method = METHODS.get(name)
    assert not undocumented(method)
    assert method.portfolio()
    for settings in method.portfolio():
        read = read_settings(settings, task="recommendation", method=name)
        assert set(method.space()) <= {*read.method.__slots__}


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_learns_and_its_graph_gives_what_was_measured(name, tuner, tmp_path: Path):
    fitted = tuner(candidate(name), TRAIN, HELD, silent)
    if name in ("neighbours", "two_tower", "hybrid"):
        assert top(fitted.validation_logits) > 0.6
    (alone,) = tuner.heads([candidate(name)], TRAIN, HELD)
    assert alone.validation_logits == pytest.approx(fitted.validation_logits, abs=1e-4)
    to_onnx(fitted.folder, "recommendation", tmp_path / "model.onnx")
    session = Session.open(tmp_path / "model.onnx", 1, also=("columns",))
    none = np.zeros((len(HELD), 1), np.int64)
    (found,) = session.all(none, none, {"columns": CODE.encode(cells_of(HELD.texts))})
    assert found == pytest.approx(fitted.validation_logits, abs=1e-3)


def test_rows_without_any_history_are_refused(tuner):
    empty = Examples(TRAIN.ids, {"columns": (Cells.of({"history": []}),) * 500}, TRAIN.target)
    with pytest.raises(DataError, match="nobody chose twice"):
        tuner.heads([candidate("popular")], empty, HELD)


def rows(seen, right, items=6, repeats=False) -> Choices:
    return Choices(np.array(seen), np.array(right), items, repeats)


def test_neighbours_are_counts_and_a_cosine_with_shrinkage():
    # Newest first: 1 then 0, twice; 1 alone once.
    made = rows([[1, 0], [1, 0], [1, -1]], [[2], [3], [2]])
    found = neighbours(made, decay=0.5, shrinkage=1.0, most=2).scores(np.array([[1, 0]]))[0]
    n1, n0, to2, to3 = 3.0, 1.0, 2.0, 1.0
    after1 = {2: 2 / (np.sqrt(n1 * to2) + 1), 3: 1 / (np.sqrt(n1 * to3) + 1)}
    after0 = {2: 0.5 / (np.sqrt(n0 * to2) + 1), 3: 0.5 / (np.sqrt(n0 * to3) + 1)}
    assert found[2] == pytest.approx(after1[2] + 0.5 * after0[2], rel=1e-5)
    assert found[3] == pytest.approx(after1[3] + 0.5 * after0[3], rel=1e-5)
    assert not found[[0, 1, 4, 5]].any()


def test_a_part_that_knows_is_believed_and_one_that_guesses_is_not():
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 10, (400, 3))
    right = (seen[:, :1] + 1) % 10
    made = Choices(seen, right, 10, True)

    class Knows:
        def scores(self, seen):
            return np.eye(10, dtype=np.float32)[(seen[:, 0] + 1) % 10]

    class Guesses:
        def scores(self, seen):
            return np.random.default_rng(int(seen.sum())).normal(size=(len(seen), 10))

    weights = weighed([*popular(made), Knows(), Guesses()], made)
    assert weights[2] > 4
    assert weights[3] < 0.4
    parts = [*popular(made), Knows(), Guesses()]
    believed = losses(scored(parts, weights, seen), right[:, None]).mean()
    assert (
        believed
        < 0.5 * losses(scored(parts, np.array([1.0, 0, 1, 1]), seen), right[:, None]).mean()
    )


def school(**more) -> Schooling:
    return Schooling(
        **{"width": 3, "epochs": 3, "rate": 0.05, "own_decay": 0.1, "most": 2, "seed": 0} | more
    )


def test_the_loss_of_the_towers_is_the_equation_and_its_gradient_that_of_differences():
    texts = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    made = rows([[1, 0], [2, -1], [4, 3]], [[2, -1], [3, -1], [0, 5]])
    held = np.array([True, True, True, True, True, False])
    torch.manual_seed(0)
    model = Towers(texts, school(), held, made.counts()).double()
    model.texts = model.texts.double()

    def loss():
        right = torch.from_numpy(made.right)
        return model.loss(torch.from_numpy(made.seen), right, torch.arange(6), repeats=False)

    given, wanted = model.given().detach().numpy(), model.wanted().detach().numpy()
    place = model.places().detach().numpy()
    found = []
    for history, right in zip(made.seen, made.right, strict=True):
        weight = [place[p] for p, item in enumerate(history) if item >= 0]
        user = sum(w * given[i] for w, i in zip(weight, history, strict=False)) / sum(weight)
        open_to = [i for i in range(6) if i not in history and made.counts()[i] > 0]
        z = {i: wanted[i] @ user + np.log1p(made.counts()[i]) for i in open_to}
        total = np.log(sum(np.exp(v) for v in z.values()))
        found.append(total - np.log(sum(np.exp(z[i]) for i in right if i >= 0)))
    assert loss().item() == pytest.approx(np.mean(found), abs=1e-6)

    for parameter in (model.given_text, model.wanted_own, model.place):

        def value(x, parameter=parameter):
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(x.reshape(parameter.shape)))
                return loss().item()

        def slope(x, parameter=parameter):
            model.zero_grad()
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(x.reshape(parameter.shape)))
            loss().backward()
            return parameter.grad.numpy().ravel().copy()

        assert check_grad(value, slope, parameter.detach().numpy().ravel().copy()) < 1e-5


def test_an_item_that_no_row_holds_is_told_by_its_text_alone():
    """Items 0 to 3 come in two kinds of text, 4 and 5 are never chosen and are of the two kinds."""
    kind = np.array([0, 0, 1, 1, 0, 1])
    texts = np.eye(2, dtype=np.float32)[kind]
    made = rows([[0, -1], [1, -1], [2, -1], [3, -1]] * 30, [[1], [0], [3], [2]] * 30)
    found = towers(made, texts, school(epochs=15))
    assert isinstance(found, Compared)
    scores = found.scores(np.array([[0, 1], [2, 3]]))
    assert scores[0, 4] > scores[0, 5]
    assert scores[1, 5] > scores[1, 4]
    again = towers(made, texts, school(epochs=15))
    assert np.array_equal(found.vectors.wanted, again.vectors.wanted)
