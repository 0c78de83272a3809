"""What a run fits with, and what it may spend."""

from sartor.core.types import Candidate
from sartor.search.climbing import Clock
from sartor.search.estimates import finishing
from sartor.search.fitting import Bench, fit_group
from sartor.search.ladder import Limits, Scored
from sartor.search.mixed import Terms
from sartor.search.product import Workshop, reading
from sartor.search.rungs import costs
from sartor.search.setup import Desk, Ready
from sartor.search.suiting import reads_pairs
from sartor.tune.ending import Facts
from sartor.tune.fit import TuneOptions, Tuner


def limits_of(desk: Desk) -> Limits:
    """The need's budget, less what comes after the climb."""
    budget = desk.need.budget
    seconds = None if budget.minutes is None else budget.minutes * 60 - finishing().low
    memory = None if budget.memory_gb is None else budget.memory_gb * 1000
    return Limits(seconds, memory, desk.fact, budget.patience)


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
            max_length=desk.need.prefer.max_length,
            bf16=ready.precision.dtype == "bfloat16",
            deadline=deadline,
            facts=facts,
            descriptions=desk.need.data.label_descriptions,
            code=ready.code,
        ),
    )


def terms_of(desk: Desk, ready: Ready, clock: Clock, workshop: Workshop) -> Terms:
    """What joining candidates may use and spend.

    Args:
        desk: What the run works with.
        ready: Backbones, and rows by role.
        clock: What is left.
        workshop: Makes soups, and fits again.
    """
    rows, task = ready.setting.rows, desk.need.task
    bench = Bench(workshop.tuner, rows.train, rows.validation)

    def refit(candidate: Candidate) -> Scored | Exception:
        return fit_group(bench, [candidate], desk.emit)[0]

    return Terms(
        backbones=ready.backbones,
        reading=reading(ready.backbones, desk.need.prefer.max_length, reads_pairs(task)),
        taste=workshop.tasted,
        refit=None if clock.limits.seconds is None else refit,
        cost=costs(task, ready.backbones),
        affords=clock.affords,
        emit=desk.emit,
    )
