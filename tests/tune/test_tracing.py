"""Methods that trace learners: each against what is known to be right, and the least against which
nothing is less."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from sartor.core.columns import Column, TableCode
from sartor.core.events import silent
from sartor.core.likelihood import losses
from sartor.core.texts import Cells
from sartor.core.types import Examples
from sartor.search.suiting import unfit
from sartor.tasks.mastery.spec import Mastery
from sartor.testing.documented import undocumented
from sartor.tune.api import METHODS
from sartor.tune.fit import Tuner
from sartor.tune.inputs import Traces
from sartor.tune.settings import read_settings
from tests.tiny import WORDS
from tests.tune.solved import candidate, tuner_of

NAMES = [name for name in METHODS.names() if isinstance(METHODS.get(name), Traces)]
ITEMS = [f"i{n:02}" for n in range(24)]
SKILL = [f"s{n % 3}" for n in range(24)]
HARD = np.arange(24) // 3 % 2
"""Every other item of a skill is hard; its text says so."""
SAID = {name: f"{WORDS[0] if HARD[n] else WORDS[5]} {name}" for n, name in enumerate(ITEMS)}
CODE = TableCode(columns={"history": Column(kind="answers", values=ITEMS, skills=SKILL)})


def answers(learners: int, seed: int, items=range(20)) -> Examples:
    """Learners differ, the able are mostly asked what is hard, and nobody is asked the last four
    items unless told to."""
    rng = np.random.default_rng(seed)
    cells, targets = [], []
    for _ in range(learners):
        able = rng.normal(0, 1.5) + rng.normal(0, 0.7, 3)
        history: list[list] = []
        for _ in range(12):
            level = (able.mean() > 0) == (rng.random() < 0.8)
            at = int(rng.choice([n for n in items if HARD[n] == level]))
            right = int(rng.random() < expit(1.5 + able[at % 3] - 2.5 * HARD[at]))
            cells.append(Cells.of({"history": [*history], "item": [ITEMS[at]], "skill": SKILL[at]}))
            targets.append(("wrong", "right")[right])
            history.append([ITEMS[at], right])
    ids = tuple(f"{seed}-{i}" for i in range(len(cells)))
    return Examples(ids, {"columns": tuple(cells)}, tuple(targets))


TRAIN, HELD = answers(120, 1), answers(40, 2)
NEW = answers(40, 3, items=range(20, 24))
TASK = Mastery()


@pytest.fixture(scope="module")
def tuner(tmp_path_factory: pytest.TempPathFactory) -> Tuner:
    work = tmp_path_factory.mktemp("work")
    return tuner_of(work, "mastery", ITEMS, code=CODE, descriptions=SAID)


def lost(logits, rows: Examples) -> float:
    return float(losses(logits, TASK.truth(rows, ITEMS)).mean())


def item_share(rows: Examples) -> np.ndarray:
    """(items,) log odds of each, smoothed; of an item without answers those of all."""
    place, right = TASK.truth(TRAIN, ITEMS).T.astype(int)
    seen, hits = np.bincount(place, minlength=24), np.bincount(place, right, 24)
    share = np.where(seen > 0, (hits + 1) / (seen + 2), right.mean())
    return np.tile(np.log(share / (1 - share)), (len(rows), 1))


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_documented_and_the_portfolio_is_valid(name):
    method = METHODS.get(name)
    assert not undocumented(method)
    assert method.portfolio()
    for settings in method.portfolio():
        read = read_settings(settings, task="mastery", method=name)
        assert set(method.space()) <= {*read.method.__slots__}
    assert unfit(name, "mastery") == ""
    assert "reads histories of answers" in unfit(name, "recommendation")
    assert "reads histories of items" in unfit("popular", "mastery")
    alone = METHODS.get(name).items == "alone"
    assert (unfit(name, "mastery", text=False) == "") is alone


@pytest.mark.parametrize("name", NAMES)
def test_a_history_tells_more_than_the_item_alone(name, tuner, tmp_path: Path):
    fitted = tuner(candidate(name), TRAIN, HELD, silent)
    assert lost(fitted.validation_logits, HELD) < lost(item_share(HELD), HELD) - 0.005
    (again,) = tuner.heads([candidate(name)], TRAIN, HELD)
    assert again.validation_logits == pytest.approx(fitted.validation_logits, abs=1e-5)


def test_what_is_hard_to_answer_says_more_and_texts_know_new_items(tuner):
    def logits(name: str, rows: Examples):
        return tuner.heads([candidate(name)], TRAIN, rows)[0].validation_logits

    counted = lost(logits("item_logistic", HELD), HELD)
    assert lost(logits("item_response", HELD), HELD) < counted - 0.01
    assert lost(logits("explanatory_response", HELD), HELD) < counted - 0.01
    unread = lost(logits("item_response", NEW), NEW)
    assert lost(logits("explanatory_response", NEW), NEW) < unread - 0.02
