"""A candidate's flat settings, dealt out to the three that own them: task, method, loop.

Names are unique over the three (a law of `testing.methods`), so a need or a search says
`{"rank": 8, "lr": 1e-3, "epochs": 3, "layers": [-1]}` and every key has one meaning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, cast

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, with_config

from sartor.core.errors import SettingError
from sartor.core.near import near_miss
from sartor.core.settings import read_as
from sartor.tasks import TRAINERS
from sartor.tune.api import METHODS, Closed, Method
from sartor.tune.solving import SolvesHead


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Loop:
    """How the gradient loop runs, for every method that is descended on."""

    epochs: Annotated[int, Ge(1), Le(1000)] = 3
    """Passes over the training rows, at most; early stopping may end before."""
    max_steps: Annotated[int, Ge(0)] = 0
    """Optimiser steps, at most; 0 for as many as the epochs have."""
    batch_tokens: Annotated[int, Ge(16)] = 2048
    """Padded tokens a batch may hold."""
    batch_rows: Annotated[int, Ge(1)] = 32
    """Rows a batch may hold."""
    accumulate: Annotated[int, Ge(1)] = 1
    """Batches whose gradients are summed into one optimiser step."""
    warmup: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Share of the steps over which the learning rate rises from 0; then it falls linearly to 0."""
    weight_decay: Annotated[float, Ge(0)] = 0.01
    """AdamW's decoupled decay; not applied to biases and normalisation weights."""
    clip: Annotated[float, Gt(0)] = 1.0
    """Largest L2 norm of the gradient."""
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the target probability spread over all classes."""
    dropout: Annotated[float, Ge(0), Lt(1)] | None = None
    """Share of activations set to zero while training; None keeps the backbone's own."""
    masks: Literal["pooled", "drawn"] = "pooled"
    """Dropout masks from a pool (fast on a CPU) or drawn afresh by torch."""
    evaluations: Annotated[int, Ge(1)] = 2
    """Times an epoch that the validation log-loss is taken."""
    patience: Annotated[int, Ge(1)] = 3
    """Evaluations without a better log-loss before training stops; the best weights are kept."""
    kept: Literal["best", "last"] | None = None
    """Which weights are kept: those with the best validation log-loss, or the last, and then
    nothing in the fit is chosen by held-out rows. None: the best, where the method has answers to
    choose by."""
    average: Literal["none", "ema", "swa"] = "none"
    """Which weights are evaluated and kept: the last, their exponential moving average, or their
    plain mean."""
    average_start: Annotated[float, Ge(0), Lt(1)] = 0.5
    """Share of the steps that an average leaves out."""
    average_decay: Annotated[float, Gt(0), Lt(1)] = 0.99
    """Share of the moving average that a step keeps; reached slowly, as the average fills."""
    r_drop: Annotated[float, Ge(0)] = 0.0
    """Strength of R-Drop: two dropout masks must give one answer; twice the time a step."""
    mixup: Annotated[float, Ge(0)] = 0.0
    """Alpha of mixup: rows are blended at the head's input, with their labels; 0 blends none."""
    l2_sp: Annotated[float, Ge(0)] = 0.0
    """Strength of the pull of pretrained weights towards where they started, against forgetting."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A candidate's settings, validated.

    Args:
        task: The trainer of the task, e.g. `TextClassification`.
        method: From the methods registry.
        loop: Defaults where the method has no loop.
    """

    task: Any
    method: Method
    loop: Loop

    @property
    def closed(self) -> bool:
        """Whether nothing in the fit is chosen by held-out rows, so that it may learn from them."""
        if descends(self.method):
            return self.loop.kept == "last"
        return isinstance(self.method, Closed) and self.method.closed


def descends(method: Any) -> bool:
    """Whether a method goes through the gradient loop."""
    return method.reads in ("states", "tokens")


def owners_of(task: str, method: str) -> list[type[Any]]:
    """The trainer of the task, the method, and the loop where the method goes through it.

    Raises:
        UnknownName: If there is no such task or method.
    """
    chosen = cast("type[Any]", METHODS.get(method))
    found = [cast("type[Any]", TRAINERS.get(task)), chosen]
    return [*found, Loop] if descends(chosen) else found


def read_settings(flat: Mapping[str, Any], *, task: str, method: str) -> Settings:
    """Validate a candidate's settings.

    Raises:
        UnknownName: If there is no such task or method.
        SettingError: If a key belongs to nobody or a value is out of range.
    """
    owners = owners_of(task, method)
    known = {field.name: owner for owner in owners for field in fields(owner)}
    for key in flat:
        if key not in known:
            raise SettingError(
                f"method {method!r} has no setting {key!r}.", fix=near_miss(key, sorted(known))
            )
    shares = [{k: v for k, v in flat.items() if known[k] is owner} for owner in owners]
    parts = [read_as(owner, share) for owner, share in zip(owners, shares, strict=True)]
    if len(parts) == 2:
        return Settings(parts[0], parts[1], Loop())
    return Settings(parts[0], parts[1], _kept(parts[1], parts[2]))


def _kept(method: Method, loop: Loop) -> Loop:
    """The loop's settings with which weights are kept."""
    solves = isinstance(method, SolvesHead)
    if solves and loop.kept == "best":
        raise SettingError(
            "kept: best, but the method's head is solved when the encoder is tuned, and until then "
            "there are no answers to choose by.",
            fix="leave kept out.",
        )
    return loop if loop.kept else replace(loop, kept="last" if solves else "best")
