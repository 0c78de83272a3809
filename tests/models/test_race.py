"""The race: who drops out, who is never asked again, and whether the intervals are honest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.errors import SettingError
from sartor.models.ranking.race import Entrant, draw_halves, fair_order, race, score


class Source:
    """Activations of growing prefixes; remembers how many rows it was asked for."""

    def __init__(self, signal: float, labels: np.ndarray, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.values = draw.normal(size=(len(labels), 10)).astype(np.float32)
        self.values[:, 0] += signal * labels
        self.asked: list[int] = []

    def __call__(self, rows: int) -> np.ndarray:
        self.asked.append(rows)
        return self.values[:rows]


def labels_of(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, count)


def test_who_is_clearly_behind_drops_out_and_is_not_encoded_further():
    labels = labels_of(400)
    good, equal, bad = Source(3, labels, 1), Source(2.9, labels, 2), Source(0, labels, 3)
    found = race(
        [Entrant("bad", bad), Entrant("good", good), Entrant("equal", equal)],
        labels,
        [64, 128, 256],
        halves=20,
    )
    assert {s.name for s in found[:2]} == {"good", "equal"}
    assert found[2].name == "bad"
    assert found[2].dropped
    assert bad.asked == [64]
    assert good.asked == [64, 128, 256]
    assert [s.rows for s in found] == [256, 256, 64]
    assert found[0].behind.low == found[0].behind.high == 0
    assert found[2].behind.high < 0


def test_a_race_that_is_decided_ends():
    labels = labels_of(400)
    good, bad = Source(4, labels, 1), Source(0, labels, 2)
    race([Entrant("good", good), Entrant("bad", bad)], labels, [64, 128, 256], halves=10)
    assert good.asked == [64]


def test_a_control_is_never_the_best_and_may_lie_above_it():
    labels = labels_of(200)
    entrants = [Entrant("real", Source(0, labels, 1)), Entrant("twin", Source(3, labels, 2), True)]
    found = {s.name: s for s in race(entrants, labels, [100], halves=20)}
    assert found["twin"].behind.low > 0
    assert not found["twin"].dropped
    assert found["real"].behind.value == 0
    with pytest.raises(SettingError, match="no backbone"):
        race(entrants[1:], labels, [100])


def test_the_same_rows_give_the_same_standings():
    labels = labels_of(150)
    entrants = [Entrant(str(s), Source(s, labels, 1)) for s in (0.5, 1.0)]
    first = race(entrants, labels, [64, 500], halves=8)
    again = race(entrants[::-1], labels, [64, 500], halves=8)
    shown = [(s.name, s.rows, s.logme, s.behind, s.knn) for s in first]
    assert shown == [(s.name, s.rows, s.logme, s.behind, s.knn) for s in again]
    assert first[0].rows == 150, "sizes beyond the rows end at all of them"


def test_the_interval_is_as_wide_as_the_score_varies_from_sample_to_sample():
    """Fresh samples of one population: half-sample deviations against the true one."""
    values, guessed = [], []
    for seed in range(60):
        labels = np.random.default_rng(seed).integers(0, 2, 120)
        features = Source(1.5, labels, 1000 + seed).values
        found = score(features, labels, draw_halves(labels, 30, np.random.default_rng(seed)))
        values.append(found.of_all[0])
        guessed.append((found.figures()[0].high - found.figures()[0].low) / (2 * 1.96))
    assert 0.7 < np.mean(guessed) / np.std(values, ddof=1) < 1.5


@given(st.lists(st.integers(0, 4), min_size=10, max_size=200), st.integers(0, 9))
def test_every_prefix_has_the_classes_in_about_their_proportions(found: list[int], seed: int):
    labels = np.array(found)
    order = fair_order(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    classes = np.unique(labels)
    assert set(labels[order][: len(classes)]) == set(classes)
    for size in (len(labels) // 3, len(labels) // 2):
        for label in classes:
            expected = size * np.mean(labels == label)
            # Each class is at most one ahead of its share, and all of them may be so at once.
            assert abs((labels[order][:size] == label).sum() - expected) <= len(classes)


@given(st.lists(st.integers(0, 5), min_size=4, max_size=60), st.integers(0, 9))
def test_a_half_repeats_no_row_and_loses_no_class(found: list[int], seed: int):
    labels = np.array(found)
    for half in draw_halves(labels, 3, np.random.default_rng(seed)):
        assert len(set(half)) == len(half)
        assert set(labels[half]) == set(labels)
        assert abs(len(half) - len(labels) / 2) <= len(set(found))
