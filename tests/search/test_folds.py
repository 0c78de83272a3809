"""Few rows: every training row is answered by a fit that saw neither it nor its like."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.events import silent
from sartor.core.types import Candidate, Examples
from sartor.search.assess import Held
from sartor.search.folds import FEW, FOLDS, both, deal, few
from sartor.search.ladder import Parts, Scored, Tried
from sartor.search.product import Workshop
from sartor.tasks.text_classification.spec import TextClassification
from tests.judge.rows import criteria

WORDS = [f"word{n}" for n in range(13)]


def rows(labels, *, texts=None, groups=None) -> Examples:
    count = len(labels)
    draw = np.random.default_rng(0)
    texts = texts or [" ".join(draw.choice(WORDS, 9)) for _ in range(count)]
    names = tuple(f"row {n}" for n in range(count))
    extra = {"customer": tuple(groups)} if groups else {}
    return Examples(names, {"text": tuple(texts)}, tuple(labels), extra)


ONE = Candidate("tiny", "0" * 64, "head", {}, 0)
VALIDATION = rows(["a", "b"] * 6)


@given(st.lists(st.sampled_from("abc"), min_size=20, max_size=80))
def test_labels_are_spread_evenly_and_every_row_is_held_out_once(labels):
    found = deal(rows(labels))
    if found is None:
        assert len(set(labels)) == 1 or min(Counter(labels).values()) == 1
        return
    assert len(found.fold) == len(labels)
    for label in set(labels):
        counts = [np.sum(found.fold[np.array(labels) == label] == n) for n in range(FOLDS)]
        assert max(counts) - min(counts) <= 2


def test_near_duplicates_and_groups_are_held_out_together():
    texts = [" ".join(np.random.default_rng(n).choice(WORDS, 12)) for n in range(40)]
    texts[7] = texts[3] + "!"
    groups = [f"customer {n % 13}" if n < 26 else "" for n in range(40)]
    found = deal(rows(["a", "b"] * 20, texts=texts, groups=groups), "customer")
    assert found is not None
    for name in set(groups) - {""}:
        of = [n for n in range(40) if groups[n] == name]
        assert len(set(found.fold[of].tolist())) == 1
    assert found.fold[3] == found.fold[7], "and so customers 3 and 7 are one"
    assert found.fold[16] == found.fold[20]
    assert len(set(found.fold.tolist())) == FOLDS


def test_a_row_is_answered_only_by_fits_that_did_not_see_it():
    train = rows(["a", "b", "c"] * 9)
    found = deal(train)
    assert found is not None
    seen = []

    def fit(learnt, held):
        assert not set(learnt.ids) & set(held.ids)
        assert len(learnt) + len(held) == len(train)
        seen.extend(held.ids)
        number = [[float(name.split()[1])] for name in held.ids]
        return [np.array(number, np.float32), -np.array(number, np.float32)]

    one, other = found.logits(fit)
    assert sorted(seen) == sorted(train.ids)
    assert one[:, 0].tolist() == list(range(27)), "in the order of the training rows"
    assert other[:, 0].tolist() == [-n for n in range(27)]


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (rows(["a", "b"] * 20), rows(["a", "b"] * (FEW // 2))),
        (rows(["a", "b"] * 501), VALIDATION),
    ],
    ids=["enough validation rows", "too many rows"],
)
def test_folds_choose_only_where_rows_are_few(train, validation):
    assert few(rows(["a", "b"] * 20), VALIDATION)
    assert not few(train, validation)


@pytest.mark.parametrize(
    ("train", "group"),
    [
        (rows(["a"] * 39 + ["b"]), ""),
        (rows(["a", "b"] * 20, groups=["one"] * 40), "customer"),
    ],
    ids=["one row of a label", "one group"],
)
def test_where_folds_would_not_hold_there_are_none(train, group):
    assert deal(train, group) is None


def test_a_candidate_with_folds_is_judged_on_all_rows_and_its_rule_stays():
    train, validation = rows(["a", "b"] * 30), rows(["a", "b"] * 5)
    folds = deal(train)
    assert folds is not None
    held = Held(
        TextClassification(), ("a", "b"), validation, tuple(criteria("accuracy >= 0.7")), 100,
        folds=folds,
    )  # fmt: skip

    def logits(examples, right):
        signs = np.where(np.array(examples.target) == "b", 1.0, -1.0)
        signs[right:] *= -1
        return np.stack([-signs, signs], 1).astype(np.float32)

    lucky = logits(validation, 10)
    alone = Tried("head", ONE, "tried", scored=Scored(lucky, lucky, 0.0))
    folded = replace(alone, scored=Scored(lucky, lucky, 0.0, folds=logits(train, 45)))
    alone, folded = (
        replace(tried, assessment=held.assess(ONE, tried.scored))
        for tried in (alone, folded)
        if tried.scored is not None
    )
    assert alone.assessment is not None
    assert folded.assessment is not None
    assert list(alone.assessment.scores.values()) == [1.0]
    assert list(folded.assessment.scores.values()) == [pytest.approx(55 / 70)]
    assert folded.assessment.chance < alone.assessment.chance
    assert held.after(folded).settle(lucky) == folded.assessment.decision
    assert held.after(folded).settle(lucky, trained=True) == folded.assessment.decision
    assert held.settle(lucky) != folded.assessment.decision, "the test would be vacuous"
    assert held.after(alone) is held


def test_rows_of_two_sets_keep_their_columns():
    one, other = rows(["a"], groups=["x"]), rows(["b", "c"], groups=["y", "z"])
    found = both(one, other)
    assert found.target == ("a", "b", "c")
    assert found.extra == {"customer": ("x", "y", "z")}
    assert len(found) == len(found.inputs["text"]) == 3


def workshop(*, few: bool) -> Workshop:
    tuner: Any = SimpleNamespace(options=SimpleNamespace(task="text_classification"))
    both_sides: Any = SimpleNamespace(train=rows(["a", "b"] * 10), validation=VALIDATION)
    return Workshop(tuner, both_sides, lambda stage, key, build: Path(), silent, few=few)


def tried(method: str, **settings: object) -> Tried:
    return Tried(method, Candidate("tiny", "0" * 64, method, settings, 0), "tried")


def joined(kind: str, *members: Tried) -> Tried:
    parts = Parts(kind, tuple((0.5, member) for member in members))
    return replace(members[0], parts=parts)


def test_what_ships_is_fitted_on_all_rows_where_they_are_few():
    few, many = workshop(few=True), workshop(few=False)
    head, deep = tried("head", C=0.1), tried("head", hidden=32)
    assert few.on_all(head)
    assert not many.on_all(head)
    assert not few.on_all(deep), "the held-out rows tell it when to stop"
    assert not few.on_all(tried("lora"))
    assert few.on_all(tried("lora", kept="last")), "then they tell it nothing"
    assert few.on_all(tried("contrastive"))
    assert few.on_all(joined("ensemble", deep, head))
    assert not few.on_all(joined("ensemble", deep, deep))
    assert [len(side) for side in few._rows(head)] == [32, 12]
    assert [len(side) for side in many._rows(head)] == [20, 12]
