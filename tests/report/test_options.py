"""Which options none beats on score, size and latency at once."""

from hypothesis import given
from hypothesis import strategies as st

from sartor.report.options import Option, front

numbers = st.none() | st.integers(0, 4).map(float)
many = st.lists(st.tuples(numbers, numbers, numbers), max_size=8).map(
    lambda rows: [Option(n, "o", "artefact", s, False, m, t) for n, (s, m, t) in enumerate(rows)]
)


@given(many)
def test_whatever_is_left_out_is_beaten_by_what_stays_and_what_stays_by_nothing(
    options: list[Option],
):
    kept = front(options)
    known = [o for o in options if o.score is not None and o.size_mb is not None]
    assert bool(kept) == bool(known)

    def as_good(one: Option, other: Option) -> bool:
        late = float("inf")
        assert one.score is not None
        assert other.score is not None
        assert one.size_mb is not None
        assert other.size_mb is not None
        one_ms = late if one.latency_ms is None else one.latency_ms
        other_ms = late if other.latency_ms is None else other.latency_ms
        return one.score >= other.score and one.size_mb <= other.size_mb and one_ms <= other_ms

    for option in known:
        if option not in kept:
            assert any(as_good(other, option) for other in kept)
    for one in kept:
        for other in kept:
            assert not as_good(one, other) or as_good(other, one)


def test_where_less_is_better_the_lowest_score_stays():
    options = [
        Option(1, "small", "artefact", 0.9, False, 1.0, 1.0),
        Option(2, "worse", "artefact", 1.2, False, 2.0, 2.0),
        Option(3, "best", "artefact", 0.4, False, 3.0, 3.0),
    ]
    assert [o.number for o in front(options, less=True)] == [1, 3]
    assert [o.number for o in front(options)] == [1, 2]


def test_the_smallest_comes_first():
    options = [
        Option(1, "large", "artefact", 0.9, False, 80.0, None),
        Option(2, "small", "artefact", 0.8, False, 20.0, None),
        Option(3, "worse", "artefact", 0.7, False, 30.0, None),
        Option(4, "unmeasured", "candidate", 0.99, False, None, None),
    ]
    assert [o.number for o in front(options)] == [2, 1]
