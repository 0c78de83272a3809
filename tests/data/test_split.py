"""The split: disjoint, stratified, whole units, the same whatever the order, and it persists."""

from collections import Counter, defaultdict

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sartor.core.errors import DataError
from sartor.core.types import Examples
from sartor.data.split import Rows, split
from tests.data.leaks import leaks


def plain(n, labels="ab"):
    return Rows([f"id{i}" for i in range(n)], [labels[i % len(labels)] for i in range(n)])


def by_id(rows, result):
    sides = {"train": result.train, "validation": result.validation, "test": result.test}
    return {rows.ids[i]: side for side, members in sides.items() for i in members}


def shuffled(rows, order):
    def pick(column):
        # What is said of all rows, such as how they are near, has no order.
        return [column[i] for i in order] if isinstance(column, list) else column

    return Rows(*(pick(getattr(rows, name)) for name in Rows.__slots__))


@st.composite
def tables(draw):
    n = draw(st.integers(12, 60))
    ids = [f"row{i}" for i in range(n)]
    labels = draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n))
    groups = draw(
        st.none() | st.lists(st.sampled_from(["", *"pqrstuvw"]) | st.none(), min_size=n, max_size=n)
    )
    near = draw(st.none() | st.lists(st.integers(0, n), min_size=n, max_size=n))
    times = draw(st.none() | st.lists(st.integers(0, 20).map(float), min_size=n, max_size=n))
    fixed = draw(
        st.none()
        | st.lists(st.sampled_from([None, None, None, "train", "test"]), min_size=n, max_size=n)
    )
    return Rows(ids, labels, groups, times, near, fixed)


def attempt(rows, **settings):
    """The split, or no example at all where such a table cannot be split."""
    try:
        return split(rows, **{"test_rows": 4, "validation_rows": 3, "seed": 0, **settings})
    except DataError:
        assume(False)
        raise


def assert_sound(rows, result):
    everywhere = [*result.train, *result.validation, *result.test, *(i for i, _ in result.dropped)]
    assert sorted(everywhere) == list(range(len(rows.ids))), "every row on one side, or listed"
    sides = by_id(rows, result)
    for ties in (rows.near, rows.groups):
        met = defaultdict(set)
        for i, tie in enumerate(ties or ()):
            if rows.ids[i] in sides and tie not in (None, ""):
                met[tie].add(sides[rows.ids[i]])
        assert all(len(found) == 1 for found in met.values()), "ties never lie across"
    learnt = {rows.labels[i] for i in result.train}
    assert {rows.labels[i] for i in result.test} <= learnt


@settings(max_examples=200, deadline=None)
@given(tables())
def test_sides_are_disjoint_whole_and_without_ties_across(rows):
    assert_sound(rows, attempt(rows))


@settings(max_examples=100, deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows, random):
    order = list(range(len(rows.ids)))
    random.shuffle(order)
    other = shuffled(rows, order)
    assert by_id(rows, attempt(rows)) == by_id(other, attempt(other))


@settings(max_examples=100, deadline=None)
@given(tables(), st.integers(1, 20))
def test_added_rows_leave_a_test_row_a_test_row(rows, extra):
    first = attempt(rows)
    n = len(rows.ids)
    more = Rows(
        [*rows.ids, *(f"new{i}" for i in range(extra))],
        [*rows.labels, *("abc"[i % 3] for i in range(extra))],
        [*rows.groups, *("pqrs"[i % 4] for i in range(extra))] if rows.groups else None,
        [*rows.times, *(float(i) for i in range(extra))] if rows.times else None,
        [*rows.near, *(i % n for i in range(extra))] if rows.near else None,
        [*rows.fixed, *([None] * extra)] if rows.fixed else None,
    )
    second = attempt(more, known=first.assignments, test_rows=6)
    assert_sound(more, second)
    now = by_id(more, second)
    assert all(now[rows.ids[i]] == "test" for i in first.test)
    learnt = {rows.ids[i] for i in first.train}
    assert all(now[name] == "train" for name in learnt if name in now)


def test_the_seed_draws_another_split_and_the_same_one_again():
    rows = plain(100)
    draws = [split(rows, test_rows=20, validation_rows=20, seed=s).test for s in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_labels_keep_their_shares():
    rows = Rows([str(i) for i in range(1000)], ["rare"] * 50 + ["common"] * 950)
    result = split(rows, test_rows=200, validation_rows=100, seed=0)
    assert Counter(rows.labels[i] for i in result.test) == {"common": 190, "rare": 10}
    assert Counter(rows.labels[i] for i in result.validation) == {"common": 95, "rare": 5}


def test_a_label_of_two_rows_is_always_learnt():
    rows = Rows([str(i) for i in range(40)], ["rare"] * 2 + ["common"] * 38)
    for seed in range(20):
        result = split(rows, test_rows=20, validation_rows=10, seed=seed)
        assert "rare" in {rows.labels[i] for i in result.train}


def test_a_new_row_near_a_test_row_is_dropped_and_listed():
    rows = plain(40)
    first = split(rows, test_rows=8, validation_rows=8, seed=0)
    facing = first.test[0]
    more = Rows([*rows.ids, "new"], [*rows.labels, "a"], near=[*range(40), facing])
    second = split(more, test_rows=8, validation_rows=8, seed=0, known=first.assignments)
    assert second.dropped == ((40, "nearly duplicates a test row"),)
    assert second.test == first.test
    assert "new" not in second.assignments


def test_a_new_row_between_a_training_and_a_test_row_goes_alone():
    rows = plain(40)
    first = split(rows, test_rows=8, validation_rows=8, seed=0)
    clusters = list(range(40))
    clusters[first.train[0]] = clusters[first.test[0]]
    more = Rows([*rows.ids, "bridge"], [*rows.labels, "a"], near=[*clusters, first.test[0]])
    second = split(more, test_rows=8, validation_rows=8, seed=0, known=first.assignments)
    assert [i for i, _ in second.dropped] == [40]
    assert second.train == first.train


def test_official_test_rows_are_the_test_set():
    fixed = ["test" if i < 10 else None for i in range(60)]
    rows = Rows(plain(60).ids, plain(60).labels, fixed=fixed)
    result = split(rows, test_rows=30, validation_rows=10, seed=0)
    assert result.test == tuple(range(10))
    assert len(result.validation) == 10


def test_training_only_rows_are_never_drawn():
    fixed = ["train" if i % 2 else None for i in range(80)]
    rows = Rows(plain(80, "aabb").ids, plain(80, "aabb").labels, fixed=fixed)
    result = split(rows, test_rows=15, validation_rows=15, seed=0)
    assert all(fixed[i] is None for i in (*result.test, *result.validation))


def test_an_earlier_test_set_is_not_learnt_when_an_official_one_comes():
    rows = plain(60)
    first = split(rows, test_rows=10, validation_rows=10, seed=0)
    free = next(i for i in first.train)
    fixed = ["test" if i in (free, free + 1) and i not in first.test else None for i in range(60)]
    second = split(
        Rows(rows.ids, rows.labels, fixed=fixed),
        test_rows=10,
        validation_rows=10,
        seed=0,
        known=first.assignments,
    )
    assert {i for i, _ in second.dropped} == set(first.test)
    assert "test row of an earlier run" in second.dropped[0][1]


def test_time_tests_the_latest_rows():
    rows = Rows(plain(50).ids, plain(50).labels, times=[float(i * 7 % 50) for i in range(50)])
    result = split(rows, test_rows=10, validation_rows=5, seed=0)

    def span(side):
        return {rows.times[i] for i in side}

    assert min(span(result.test)) > max(span(result.validation))
    assert min(span(result.validation)) > max(span(result.train))
    assert len(result.test) == 10


def test_later_rows_join_a_test_set_over_time():
    rows = Rows(plain(50).ids, plain(50).labels, times=[float(i) for i in range(50)])
    first = split(rows, test_rows=10, validation_rows=5, seed=0)
    more = Rows([*rows.ids, "late"], [*rows.labels, "a"], times=[*rows.times, 99.0])
    second = split(more, test_rows=10, validation_rows=5, seed=0, known=first.assignments)
    assert second.test == (*first.test, 50)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (Rows(["a", "b", "c"], ["x", "y", "x"], near=[0, 0, 0]), "No row is left for test"),
        (Rows(list("abcdef"), list("xyxyxy"), fixed=["test"] * 6), "No row is left for train"),
        (
            Rows(list("abcd"), list("xyxy"), near=[0] * 4, fixed=["test", None, None, None]),
            "3 of them are dropped, 3 since each nearly duplicates a test row",
        ),
        (Rows(list("abcd"), list("xxxy"), times=[1.0, 2.0, 3.0, 4.0]), "'y' occurs only in"),
    ],
)
def test_what_cannot_be_split_is_refused(rows, message):
    with pytest.raises(DataError, match=message):
        split(rows, test_rows=1, validation_rows=1, seed=0)


def examples(texts, ids, users):
    return Examples(tuple(ids), {"text": tuple(texts)}, extra={"user": tuple(users)})


def test_leaks_are_found_by_kind():
    test = examples(
        ["the service was slow and the food was cold", "质量很好，物流也很快，非常满意"],
        ["t1", "t2"],
        ["ann", "bob"],
    )
    train = examples(
        [
            "质量很好，物流也很快，非常满意",
            "The service was slow and the food was cold!",
            "nothing in common with any of it",
            "fresh words by a known user",
        ],
        ["t2", "x", "y", "z"],
        ["cat", "dan", None, "ann"],
    )
    found = leaks(train, test, group="user")
    assert {(leak.kind, leak.train, leak.test) for leak in found} == {
        ("exact", 0, 1),
        ("near", 1, 0),
        ("group", 3, 0),
    }
    assert not leaks(train.take([2]), test, group="user")
