"""Fifty random `kill -9` over whole runs: does every resume end with the same bundle?

    python -m benchmarks.kill9_run [--kills 50] [--seed 0]

A need on a tiny BERT, with a head rung and a LoRA rung, is run, killed at random, and resumed until
it ends. Half of the kills fall inside the writing of a checkpoint (at a random flush of it), a
quarter at a random flush of anything, a quarter at a random moment. Then the same run is carried
out without a kill in a new workspace, replaying the facts of the machine that the first recorded,
and the bundle's id and files, the files of every fit and the verdicts are compared byte for byte.
Checkpoints are written every second step instead of every minute. Takes about 10 minutes.
"""

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._harness import Line, arguments, finish, machine
from benchmarks._kills import Answer, carry_out, dealt, shares, until_struck

MODULE = "benchmarks._killed_run"
KINDS = ("checkpoint", "checkpoint", "write", "ms")
KILLS_A_RUN = 4


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        # How long a run is, in milliseconds and in flushes, decides where kills can fall.
        (unharmed,) = carry_out(Path(folder) / "unharmed", MODULE, [{"kills": []}])
        if unharmed["failed"]:
            raise SystemExit(f"the run fails without a kill: {unharmed['failed'][0]}")
        length = {kind: int(n) for kind, n in unharmed["probe"].items()}

        def schedule(kinds: list[str]) -> list[dict[str, Any]]:
            draw.shuffle(kinds)
            drawn = [[at, draw.randint(1, length[at])] for at in kinds]
            return [{"kills": run} for run in dealt(drawn, KILLS_A_RUN)]

        killed, struck = until_struck(Path(folder), MODULE, shares(KINDS, options.kills), schedule)

    wrong = [{**s, **a, "differing": _differing(a)} for s, a in killed if _differing(a)]
    detail = {
        "struck": struck,
        "resumed_from_a_checkpoint": sum(
            note.startswith("Resuming") for _, a in killed for note in a["notes"]
        ),
        "files_compared_a_run": len(unharmed["whole"]),
        "length_of_a_run": length,
        "wrong": wrong,
    }
    what = (
        f"Of {len(killed)} runs under {struck.total()} kills, "
        f"{struck['checkpoint']} inside checkpoint writes"
    )
    lines = [Line(f"{what}: ended otherwise than the unharmed run", len(wrong), "", goal="0")]
    finish("kill9_run", facts, lines, detail)
    sys.exit(1 if wrong else 0)


def _differing(answer: Answer) -> list[str]:
    """Names of what differs, or why the run did not end."""
    if answer["failed"]:
        return answer["failed"]
    killed, whole = answer["killed"], answer["whole"]
    return sorted(n for n in {*killed, *whole} if killed.get(n) != whole.get(n))


if __name__ == "__main__":
    main()
