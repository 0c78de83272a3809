"""Marks stand inside their charts, in the order of the values they show."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.need.verdict import Verdict
from sartor.report import charts
from sartor.report.charts import Mark

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(FINITE, min_size=3, max_size=3), st.sampled_from([">=", "<="]), st.floats(0, 1e5))
def test_a_strip_keeps_the_order_of_value_interval_and_threshold(numbers, comparison, threshold):
    low, value, high = sorted(numbers)
    at = charts.strip(Verdict(f"log_loss {comparison} {threshold:.6f}", value, low, high, 9, "met"))

    assert at is not None
    assert at.threshold is not None
    assert 0 <= at.low <= at.value <= at.high <= charts.STRIP_WIDTH
    assert (at.threshold <= at.value) if threshold < value - 1e-5 else True
    assert at.zone is not None
    start, width = at.zone
    assert (start == 0) == (comparison == "<=")
    assert start + width == pytest.approx(at.threshold if comparison == "<=" else 180)


def test_the_zone_holds_the_values_that_satisfy_the_criterion():
    above = charts.strip(Verdict("accuracy >= 0.8", 0.84, 0.81, 0.87, 620, "met"))
    below = charts.strip(Verdict("latency_p95_ms <= 20", 31.0, 30.0, 33.0, 6, "unmet"))

    assert above is not None
    assert above.zone is not None
    assert above.zone[0] < above.low
    assert below is not None
    assert below.zone is not None
    assert below.zone[0] + below.zone[1] < below.low


def test_a_strip_needs_a_value_but_no_threshold():
    assert charts.strip(Verdict("accuracy >= 0.8", math.nan, 0, 1, 9, "unproven")) is None
    at = charts.strip(Verdict("a criterion of the future", 0.5, 0.4, 0.6, 9, "met"))
    assert at is not None
    assert at.threshold is None
    assert at.zone is None


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1)), min_size=1, max_size=12),
    st.none() | st.floats(0, 1e5),
    st.none() | st.floats(0, 1),
)
def test_a_scatter_keeps_points_numbers_and_limits_inside(points, x_limit, y_limit):
    marks = [Mark(i, x, y, "candidate") for i, (x, y) in enumerate(points, 1)]
    chart = charts.scatter(marks, x_limit, y_limit)

    assert chart is not None
    for point in chart.points:
        assert charts.LEFT <= point.x <= charts.WIDTH - charts.RIGHT
        assert charts.TOP <= point.y <= charts.HEIGHT - charts.BOTTOM
        assert math.dist((point.x, point.y), (point.label_x, point.label_y)) < 40
    for tick in (*chart.x_ticks, *chart.y_ticks):
        assert 0 <= tick.at <= charts.WIDTH


def test_numbers_beside_crowded_points_do_not_cover_one_another():
    marks = [Mark(i, 31.0, 0.840 + i / 1000, "candidate") for i in range(1, 5)]
    chart = charts.scatter([*marks, Mark(5, 470.0, 0.6, "artefact")], None, None)

    assert chart is not None
    places = [(point.label_x, point.label_y) for point in chart.points]
    apart = [math.dist(a, b) for i, a in enumerate(places) for b in places[:i]]
    assert min(apart) >= 13


def test_without_points_or_with_one_step_there_is_no_chart():
    assert charts.scatter([], 20, None) is None
    assert charts.curves([("loss", [(0, 1.0)])]) is None


def test_long_curves_are_thinned_and_keep_their_end():
    chart = charts.curves([("loss", [(float(i), 1 / (i + 1)) for i in range(5000)])])

    assert chart is not None
    assert len(chart.lines[0].points.split()) <= 151
    assert chart.lines[0].last == 1 / 5000
    assert chart.lines[0].end_x == charts.WIDTH - charts.RIGHT


@given(st.lists(st.tuples(st.integers(0, 10**6), FINITE), min_size=2, max_size=20))
def test_ticks_rise_evenly_and_read_apart(points):
    chart = charts.curves([("loss", [(float(step), value) for step, value in sorted(points)])])

    assert chart is not None
    for ticks in (chart.x_ticks, chart.y_ticks):
        assert 1 <= len(ticks) <= 12
        said = [f"{tick.value:.{tick.decimals}f}" for tick in ticks]
        assert len(set(said)) == len(said)
        assert all(a.value < b.value for a, b in pairwise(ticks))


def test_forecasts_share_a_scale_so_that_longer_stands_further_right():
    placed, ticks = charts.forecasts([((15, 40), 25.0), ((360, 540), None), (None, 402.0)])

    assert placed[0].actual is not None
    assert placed[2].actual is not None
    assert placed[1].predicted is not None
    assert placed[0].actual < placed[1].predicted[0] < placed[2].actual
    assert placed[2].predicted is None
    assert [tick.value for tick in ticks] == [10, 60, 600]
    assert charts.forecasts([(None, None)])[1] == ()


def test_a_learning_curve_keeps_its_order_and_leaves_out_a_target_far_off():
    measured = [(10.0, 0.5, 0.4, 0.6), (20.0, 0.6, 0.55, 0.65)]
    expected = [(10.0, 0.5, 0.45, 0.55), (40.0, 0.7, 0.6, 0.8)]
    near = charts.growth(measured, expected, 20, 0.75)
    assert near is not None
    assert near.target is not None
    assert near.dots[0][0] < near.now == near.dots[1][0] < charts.WIDTH - charts.RIGHT
    _, y, low, high = near.dots[0]
    assert high < y < low, "a higher value stands higher up"
    first = [tuple(map(float, p.split(","))) for p in near.band.split()]
    assert len(first) == 2 * len(expected)
    far = charts.growth(measured, expected, 20, 5.0)
    assert far is not None
    assert far.target is None
    assert charts.growth([], expected, 20, 0.7) is None
