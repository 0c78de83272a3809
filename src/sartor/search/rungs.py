"""Which rungs there are: methods by cost, on the backbones the need allows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sartor.core.types import Backbone, Candidate
from sartor.search.estimates import Estimate, Range, Work, estimate
from sartor.search.ladder import Rung
from sartor.tune.api import METHODS

_ORDER = ("head", "lora", "full")
"""Cheapest first; methods that are not named here come after, by name."""


def method_order(wanted: Sequence[str] | None) -> list[str]:
    """Methods to climb: the need's own list in its order, else all of them, cheapest first.

    Raises:
        UnknownName: If the need names a method that does not exist.
    """
    if wanted is not None:
        for name in wanted:
            METHODS.get(name)
        return list(wanted)
    names = METHODS.names()
    return [n for n in _ORDER if n in names] + [n for n in names if n not in _ORDER]


def build_rungs(
    backbones: Sequence[Backbone],
    methods: Sequence[str],
    seed: int,
    work: Callable[[Backbone], Work],
) -> list[Rung]:
    """One rung a method and backbone; cheaper methods of every backbone before dearer ones."""
    rungs: list[Rung] = []
    for name in methods:
        method: Any = METHODS.get(name)
        frozen = method.reads == "activations"
        for backbone in backbones:
            settings = list(method.portfolio())
            epochs = [int(s.get("epochs", 1)) for s in settings]
            found = estimate(backbone, method.reads, max(epochs), work(backbone))
            rungs.append(
                Rung(
                    name=name,
                    candidates=tuple(
                        Candidate(backbone.name, backbone.sha256, name, s, seed) for s in settings
                    ),
                    together=frozen,
                    estimate=_grid(found, len(settings)) if frozen else found,
                )
            )
    return rungs


def _grid(found: Estimate, settings: int) -> Estimate:
    """Heads of one grid share the encoding; each adds a fraction of a second to some seconds."""
    return replace(found, seconds=found.seconds + Range(0.05 * settings, 1.5 * settings))
