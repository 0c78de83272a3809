"""Which rungs there are: methods by cost, on the backbones the need allows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sartor.core.errors import SettingError
from sartor.core.types import Backbone, Candidate
from sartor.search.estimates import Estimate, Range, Work, estimate
from sartor.search.ladder import Rung
from sartor.tune.api import METHODS
from sartor.tune.settings import read_settings


def method_order(wanted: Sequence[str] | None) -> list[str]:
    """Methods to climb: the need's own list in its order, else the default ladder.

    Raises:
        UnknownName: If the need names a method that does not exist.
    """
    if wanted is not None:
        for name in wanted:
            METHODS.get(name)
        return list(wanted)
    places: dict[str, Any] = {name: METHODS.get(name) for name in METHODS.names()}
    return sorted((n for n in places if places[n].rung is not None), key=lambda n: places[n].rung)


@dataclass(frozen=True, slots=True)
class Aim:
    """What is the same for every candidate: the task's name, and the seed."""

    task: str
    seed: int


def build_rungs(
    backbones: Sequence[Backbone],
    methods: Sequence[str],
    aim: Aim,
    work: Callable[[Backbone], Work],
) -> list[Rung]:
    """One rung a method and backbone; cheaper methods of every backbone before dearer ones.

    Settings that read a layer the backbone does not have are left out.
    """
    rungs: list[Rung] = []
    for name in methods:
        method: Any = METHODS.get(name)
        frozen = method.reads == "activations"
        for backbone in backbones:
            settings = [s for s in method.portfolio() if _applies(s, name, aim.task, backbone)]
            if not settings:
                continue
            epochs = [int(s.get("epochs", 1)) for s in settings]
            found = estimate(backbone, method.reads, max(epochs), work(backbone))
            rungs.append(
                Rung(
                    name=name,
                    candidates=tuple(
                        Candidate(backbone.name, backbone.sha256, name, s, aim.seed)
                        for s in settings
                    ),
                    together=frozen,
                    estimate=_grid(found, len(settings)) if frozen else found,
                )
            )
    return rungs


def _applies(settings: Mapping[str, Any], method: str, task: str, backbone: Backbone) -> bool:
    read = read_settings(settings, task=task, method=method)
    try:
        read.task.resolve(backbone.layers)
    except SettingError:
        return False
    return True


def _grid(found: Estimate, settings: int) -> Estimate:
    """Heads of one grid share the encoding; each adds a fraction of a second to some seconds."""
    return replace(found, seconds=found.seconds + Range(0.05 * settings, 1.5 * settings))
