"""Fifty random `kill -9` in tuning, half inside checkpoint writes: does every resume end the same?

    python -m benchmarks.kill9_training [--kills 50] [--seed 0]

A tiny BERT is tuned by each method in turn, killed at random (half of the kills at a random fsync,
half after a random number of milliseconds), resumed until it ends, and its result compared, byte
for byte, with that of a run nobody killed. Takes about 2 minutes.
"""

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._harness import Line, arguments, finish, machine
from benchmarks._kills import carry_out, dealt, shares, until_struck

MODULE = "tests.tune.killed"
FITS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("full", {"epochs": 3, "lr": 1e-3, "batch_rows": 8}),
    ("lora", {"epochs": 3, "lr": 5e-3, "batch_rows": 8, "lora_dropout": 0.1}),
)
KILLS_A_RUN = 3
RANGES = {"fsync": (1, 30), "ms": (20, 600)}


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)

    def schedule(kinds: list[str]) -> list[dict[str, Any]]:
        draw.shuffle(kinds)
        points = [[at, draw.randint(*RANGES[at])] for at in kinds]
        return [
            {"method": FITS[i % len(FITS)][0], "settings": FITS[i % len(FITS)][1], "kills": run}
            for i, run in enumerate(dealt(points, KILLS_A_RUN))
        ]

    with tempfile.TemporaryDirectory() as folder:
        whole = [{"method": m, "settings": s, "kills": []} for m, s in FITS]
        answers = carry_out(Path(folder) / "whole", MODULE, whole)
        truth = {method: answers[i]["hashes"] for i, (method, _) in enumerate(FITS)}
        killed, struck = until_struck(
            Path(folder), MODULE, shares(list(RANGES), options.kills), schedule
        )

    differing = [s for s, a in killed if a["hashes"] != truth[s["method"]]]
    resumed = sum(note.startswith("Resuming") for _, a in killed for note in a["notes"])
    detail = {"struck": struck, "attempts_that_resumed": resumed, "differing": differing}
    what = f"Of {len(killed)} fits under {struck.total()} kills, {struck['fsync']} inside a write"
    lines = [Line(f"{what}: ended with other bytes", len(differing), "", goal="0")]
    finish("kill9_training", facts, lines, detail)
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
