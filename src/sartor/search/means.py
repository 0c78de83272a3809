"""What a run fits with, and what it may spend."""

from sartor.search.estimates import finishing
from sartor.search.ladder import Limits
from sartor.search.setup import MAX_LENGTH, Desk, Ready
from sartor.tune.ending import Facts
from sartor.tune.fit import TuneOptions, Tuner


def limits_of(desk: Desk) -> Limits:
    """The need's budget, less what comes after the climb."""
    budget = desk.need.budget
    seconds = None if budget.minutes is None else budget.minutes * 60 - finishing().low
    memory = None if budget.memory_gb is None else budget.memory_gb * 1000
    return Limits(seconds, memory, desk.fact)


def tuner_of(desk: Desk, ready: Ready, deadline: float, facts: Facts) -> Tuner:
    """Fits candidates in the workspace.

    Args:
        desk: What the run works with.
        ready: Backbones, encoders and precision.
        deadline: `time.monotonic()` after which a fit ends at its next step.
        facts: Of the run.
    """
    return Tuner(
        ready.backbones,
        lambda backbone: ready.encoders[backbone.name],
        desk.place.folder / "fits",
        ready.setting.held.outputs,
        TuneOptions(
            task=desk.need.task,
            max_length=MAX_LENGTH,
            bf16=ready.precision.dtype == "bfloat16",
            deadline=deadline,
            facts=facts,
            descriptions=desk.need.data.label_descriptions,
            code=ready.code,
        ),
    )
