"""Fifty random `kill -9` in tuning, half inside checkpoint writes: does every resume end the same?

    python -m benchmarks.kill9_training [--kills 50] [--seed 0]

A tiny BERT is tuned by each method in turn, killed at random (half of the kills at a random fsync,
half after a random number of milliseconds), resumed until it ends, and its result compared, byte
for byte, with that of a run nobody killed. Prints a summary and writes it to benchmarks/results/.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

FITS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("full", {"epochs": 3, "lr": 1e-3, "batch_rows": 8}),
    ("lora", {"epochs": 3, "lr": 5e-3, "batch_rows": 8, "lora_dropout": 0.1}),
)
KILLS_A_RUN = 3
RANGES = {"fsync": (1, 30), "ms": (20, 600)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = [{"method": m, "settings": s, "kills": []} for m, s in FITS]
        answers = _survive(Path(folder) / "whole", whole)
        truth = {method: answers[i]["hashes"] for i, (method, _) in enumerate(FITS)}
        killed: list[tuple[dict[str, Any], dict[str, Any]]] = []
        # A kill drawn for later than the end of its run strikes nothing: draw until enough did.
        while (struck := Counter(at for _, a in killed for at in a["struck"])).total() < (
            options.kills
        ):
            scenarios = _schedule(options.kills - struck.total(), draw)
            place = Path(folder) / f"round-{len(killed)}"
            killed += zip(scenarios, _survive(place, scenarios), strict=True)

    differing = [s for s, a in killed if a["hashes"] != truth[s["method"]]]
    summary = {
        "kills": struck.total(),
        "inside_a_write": struck["fsync"],
        "runs": len(killed),
        "attempts_that_resumed": sum(
            note.startswith("Resuming") for _, a in killed for note in a["notes"]
        ),
        "runs_that_ended_with_other_bytes": differing,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }
    text = json.dumps(summary, indent=1)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "kill9_training.json").write_text(text + "\n")
    print(text)
    sys.exit(1 if differing else 0)


def _schedule(kills: int, draw: random.Random) -> list[dict[str, Any]]:
    kinds = ["fsync", "ms"] * (kills // 2 + 1)
    points = [[at, draw.randint(*RANGES[at])] for at in kinds[:kills]]
    runs = [points[i : i + KILLS_A_RUN] for i in range(0, len(points), KILLS_A_RUN)]
    return [
        {"method": FITS[i % len(FITS)][0], "settings": FITS[i % len(FITS)][1], "kills": run}
        for i, run in enumerate(runs)
    ]


def _survive(folder: Path, scenarios: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.tune.killed", str(folder)],
        input=json.dumps(scenarios),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    main()
