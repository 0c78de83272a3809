"""What a user of Sartor runs, with the clock read on the way.

    python -m benchmarks._need_run NEED.yaml WORKSPACE METHOD...

Prints one JSON object: the bundle, its verdicts, the seconds until a model was fitted and its
decision rule settled, and those until the bundle had its verdict.
"""

import json
import sys
import time

from sartor import pipeline
from sartor.core.events import CandidateTried, Event, StageDone


def main() -> None:
    need, workspace, *methods = sys.argv[1:]
    began = time.perf_counter()
    climbed: list[float] = []
    tried: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, CandidateTried):
            tried.append(event.label)
        if isinstance(event, StageDone) and event.stage == "climb":
            climbed.append(time.perf_counter() - began)

    outcome = pipeline.run(need, methods=methods, workspace=workspace, emit=watch)
    found = {
        **outcome.as_json(),
        "fit_seconds": climbed[0],
        "verdict_seconds": time.perf_counter() - began,
        "tried": tried,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
