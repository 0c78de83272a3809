"""Truth against answers where these are numbers, and what is left between the two."""

from collections.abc import Sequence
from dataclasses import dataclass

from sartor.report import charts
from sartor.report.answers import Numbered

_PARTS = 5
"""Parts of the truth's range, of equally many rows, that errors are told of apart."""
_LEAST = 4
"""Rows that a part needs."""


@dataclass(frozen=True, slots=True)
class Mark:
    """SVG places of one row: truth to the right, answer upwards, with the interval's ends."""

    x: float
    y: float
    low: float
    high: float
    inside: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """All rows, and the line on which answers are the truth."""

    marks: tuple[Mark, ...]
    ideal: tuple[float, float, float, float]
    """x and y of its two ends."""
    x_ticks: tuple[charts.Tick, ...]
    y_ticks: tuple[charts.Tick, ...]


@dataclass(frozen=True, slots=True)
class Residuals:
    """Errors of the rows whose truth lies in [low, high], in the numbers' unit.

    Args:
        rows: How many.
        mean: Answer less truth: above 0 where answers are too high.
        size: Mean distance.
        inside: Share whose truth lies in the interval.
    """

    low: float
    high: float
    rows: int
    mean: float
    size: float
    inside: float


def plot(rows: Sequence[Numbered]) -> Plot | None:
    """Place the rows; None without any."""
    if not rows:
        return None
    seen = [n for row in rows for n in (row.truth, row.said)]
    pad = 0.05 * (max(seen) - min(seen) or 1.0)
    low, high = min(seen) - pad, max(seen) + pad
    x_scale = charts.Scale(low, high, charts.LEFT, charts.WIDTH - charts.RIGHT)
    y_scale = charts.Scale(low, high, charts.HEIGHT - charts.BOTTOM, charts.TOP)
    marks = (
        Mark(x_scale(r.truth), y_scale(r.said), y_scale(r.low), y_scale(r.high), r.inside)
        for r in rows
    )
    ideal = x_scale(low), y_scale(low), x_scale(high), y_scale(high)
    return Plot(tuple(marks), ideal, charts.ticks(x_scale), charts.ticks(y_scale))


def residuals(rows: Sequence[Numbered]) -> list[Residuals]:
    """Errors by parts of the truth's range, rising; equal truths stay together."""
    ordered = sorted(rows, key=lambda row: row.truth)
    size = max(_LEAST, -(-len(ordered) // _PARTS))
    parts: list[list[Numbered]] = []
    for row in ordered:
        if parts and (len(parts[-1]) < size or parts[-1][-1].truth == row.truth):
            parts[-1].append(row)
        else:
            parts.append([row])
    if len(parts) > 1 and len(parts[-1]) < _LEAST:
        parts[-2:] = [parts[-2] + parts[-1]]
    return [_of(part) for part in parts]


def _of(part: Sequence[Numbered]) -> Residuals:
    errors, n = [row.said - row.truth for row in part], len(part)
    return Residuals(
        part[0].truth,
        part[-1].truth,
        n,
        sum(errors) / n,
        sum(map(abs, errors)) / n,
        sum(row.inside for row in part) / n,
    )
