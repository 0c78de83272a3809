"""Coverage and novelty are what a count by hand gives."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import NeedError
from sartor.core.texts import Cells
from sartor.core.types import Examples
from sartor.judge.api import Subject
from sartor.judge.intervals import bootstrap
from sartor.judge.resolve import Rows, bind
from sartor.judge.verdicts import RowsBehind, gather
from sartor.need.grammar import parse_criterion

NAMES = tuple("abcdefgh")


def subject(ranked, histories):
    answers = [{"answer": row[0], "documents": [{"id": name} for name in row]} for row in ranked]
    cells = tuple(Cells.of({"history": list(history)}) for history in histories)
    ids = tuple(map(str, range(len(ranked))))
    examples = Examples(ids, {"columns": cells}, (("a",),) * len(ids))
    return Subject(examples, answers, NAMES, target="documents")


def statistic(text, found):
    behind = gather(parse_criterion(text), found)
    assert isinstance(behind, RowsBehind), behind
    return behind.parts[0].statistic


@st.composite
def rows(draw):
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    shown = draw(st.integers(1, len(NAMES)))
    ranked = [rng.permutation(NAMES)[:shown].tolist() for _ in range(n)]
    return ranked, [rng.choice(NAMES, rng.integers(0, 5)).tolist() for _ in range(n)]


@settings(max_examples=60, deadline=None)
@given(rows(), st.sampled_from([1, 2, 5, 10]))
def test_both_are_a_count_by_hand(made, k):
    ranked, histories = made
    found = subject(ranked, histories)
    listed = {name for row in ranked for name in row[:k]}
    assert statistic(f"coverage_at_{k} >= 0.1", found).observed == len(listed) / len(NAMES)
    bits = []
    for row in ranked:
        held = [sum(name in history for history in histories) for name in row[:k]]
        bits.append(np.mean([math.log2((len(ranked) + 1) / (count + 1)) for count in held]))
    assert statistic(f"novelty_at_{k} >= 0.1", found).observed == pytest.approx(np.mean(bits))


def test_the_interval_of_a_coverage_holds_the_value_and_reaches_down():
    ranked = [[NAMES[at % 8], NAMES[(at * 3) % 8]] for at in range(8)]
    found = statistic("coverage_at_2 >= 0.1", subject(ranked, [[]] * 8))
    low, high = bootstrap(found, 0.05, 0)
    assert low < found.observed <= high
    assert found.n == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("coverage_at_10 >= 1.5", "1.5"),
        ("coverage_at_10 == 0.5", "exactly"),
        ("novelty_at_10 >= baseline + 0.1", "baseline"),
        ("novelty_at_4 >= 1", "no metric"),
    ],
)
def test_what_can_never_be_shown_is_refused_when_planning(text, words):
    with pytest.raises(NeedError, match=words):
        bind(
            [parse_criterion(text)],
            file="need.yaml",
            outputs=NAMES,
            rows=Rows({}, True, "documents"),
        )


def test_bits_have_no_upper_end():
    (binding,) = bind(
        [parse_criterion("novelty_at_10 >= 5")],
        file="need.yaml",
        outputs=NAMES,
        rows=Rows({}, False, "documents"),
    )
    assert binding.criterion.threshold == 5
