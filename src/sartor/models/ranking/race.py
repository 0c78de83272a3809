"""A race on growing samples: backbones that are clearly behind are not encoded further.

On the first 128, 256, 512, … rows every backbone still running gets its scores, and its distance
from the best one with a 95 % interval; whoever's interval lies below zero drops out. All see the
same rows, so what is common to them cancels in the distance.

The interval comes from random halves of the rows (McCarthy 1969, https://doi.org/10.2307/1402286):
the variance of a half's score about the whole's is that of the whole's about the truth. Halves
repeat no row, as the usual bootstrap does; a linear model that has more activations than rows
explains a repeated row perfectly, and evidence then tells of the repetition.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import SettingError
from sartor.core.protocols import Floats
from sartor.models.ranking.hscore import hscore
from sartor.models.ranking.logme import logme, logme_of_labels
from sartor.models.ranking.neighbours import knn_accuracy
from sartor.models.ranking.spectrum import Labels, spectrum

SIZES = (128, 256, 512, 1024)
_Z = 1.96


@dataclass(frozen=True, slots=True)
class Entrant:
    """One backbone in the race.

    Args:
        name: Unique among the entrants.
        features: Number of rows to (that many rows, width): the first rows' activations.
        control: Scored and compared, but never the best.
    """

    name: str
    features: Callable[[int], Floats]
    control: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A value between the ends of its 95 % interval."""

    low: float
    value: float
    high: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an entrant stood when it was scored last.

    Args:
        name: The entrant's.
        control: Whether it is one.
        rows: Rows it was scored on.
        logme: Nats a row; only differences mean anything.
        explained: Share of the labels' variance that LogME amounts to, 0 to 1.
        behind: Its LogME less the best one's on the same rows; all zero for the best.
        hscore: 0 to classes − 1.
        knn: Share of rows answered rightly by their nearest neighbours.
        dropped: Whether it was clearly behind.
        seconds: Wall time spent on it, encoding included.
    """

    name: str
    control: bool
    rows: int
    logme: Figure
    explained: Figure
    behind: Figure
    hscore: Figure
    knn: Figure
    dropped: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Scores:
    """An entrant's scores on some rows and on their halves.

    Args:
        of_all: (3,) LogME, H-score, nearest neighbours.
        of_halves: (halves, 3).
    """

    of_all: NDArray[np.float64]
    of_halves: NDArray[np.float64]

    def less(self, other: "Scores") -> "Scores":
        """The differences, half by half: both must have seen the same rows."""
        return Scores(self.of_all - other.of_all, self.of_halves - other.of_halves)

    def figures(self) -> list[Figure]:
        """LogME, H-score and nearest neighbours with their intervals."""
        doubt = _Z * self.of_halves.std(0, ddof=1)
        return [
            Figure(float(value - d), float(value), float(value + d))
            for value, d in zip(self.of_all, doubt, strict=True)
        ]


def race(
    entrants: Sequence[Entrant],
    labels: Labels,
    sizes: Sequence[int] = SIZES,
    *,
    halves: int = 40,
    seed: int = 0,
) -> list[Standing]:
    """Rank the entrants, the best first.

    Args:
        entrants: At least one that is no control.
        labels: (rows,) class indices, in an order such that every prefix is a fair sample (see
            `fair_order`).
        sizes: Rows of each heat, growing; those beyond the rows there are end at all rows.
        halves: Random halves behind each interval.
        seed: Draws the halves.

    Returns:
        Those still running by their score, then the dropped ones, the last dropped first.

    Raises:
        SettingError: If there is no entrant but controls, or the activations cannot be scored.
        DataError: If the first rows have fewer than two classes.
    """
    running = list(entrants)
    if all(entrant.control for entrant in running):
        raise SettingError("no backbone was given to rank.", fix="name at least one.")
    spent = dict.fromkeys((entrant.name for entrant in running), 0.0)
    kept: list[Standing] = []
    out: list[Standing] = []
    for size in _heats(sizes, len(labels)):
        picked = draw_halves(labels[:size], halves, np.random.default_rng([seed, size]))
        scores: dict[str, Scores] = {}
        for entrant in running:
            began = perf_counter()
            scores[entrant.name] = score(entrant.features(size), labels[:size], picked)
            spent[entrant.name] += perf_counter() - began
        heat = _standings(running, scores, labels[:size], spent)
        dropped = [standing for standing in heat if standing.dropped]
        out = dropped + out
        running = [e for e in running if e.name not in {standing.name for standing in dropped}]
        kept = [standing for standing in heat if not standing.dropped]
        if len(running) == 1:
            break
    return kept + out


def score(features: Floats, labels: Labels, picked: Sequence[NDArray[np.intp]]) -> Scores:
    """All scores of some rows' activations, on all of them and on each selection.

    Args:
        features: (rows, width).
        labels: (rows,) class indices.
        picked: Rows of each half, from `draw_halves`.
    """
    everything = np.arange(len(labels))
    found = np.array([_measure(features[rows], labels[rows]) for rows in (everything, *picked)])
    return Scores(found[0], found[1:])


def fair_order(labels: Labels, seed: int = 0) -> NDArray[np.intp]:
    """An order of the rows in which every prefix has the classes in about their proportions.

    Args:
        labels: (rows,) class indices.
        seed: Shuffles the rows of a class.

    Returns:
        (rows,) indices. Every class has a row among the first ones, as many rows as classes.
    """
    draw = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == label))
        # Evenly spread over the order: the j-th of c rows at about j/c of the way.
        offset = draw.uniform(0, 1, len(rows)) * (np.arange(len(rows)) > 0)
        place[rows] = (np.arange(len(rows)) + offset) / len(rows)
    return np.lexsort((np.arange(len(labels)), place))


def draw_halves(labels: Labels, count: int, draw: np.random.Generator) -> list[NDArray[np.intp]]:
    """Random halves of the rows, each class halved by itself and never lost.

    Args:
        labels: (rows,) class indices.
        count: Number of halves.
        draw: Source of chance.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def half(rows: NDArray[np.intp]) -> NDArray[np.intp]:
        # An odd one falls on either side.
        size = max(1, int((len(rows) + draw.integers(2)) // 2))
        return draw.permutation(rows)[:size]

    return [np.sort(np.concatenate([half(rows) for rows in classes])) for _ in range(count)]


def _heats(sizes: Sequence[int], rows: int) -> list[int]:
    return sorted({min(size, rows) for size in sizes})


def _measure(features: Floats, labels: Labels) -> tuple[float, float, float]:
    found = spectrum(features, labels)
    return logme(found), hscore(found), knn_accuracy(features, labels)


def explained(logme_value: float, of_labels: float) -> float:
    """Share of the labels' variance that a LogME amounts to: 1 − e^(−2 · gain), at least 0.

    With Gaussian noise, evidence gained over that of no activations is half the logarithm of the
    variance's ratio. Averaged over classes in that logarithm, as LogME is.
    """
    return max(0.0, 1 - math.exp(-2 * (logme_value - of_labels)))


def _standings(
    running: Sequence[Entrant], scores: dict[str, Scores], labels: Labels, spent: dict[str, float]
) -> list[Standing]:
    """This heat's standings, the best first."""
    best = max(
        (entrant.name for entrant in running if not entrant.control),
        key=lambda name: scores[name].of_all[0],
    )
    nothing = logme_of_labels(labels)
    found: list[Standing] = []
    for entrant in running:
        evidence, between, near = scores[entrant.name].figures()
        behind = scores[entrant.name].less(scores[best]).figures()[0]
        ends = (evidence.low, evidence.value, evidence.high)
        standing = Standing(
            name=entrant.name,
            control=entrant.control,
            rows=len(labels),
            logme=evidence,
            explained=Figure(*(explained(value, nothing) for value in ends)),
            behind=behind,
            hscore=between,
            knn=near,
            dropped=behind.high < 0,
            seconds=spent[entrant.name],
        )
        found.append(standing)
    return sorted(found, key=lambda standing: -standing.logme.value)
