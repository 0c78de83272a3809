"""Rows with several labels are split so that each label keeps its share."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.data.split import Rows, split
from sartor.data.stratify import draw_part

SHARES = {"common": 0.5, "usual": 0.25, "rare": 0.06, "rarest": 0.03}


def rows_of(count, seed=0):
    rng = np.random.default_rng(seed)
    labels = [tuple(n for n, p in SHARES.items() if rng.random() < p) for _ in range(count)]
    return Rows(ids=[f"{seed}-{i}" for i in range(count)], labels=labels)


def counted(rows, members):
    return Counter(name for i in members for name in rows.labels[i])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000))
def test_every_label_keeps_its_share(seed):
    rows = rows_of(400, seed)
    found = split(rows, test_rows=80, validation_rows=60, seed=seed)
    total = counted(rows, range(400))
    assert abs(len(found.test) - 80) <= 8
    for part, share in ((found.test, 0.2), (found.validation, 0.15)):
        here = counted(rows, part)
        for name, n in total.items():
            assert abs(here[name] - share * n) <= max(3.0, 0.08 * n), (name, here, total)


def test_rare_labels_lie_nearer_to_their_share_than_in_a_plain_draw():
    missed = {"stratified": 0.0, "plain": 0.0}
    for seed in range(20):
        rows = rows_of(300, seed)
        total = counted(rows, range(300))
        drawn = np.random.default_rng(seed).permutation(300)[:60]
        found = split(rows, test_rows=60, validation_rows=1, seed=seed).test
        for name in ("rare", "rarest"):
            wanted = 0.2 * total[name]
            missed["stratified"] += abs(counted(rows, found)[name] - wanted)
            missed["plain"] += abs(counted(rows, drawn)[name] - wanted)
    assert missed["stratified"] < missed["plain"] / 2


def test_a_split_does_not_depend_on_the_order_of_the_rows():
    rows = rows_of(200)
    back = Rows(ids=rows.ids[::-1], labels=rows.labels[::-1])
    one = split(rows, test_rows=40, validation_rows=30, seed=3)
    two = split(back, test_rows=40, validation_rows=30, seed=3)
    assert one.assignments == two.assignments


def test_rows_without_labels_are_dealt_out_too():
    counts = {i: Counter({"a": 1} if i % 2 else {}) for i in range(100)}
    found = draw_part(counts, dict.fromkeys(range(100), 1), range(100), 0.3)
    assert len(found) == 30
    assert sum(i % 2 for i in found) == 15


def test_a_unit_stays_whole():
    counts = {0: Counter({"a": 6}), 1: Counter({"a": 1}), 2: Counter({"a": 1, "b": 2})}
    found = draw_part(counts, {0: 6, 1: 1, 2: 2}, [0, 1, 2], 0.5)
    assert set(found) <= {0, 1, 2}
    assert len(set(found)) == len(found)
