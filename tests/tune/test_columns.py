"""Methods that read columns: closed forms that reference implementations agree with."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sartor.core.columns import TableCode
from sartor.core.errors import DataError, SettingError
from sartor.core.events import silent
from sartor.core.protocols import Floats
from sartor.core.texts import Cells, cells_of
from sartor.core.types import Candidate, Examples
from sartor.models.encode import TextEncoder
from sartor.models.precision import Precision
from sartor.serve.session import Session
from sartor.shrink.export import to_onnx
from sartor.tune.api import METHODS, ReadsColumns
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.settings import read_settings
from tests.tiny import WORDS
from tests.tune.solved import candidate, tuner_of

OUTPUTS = ["bad", "good"]
KINDS = {"amount": "number", "purpose": "category"}
NAMES = [name for name in METHODS.names() if isinstance(METHODS.get(name), ReadsColumns)]
ALONE = [name for name in NAMES if METHODS.get(name).columns == "alone"]


def cases(count: int, seed: int, *, note: bool = True) -> Examples:
    """A case is bad where the amount is large for its purpose, or its note says so."""
    draw = np.random.default_rng(seed)
    amount = draw.normal(100, 30, count).round(1)
    purpose = draw.choice(["car", "boat", "house"], count)
    word = draw.choice(["bad", "good"], count)
    notes = [f"{one} {one} {' '.join(draw.choice(WORDS, 2))}" for one in word]
    risk = (amount - 100) / 30 + (purpose == "boat") * 1.5 + 2 * (word == "bad") - 1
    target = np.where(risk + draw.normal(0, 0.5, count) > 0.5, "bad", "good")
    pairs = zip(amount.tolist(), purpose.tolist(), strict=True)
    cells = tuple(Cells.of({"amount": a, "purpose": p}) for a, p in pairs)
    inputs = {"text": tuple(notes), "columns": cells} if note else {"columns": cells}
    return Examples(tuple(f"{seed}-{i}" for i in range(count)), inputs, tuple(target.tolist()))


TRAIN, HELD = cases(200, 1), cases(80, 2)
CODE = TableCode.fit(cells_of(TRAIN.texts), KINDS)


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory) -> Tuner:
    work = tmp_path_factory.mktemp("work")
    return tuner_of(work, "tabular_text", OUTPUTS, code=CODE)


def accuracy(logits: Floats, rows: Examples) -> float:
    said = [OUTPUTS[i] for i in logits.argmax(1)]
    return float(np.mean([a == b for a, b in zip(said, rows.target, strict=True)]))


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_the_portfolio_and_the_space_is_one(name):
    method = METHODS.get(name)
    assert method.portfolio()
    for settings in method.portfolio():
        read = read_settings(settings, task="tabular_text", method=name)
        assert set(method.space()) <= {*read.method.__slots__}


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_learns_and_its_graph_gives_what_was_measured(name, tuner, tmp_path: Path):
    fitted = tuner(candidate(name), TRAIN, HELD, silent)
    assert accuracy(fitted.validation_logits, HELD) > 0.62
    (head,) = tuner.heads([candidate(name)], TRAIN, HELD)
    assert head.validation_logits == pytest.approx(fitted.validation_logits, abs=1e-4)
    to_onnx(fitted.folder, "tabular_text", tmp_path / "model.onnx")
    session = Session.open(tmp_path / "model.onnx", 1, also=("columns",))
    assert bool(session.inputs) == (name not in ALONE)
    if name in ALONE:
        none = np.zeros((len(HELD), 1), np.int64)
        (found,) = session.all(none, none, {"columns": CODE.encode(cells_of(HELD.texts))})
        assert found == pytest.approx(fitted.validation_logits, abs=1e-4)


def test_columns_alone_is_scikit_learns_logistic_regression(tuner):
    (fit,) = tuner.heads([candidate("columns", C=0.7)], TRAIN, HELD)
    reference = LogisticRegression(C=0.7, tol=1e-10, max_iter=10_000)
    reference.fit(CODE.encode(cells_of(TRAIN.texts)), TRAIN.target)
    wanted = reference.decision_function(CODE.encode(cells_of(HELD.texts)))
    odds = fit.validation_logits[:, 1] - fit.validation_logits[:, 0]
    assert odds == pytest.approx(wanted, abs=1e-3)


def test_fusion_without_faith_in_the_text_is_the_columns_alone(tuner):
    alone, silenced, fused = tuner.heads(
        [
            candidate("columns", C=1.0),
            candidate("fusion", C=1.0, text_C=1e-9),
            candidate("fusion", C=1.0, text_C=0.1),
        ],
        TRAIN,
        HELD,
    )
    assert silenced.validation_logits == pytest.approx(alone.validation_logits, abs=1e-2)
    assert accuracy(fused.validation_logits, HELD) > accuracy(alone.validation_logits, HELD)


def test_columns_need_no_text_and_no_weights(tmp_path: Path):
    from sartor.search.tabular import NOTHING

    train, held = cases(200, 1, note=False), cases(80, 2, note=False)
    source = TextEncoder(NOTHING, None, precision=Precision())
    options = TuneOptions(task="tabular_text", code=CODE)
    tuner = Tuner({"columns": NOTHING}, lambda _: source, tmp_path, OUTPUTS, options)
    for name in ALONE:
        of = Candidate(NOTHING.name, NOTHING.sha256, name, {}, 0)
        assert accuracy(tuner(of, train, held, silent).validation_logits, held) > 0.65


@pytest.mark.parametrize("name", NAMES)
def test_a_label_without_training_rows_is_unlikely_and_not_impossible(name, tuner, tmp_path):
    options = TuneOptions(task="tabular_text", max_length=64, code=CODE)
    outputs = ["bad", "good", "ugly"]
    three = Tuner(tuner.backbones, tuner.encoder_for, tmp_path, outputs, options)
    (fit,) = three.heads([candidate(name)], TRAIN, HELD)
    chance = np.exp(fit.validation_logits[:, 2])
    share = chance / np.exp(fit.validation_logits).sum(1)
    assert np.isfinite(fit.validation_logits).all()
    assert 0 < share.mean() < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_learnt_from_is_refused(name, tuner, tmp_path):
    one = TRAIN.take([i for i, label in enumerate(TRAIN.target) if label == "bad"])
    with pytest.raises(DataError, match="same label"):
        tuner.heads([candidate(name)], one, HELD)
    plain = Tuner(
        tuner.backbones, tuner.encoder_for, tmp_path, OUTPUTS, TuneOptions("tabular_text", 64)
    )
    with pytest.raises(SettingError, match="no columns"):
        plain.heads([candidate(name)], TRAIN, HELD)


def test_class_weights_move_trees_towards_the_rare_label(tuner):
    plain, balanced = tuner.heads(
        [candidate("boosting"), candidate("boosting", class_weight="balanced")], TRAIN, HELD
    )
    rare = 0 if TRAIN.target.count("bad") < TRAIN.target.count("good") else 1
    assert (balanced.validation_logits.argmax(1) == rare).sum() >= (
        plain.validation_logits.argmax(1) == rare
    ).sum()
    assert not np.array_equal(balanced.validation_logits, plain.validation_logits)
