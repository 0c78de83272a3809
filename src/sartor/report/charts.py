"""Where marks stand in the page's charts: values in, SVG user units out. Templates draw them.

Every chart is at most 360 units wide, so that its text keeps its size on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sartor.need.verdict import Verdict
from sartor.report.words import bound, measured

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 14, 40
STRIP_WIDTH, STRIP_MARGIN = 180, 8
_MOST_POINTS = 150
_UNITS = ("_ms", "_mb", "mae", "rmse", "interval_width")


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps [low, high] to [start, stop], linearly or by logarithm."""

    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        share = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.stop - self.start), 1)


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    value: float
    decimals: int


@dataclass(frozen=True, slots=True)
class Strip:
    """A value, its interval, and the side of the threshold that satisfies the criterion."""

    value: float
    low: float
    high: float
    threshold: float | None
    zone: tuple[float, float] | None
    """Start and width."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Predicted range and actual value of one rung, on a scale that all rungs share."""

    predicted: tuple[float, float] | None
    """Start and width."""
    actual: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """A dot at (x, y), its number at (label_x, label_y).

    `kind` is "candidate", "chosen", "artefact" or "bound" (a score that is at least that).
    """

    x: float
    y: float
    label_x: float
    label_y: float
    number: int
    kind: str


@dataclass(frozen=True, slots=True)
class Mark:
    """What a scatter is asked to place, in the data's units."""

    number: int
    x: float
    y: float
    kind: str


@dataclass(frozen=True, slots=True)
class Scatter:
    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_limit: float | None
    y_limit: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """SVG points of one curve, and where its name stands."""

    name: str
    points: str
    end_x: float
    end_y: float
    last: float


@dataclass(frozen=True, slots=True)
class Curves:
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """A learning curve over rows: where it was measured, where it is expected to go."""

    band: str
    """SVG points of the interval's outline."""
    line: str
    dots: tuple[tuple[float, float, float, float], ...]
    """x, y, and y of the two ends."""
    now: float
    target: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def strip(verdict: Verdict) -> Strip | None:
    """Place a verdict on a scale of its own; None when nothing was measured."""
    if not measured(verdict):
        return None
    ends = (verdict.value, verdict.low, verdict.high)
    criterion = bound(verdict.criterion)
    threshold = None if criterion is None else criterion.threshold
    seen = [*ends, *([] if threshold is None else [threshold])]
    pad = 0.2 * ((max(seen) - min(seen)) or abs(verdict.value) or 1.0)
    low, high = min(seen) - pad, max(seen) + pad
    if min(seen) >= 0:
        low = max(low, 0.0)
    if criterion is not None and not criterion.metric.endswith(_UNITS) and max(seen) <= 1:
        high = min(high, 1.0)
    scale = Scale(low, high, STRIP_MARGIN, STRIP_WIDTH - STRIP_MARGIN)
    zone = None
    if criterion is not None and criterion.comparison not in ("==", "!="):
        edge = scale(criterion.threshold)
        zone = (edge, STRIP_WIDTH - edge) if criterion.wants_more else (0.0, edge)
    return Strip(
        scale(verdict.value),
        scale(verdict.low),
        scale(verdict.high),
        None if threshold is None else scale(threshold),
        zone,
    )


def forecasts(
    rows: Sequence[tuple[tuple[float, float] | None, float | None]],
) -> tuple[list[Forecast], tuple[Tick, ...]]:
    """Place (predicted range, actual) pairs, all in seconds, on one logarithmic scale."""
    seen = [max(n, 0.1) for span, actual in rows for n in (*(span or ()), actual) if n is not None]
    if not seen:
        return [Forecast(None, None) for _ in rows], ()
    low, high = min(seen) / 1.5, max(seen) * 1.5
    scale = Scale(low, high, STRIP_MARGIN, STRIP_WIDTH - STRIP_MARGIN, logarithmic=True)
    placed = [
        Forecast(
            None if span is None else (scale(span[0]), max(scale(span[1]) - scale(span[0]), 3.0)),
            None if actual is None else scale(actual),
        )
        for span, actual in rows
    ]
    round_times = (0.1, 1, 10, 60, 600, 3600, 36000, 360000)
    return placed, tuple(Tick(scale(t), t, 0) for t in round_times if low <= t <= high)


def scatter(marks: Sequence[Mark], x_limit: float | None, y_limit: float | None) -> Scatter | None:
    """Place points, and a number beside each that covers no other; None without points.

    Args:
        marks: In the data's units.
        x_limit: Threshold of a size or latency criterion, drawn where it is near the points.
        y_limit: Threshold of the quality criterion.
    """
    if not marks:
        return None
    xs, ys = [mark.x for mark in marks], [mark.y for mark in marks]
    # A limit far off would press all points into a corner; the verdict table states it anyway.
    if x_limit is not None and x_limit > 3 * max(xs):
        x_limit = None
    y_span = max(ys) - min(ys) or 0.02
    if y_limit is not None and not min(ys) - 3 * y_span <= y_limit <= max(ys) + 3 * y_span:
        y_limit = None
    x_high = max(*xs, x_limit or 0.0) * 1.12 or 1.0
    y_seen = [*ys, *([] if y_limit is None else [y_limit])]
    pad = 0.15 * (max(y_seen) - min(y_seen) or 0.05)
    x_scale = Scale(0.0, x_high, LEFT, WIDTH - RIGHT)
    y_scale = Scale(min(y_seen) - pad, max(y_seen) + pad, HEIGHT - BOTTOM, TOP)
    dots = [(x_scale(mark.x), y_scale(mark.y)) for mark in marks]
    labels = _label_places(dots)
    points = (
        Point(x, y, label_x, label_y, mark.number, mark.kind)
        for mark, (x, y), (label_x, label_y) in zip(marks, dots, labels, strict=True)
    )
    return Scatter(
        tuple(points),
        ticks(x_scale),
        ticks(y_scale),
        None if x_limit is None else x_scale(x_limit),
        None if y_limit is None else y_scale(y_limit),
    )


def curves(named: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Curves | None:
    """Place lines over steps; None when no line has two points.

    Args:
        named: (name, [(step, value), …]), steps rising.
    """
    drawn = [(name, _thinned(points)) for name, points in named if len(points) > 1]
    if not drawn:
        return None
    steps = [step for _, points in drawn for step, _ in points]
    values = [value for _, points in drawn for _, value in points]
    pad = 0.08 * (max(values) - min(values) or abs(values[0]) or 1.0)
    low = min(values) - pad
    x_scale = Scale(min(steps), max(steps), LEFT, WIDTH - RIGHT)
    y_scale = Scale(
        max(low, 0.0) if min(values) >= 0 else low, max(values) + pad, HEIGHT - BOTTOM, TOP
    )
    lines = [
        Line(
            name,
            " ".join(f"{x_scale(step)},{y_scale(value)}" for step, value in points),
            x_scale(points[-1][0]),
            y_scale(points[-1][1]),
            points[-1][1],
        )
        for name, points in drawn
    ]
    return Curves(tuple(lines), ticks(x_scale, whole=True), ticks(y_scale))


def growth(
    measured: Sequence[tuple[float, float, float, float]],
    expected: Sequence[tuple[float, float, float, float]],
    now: float,
    target: float | None,
) -> Growth | None:
    """Place a learning curve; None without points to draw.

    Args:
        measured: (rows, value, low, high), rising.
        expected: The same, further than was measured.
        now: Rows there are.
        target: Value to reach, drawn where it is near the curve.
    """
    if not measured or not expected:
        return None
    points = [*measured, *expected]
    values = [value for _, *three in points for value in three]
    low, high = min(values), max(values)
    if target is not None and not low - (high - low) <= target <= high + (high - low):
        target = None
    seen = [low, high, *([] if target is None else [target])]
    pad = 0.08 * (max(seen) - min(seen) or 0.05)
    x_scale = Scale(0.0, max(rows for rows, *_ in points), LEFT, WIDTH - RIGHT)
    y_scale = Scale(min(seen) - pad, max(seen) + pad, HEIGHT - BOTTOM, TOP)
    upper = [f"{x_scale(rows)},{y_scale(high)}" for rows, _, _, high in expected]
    lower = [f"{x_scale(rows)},{y_scale(low)}" for rows, _, low, _ in reversed(expected)]
    return Growth(
        " ".join([*upper, *lower]),
        " ".join(f"{x_scale(rows)},{y_scale(value)}" for rows, value, *_ in expected),
        tuple((x_scale(n), y_scale(v), y_scale(a), y_scale(b)) for n, v, a, b in measured),
        x_scale(now),
        None if target is None else y_scale(target),
        ticks(x_scale, whole=True),
        ticks(y_scale),
    )


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_MOST_POINTS`, evenly taken, the last one always."""
    every = math.ceil(len(points) / _MOST_POINTS)
    kept = list(points[::every])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def ticks(scale: Scale, *, whole: bool = False) -> tuple[Tick, ...]:
    """Three to six round numbers inside the scale."""
    rough = (scale.high - scale.low) / 4
    # Below what nine decimals can tell apart, all ticks would read the same.
    if rough < 1e-8:
        return (Tick(scale(scale.low), scale.low, 0 if whole else 3),)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    decimals = next((d for d in range(9) if math.isclose(step, round(step, d))), 9)
    first = math.ceil(scale.low / step - 1e-9)
    last = math.floor(scale.high / step + 1e-9)
    return tuple(Tick(scale(i * step), i * step, decimals) for i in range(first, last + 1))


def _label_places(dots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """For each dot the nearest place around it that is free of dots and of other labels."""
    placed: list[tuple[float, float]] = []
    for x, y in dots:
        options = [
            (x + r * dx, y + r * dy)
            for r in (13, 22, 32)
            for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (0.8, -0.8), (-0.8, -0.8), (0.8, 0.8))
            if LEFT < x + r * dx < WIDTH - 6 and TOP - 8 < y + r * dy < HEIGHT - BOTTOM
        ]
        others = [dot for dot in dots if dot != (x, y)]

        def crowding(at: tuple[float, float], others: list[tuple[float, float]] = others) -> int:
            return sum(math.dist(at, taken) < 13 for taken in (*placed, *others))

        placed.append(min(options, key=crowding, default=(x + 13, y)))
    return [(round(x, 1), round(y, 1)) for x, y in placed]
