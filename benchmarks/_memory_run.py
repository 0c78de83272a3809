"""A need's run whose looped fits end after a few steps, and which says where it is.

    python -m benchmarks._memory_run NEED.yaml WORKSPACE STEPS METHOD...

Prints a line `TIME STAGE` where another stage begins, TIME being `time.monotonic()`, which all
processes of a Linux machine share; the last line is `TIME end`. Of a method that is descended on,
only the first candidate of its portfolio is tried.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sartor import pipeline
from sartor.core.events import CandidateTried, Event, Note, StageDone, StageStarted
from sartor.tune.api import METHODS


def main() -> None:
    need, workspace, steps, *methods = sys.argv[1:]
    for name in methods:
        _shorten(METHODS.get(name), int(steps))
    ahead = [*methods]

    def watch(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage != "encode":
            _say(event.stage)
        elif isinstance(event, StageDone) and event.stage == "read":
            _say("plan")
        elif ahead and (_planned(event) or isinstance(event, CandidateTried)):
            _say(ahead.pop(0))
        elif isinstance(event, Note) and event.level == "warning":
            print(event.text, file=sys.stderr)

    _say("start")
    pipeline.run(need, methods=methods, workspace=workspace, emit=watch)
    _say("end")


def _planned(event: Event) -> bool:
    return isinstance(event, StageDone) and event.stage == "plan"


def _shorten(method: Any, steps: int) -> None:
    """One candidate of so many steps, where there are steps; a grid in closed form stays whole."""
    if method.reads == "activations":
        return
    (first, *_), spend = method.portfolio(), {"max_steps": steps}

    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{**first, **spend}]

    method.portfolio = staticmethod(portfolio)


def _say(stage: str) -> None:
    print(time.monotonic(), stage, flush=True)


if __name__ == "__main__":
    main()
