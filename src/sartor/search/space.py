"""What a method says is worth searching, in Optuna's words, and back again.

A choice may be any JSON value; Optuna takes only plain ones, so choices travel as JSON text.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sartor.tasks import TRAINERS
from sartor.tune.api import METHODS, Choice, Dimension, Real, Whole
from sartor.tune.settings import read_settings


@dataclass(frozen=True, slots=True)
class Space:
    """The settings of a method that a search may move.

    Args:
        task: Name in the tasks registry: it owns some of the settings.
        method: Name in the methods registry.
        dimensions: By setting.
    """

    task: str
    method: str
    dimensions: Mapping[str, Dimension]

    @staticmethod
    def of(task: str, method: str, fixed: Collection[str] = ()) -> "Space":
        """What a method says is worth searching, less what the task has no use for or is fixed."""
        found: Any = METHODS.get(method)
        trainer: Any = TRAINERS.get(task)
        still = {*trainer.unused, *fixed}
        moved = {k: v for k, v in found.space().items() if k not in still}
        return Space(task, method, moved)

    def distributions(self) -> dict[str, BaseDistribution]:
        """By setting, sorted: the order decides what a seeded sampler draws."""
        return {name: _distribution(self.dimensions[name]) for name in sorted(self.dimensions)}

    def params(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Settings as Optuna's parameters, defaults filled in.

        None where one lies outside its range: such a candidate says nothing of this space.
        """
        read = read_settings(settings, task=self.task, method=self.method)
        found: dict[str, Any] = {}
        for name, dimension in self.dimensions.items():
            owner = next((o for o in (read.task, read.method, read.loop) if hasattr(o, name)), None)
            value = settings[name] if name in settings else getattr(owner, name, None)
            coded = _code(dimension, value)
            if coded is None:
                return None
            found[name] = coded
        return found

    def settings(self, params: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters as settings, over a base that fixes what is not searched.

        Names that the space does not have are passed over: an older version may have searched them.
        """
        found = dict(base)
        for name, value in params.items():
            if name in self.dimensions:
                choice = isinstance(self.dimensions[name], Choice)
                found[name] = json.loads(value) if choice else value
        return found


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Real):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if isinstance(dimension, Whole):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return CategoricalDistribution([_text(value) for value in dimension.values])


def _code(dimension: Dimension, value: Any) -> Any:
    """The value as Optuna holds it, or None where the dimension does not hold it."""
    if isinstance(dimension, Choice):
        text = _text(value)
        return text if text in {_text(v) for v in dimension.values} else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not dimension.low <= value <= dimension.high:
        return None
    return int(value) if isinstance(dimension, Whole) else float(value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=list)
