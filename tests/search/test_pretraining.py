"""Whether pretraining helped: paired, by row or group, with its doubt."""

import numpy as np
import pytest

from sartor.core.types import Backbone, Examples
from sartor.search.pretraining import Rows, compare, grid
from sartor.tune.api import METHODS

COUNT = 400
TRUTH = np.arange(COUNT) % 2


def rows(groups: list[str] | None = None) -> Rows:
    texts = tuple(map(str, range(COUNT)))
    labels = tuple(("no", "yes")[t] for t in TRUTH)
    return Rows(Examples(texts, {"text": texts}, labels), TRUTH, groups)


def heads(skill: float, seed: int = 0, count: int = 1) -> list[np.ndarray]:
    """Logits that know the answer a little; equal seeds err on the same rows."""
    draw = np.random.default_rng(seed)
    margins = (2 * TRUTH - 1) * skill + draw.normal(0, 1, (count, COUNT))
    return [np.stack([-m, m], axis=1).astype(np.float32) for m in margins]


@pytest.mark.parametrize(("before", "after", "shown"), [(0.5, 0.9, True), (0.9, 0.5, False)])
def test_what_helps_is_shown_and_what_harms_is_not(before: float, after: float, shown: bool):
    found = compare(heads(before), heads(after), rows())
    assert found.shown is shown
    assert found.low < found.log_loss < found.high
    assert (found.accuracy[1] > found.accuracy[0]) is shown
    assert found.n == COUNT


def test_what_changes_nothing_is_not_shown_to_help():
    same = compare(heads(0.7), heads(0.7), rows())
    assert (same.log_loss, same.shown) == (0.0, False)
    taken = sum(compare(heads(0.7, i), heads(0.7, i + 100), rows()).shown for i in range(40))
    assert taken <= 4, "2.5 % would be taken by chance"


def test_a_gain_that_is_certain_and_tiny_is_not_worth_another_backbone():
    found = compare(heads(0.7), heads(0.705), rows())
    assert 0 < found.log_loss < 0.005
    assert not found.shown


def test_the_same_errors_are_told_apart_more_finely_than_other_ones():
    paired = compare(heads(0.7), heads(0.8), rows())
    apart = compare(heads(0.7), heads(0.8, seed=1), rows())
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)


def test_rows_of_one_group_count_as_one():
    alone = compare(heads(0.6), heads(0.8, seed=1), rows())
    # Ten groups, and the rows of one are alike: ten observations, not four hundred.
    groups = [str(i // 40) for i in range(COUNT)]

    def alike(found: list[np.ndarray]) -> list[np.ndarray]:
        sign = 2 * TRUTH - 1
        return [np.repeat(h[::40], 40, axis=0) * sign[:, None] * sign[0] for h in found]

    grouped = compare(alike(heads(0.6)), alike(heads(0.8, seed=1)), rows(groups))
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_the_best_head_of_each_side_is_compared():
    weak, strong = heads(0.1, 5), heads(0.9)
    found = compare([*weak, *strong], [*strong, *weak], rows())
    assert found.log_loss == 0


def test_heads_that_read_a_layer_the_backbone_lacks_are_left_out():
    def backbone(layers: int) -> Backbone:
        return Backbone("b", "folder", "", "0", "MIT", ("en",), 1_000, layers, 64)

    settings = METHODS.get("head").portfolio()  # type: ignore[attr-defined]
    assert len(grid(backbone(6), 0)) == len(settings)
    assert 0 < len(grid(backbone(1), 0)) < len(settings)
