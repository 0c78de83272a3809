"""What a user of Sartor runs, with the clock read on the way.

    python -m benchmarks._need_run NEED.yaml WORKSPACE [METHOD...]

Prints one JSON object: the bundle, its verdicts, the seconds until a model was fitted and its
decision rule settled, those until the choice among all that was tried stood, and those until the
bundle had its verdict; what was chosen, in the words of the run. Without METHOD the whole ladder
may be climbed.
"""

import json
import sys
import time

from sartor import pipeline
from sartor.core.events import CandidateTried, Event, StageDone, StageStarted


def main() -> None:
    need, workspace, *methods = sys.argv[1:]
    began = time.perf_counter()
    climbed: list[float] = []
    chosen: list[float] = []
    tried: list[str] = []
    ends: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, CandidateTried):
            tried.append(event.label)
        if isinstance(event, StageDone) and event.stage == "climb":
            climbed.append(time.perf_counter() - began)
            ends.append(event.summary)
        if isinstance(event, StageStarted) and event.stage == "shrink":
            chosen.append(time.perf_counter() - began)

    outcome = pipeline.run(need, methods=methods or None, workspace=workspace, emit=watch)
    found = {
        **outcome.as_json(),
        "fit_seconds": climbed[0],
        # The last: an ensemble that proves too large is put aside, and another choice shrunk.
        "chosen_seconds": chosen[-1],
        "verdict_seconds": time.perf_counter() - began,
        "tried": tried,
        "choice": ends[-1],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
