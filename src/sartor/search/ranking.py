"""Backbones ranked on a need's training rows, before anything is tuned.

Scores come from frozen activations through the cache, averaged over layers: that lifts LogME's
correlation with the tuned score from 0.58 to 0.86 (Garbaciauskas, Ploner and Akbik 2024,
https://aclanthology.org/2024.findings-acl.757). A backbone's first layers are ranked for nothing
more. Each backbone races beside its random twin, which shows what the tokenizer alone is worth.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError
from sartor.core.protocols import Floats
from sartor.core.strata import strata
from sartor.core.texts import Text
from sartor.core.types import Backbone, Examples
from sartor.models.encode import TextEncoder
from sartor.models.ranking.race import Entrant, Standing, fair_order, race
from sartor.search.estimates import Range, bundle_size
from sartor.tasks import TRAINERS

LEAST_ROWS = 32
"""Rows below which no score means anything."""
_CLOSE = 0.05
"""Part of what the best one's activations tell of the labels, in nats, that another may lack and
still count as equally good."""
_NEXT = {
    "as good": "is as good, and dearer",
    "unclear": "tells less, though more rows might show otherwise",
    "behind": "is clearly behind",
}
"""What is said of the second, by its verdict."""
_SERVED = (0.4, 1.0)
"""Part of the probed float32 speed that int8 and float32 models were seen to answer with."""

EncoderFor = Callable[[Backbone], TextEncoder]


@dataclass(frozen=True, slots=True)
class Sample:
    """Training rows in an order such that every prefix is a fair sample.

    Args:
        texts: The first so many.
        labels: (texts,) class indices.
        total: Training rows there are.
        task: Its name: says what is read of a row.
    """

    texts: tuple[Text, ...]
    labels: NDArray[np.int64]
    total: int
    task: str = "text_classification"


@dataclass(frozen=True, slots=True)
class Ranked:
    """A backbone, what it promises and what it costs.

    Args:
        standing: Its scores.
        verdict: "best"; "as good": not clearly behind, and tells nearly as much; "unclear": tells
            less, but so few rows do not show it; or "behind".
        layers: Of the backbone.
        parameters: Number of weights.
        work: Arithmetic of a token, next to the dearest one's: 0 to 1.
        size_mb: Of the bundle, predicted.
        latency_ms: Of a text of average length, batch 1, predicted.
    """

    standing: Standing
    verdict: Literal["best", "as good", "unclear", "behind"]
    layers: int
    parameters: int
    work: float
    size_mb: Range
    latency_ms: Range


@dataclass(frozen=True, slots=True)
class Ranking:
    """The result of a race.

    Args:
        ranked: Best first.
        controls: The random twins' standings.
        rows: Most rows that a backbone was scored on.
        seconds: Wall time of it all.
    """

    ranked: tuple[Ranked, ...]
    controls: tuple[Standing, ...]
    rows: int
    seconds: float

    @property
    def recommended(self) -> Ranked:
        """The one with the least work among the best and those as good."""
        return min(self._equal(), key=lambda entry: (entry.work, entry.parameters))

    @property
    def biggest(self) -> Ranked:
        """What a user would take who goes by size."""
        return max(self.ranked, key=lambda entry: (entry.parameters, entry.work))

    def order(self) -> list[str]:
        """Names in the order to try them: equals by their cost, then the others by their score."""
        equal = self._equal()
        others = [entry for entry in self.ranked if entry not in equal]
        equal.sort(key=lambda entry: (entry.work, entry.parameters))
        return [entry.standing.name for entry in equal + others]

    def advice(self) -> str:
        """One line: which to take, and why."""
        take, best = self.recommended, self.ranked[0]
        name = take.standing.name
        if len(self.ranked) == 1:
            return f"{name} is the only backbone named; there is nothing to compare it with."
        if take is best:
            rival = self.ranked[1]
            said = f"Take {name}: it is first, and {rival.standing.name} {_NEXT[rival.verdict]}."
        else:
            said = (
                f"Take {name}: {best.standing.name} is not clearly better on"
                f" {take.standing.rows:,} rows, at {best.work / take.work:.1f} times the work."
            )
        if (big := self.biggest) is not take:
            place = 1 + self.ranked.index(big)
            said += f" The biggest, {big.standing.name}, comes {place} of {len(self.ranked)}."
        return said

    def _equal(self) -> list[Ranked]:
        return [entry for entry in self.ranked if entry.verdict in ("best", "as good")]

    def as_json(self) -> dict[str, Any]:
        return {
            "ranked": [asdict(entry) for entry in self.ranked],
            "controls": [asdict(standing) for standing in self.controls],
            "order": self.order(),
            "recommended": self.recommended.standing.name,
            "biggest": self.biggest.standing.name,
            "advice": self.advice(),
            "rows": self.rows,
            "seconds": self.seconds,
        }


def draw_sample(
    train: Examples,
    outputs: Sequence[str],
    most: int,
    seed: int,
    task: str = "text_classification",
) -> Sample:
    """The rows to rank on.

    Args:
        train: Training rows; validation and test rows have no say.
        outputs: Names of the classes.
        most: Rows wanted.
        seed: Draws them.
        task: Its name.

    Raises:
        DataError: If there are too few.
    """
    # Of several labels a row, its rarest stands for it, "" for a row without any; for a number the
    # part of their range that it lies in.
    names = strata(train.target)
    known = dict.fromkeys([*outputs, "", *sorted(set(names))])
    place = {name: index for index, name in enumerate(known)}
    labels = np.array([place[name] for name in names], np.int64)
    if len(labels) < LEAST_ROWS or len(np.unique(labels)) < 2:
        raise DataError(
            f"{len(labels)} training rows of {len(np.unique(labels))} labels are too few to rank"
            " backbones on.",
            fix=f"add rows: {LEAST_ROWS} for training, of two labels, are the least.",
        )
    order = fair_order(labels, seed)[:most]
    texts = train.texts
    return Sample(tuple(texts[i] for i in order), labels[order], len(labels), task)


def rank(
    backbones: Sequence[Backbone],
    sample: Sample,
    encoder_for: EncoderFor,
    *,
    sizes: Sequence[int],
    prices: Mapping[str, Range],
    twins: Sequence[Backbone] = (),
) -> Ranking:
    """Race backbones, and their twins, on growing parts of the sample.

    Args:
        backbones: At least one, all of different names.
        sample: From `draw_sample`.
        encoder_for: The cached encoder of a backbone.
        sizes: Rows of each heat.
        prices: Backbone's name to its predicted latency.
        twins: Controls, from `models.variants.random_twin`.
    """
    began = perf_counter()
    # Whole ones first: their first layers then find everything in the cache.
    running = sorted(backbones, key=lambda b: b.whole is not None)
    entrants = [Entrant(b.name, averaged(encoder_for, b, sample)) for b in running]
    entrants += [Entrant(b.name, averaged(encoder_for, b, sample), control=True) for b in twins]
    standings = race(entrants, sample.labels, sizes)
    known = {b.name: b for b in backbones}
    dearest = max(_work(b) for b in backbones)
    best = next(s for s in standings if not s.control)
    ranked = [
        Ranked(
            standing=s,
            verdict=_verdict(s, best),
            layers=known[s.name].layers,
            parameters=known[s.name].parameters,
            work=_work(known[s.name]) / dearest,
            size_mb=bundle_size(known[s.name].parameters),
            latency_ms=prices[s.name],
        )
        for s in standings
        if not s.control
    ]
    controls = tuple(s for s in standings if s.control)
    rows = max(s.rows for s in standings)
    return Ranking(tuple(ranked), controls, rows, perf_counter() - began)


def averaged(
    encoder_for: EncoderFor, backbone: Backbone, sample: Sample
) -> Callable[[int], Floats]:
    """Rows to (rows, width): the mean of all layers above the embeddings, first rows first.

    Of several texts a row, as many times wide as the task compares them in ways.
    """
    trainer = cast("Any", TRAINERS.get(sample.task)())

    def features(rows: int) -> Floats:
        layers = range(1, backbone.layers + 1)
        source = encoder_for(backbone)
        # Which backbone knows such texts is seen on whole ones, whatever is said of their pieces.
        reads = source if trainer.by_piece else trainer.reads(source)
        found = reads.features(cast("Any", sample.texts[:rows]), layers)
        return found.reshape(rows, backbone.layers, -1).mean(1)

    return features


def latency(backbone: Backbone, tokens: float, gflops: float) -> Range:
    """Predicted milliseconds of one text.

    Args:
        backbone: Gives depth and width.
        tokens: Of the text.
        gflops: Probed float32 speed.
    """
    milliseconds = 1e3 * 2 * _work(backbone) * tokens / (gflops * 1e9)
    return Range(milliseconds / _SERVED[1], milliseconds / _SERVED[0])


def _work(backbone: Backbone) -> int:
    """Multiplications of a token."""
    return 12 * backbone.layers * backbone.width**2


def _verdict(standing: Standing, best: Standing) -> Literal["best", "as good", "unclear", "behind"]:
    if standing is best:
        return "best"
    if standing.dropped:
        return "behind"
    return "as good" if as_good(standing, best) else "unclear"


def as_good(standing: Standing, best: Standing) -> bool:
    """Whether one that was scored on the best one's rows tells nearly as much of the labels."""
    told = -0.5 * math.log(1 - best.explained.value)
    return not standing.dropped and standing.behind.value >= -_CLOSE * told
