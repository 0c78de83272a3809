"""Score and time to score on few rows: a need's run against the script most tutorials show.

    python -m benchmarks.score_time [--rows 1000] [--seeds 5] [--peer-seeds 2]

Two tasks: product reviews (2 labels, their own test file) and intents (20 labels; the English rows
only, since MiniLM reads no Chinese; whole templates are kept for the test). A seed draws the
training rows, the same for both sides, and seeds everything after. Both use MiniLM, both are a
fresh process with nothing cached, and both answer the same test rows.

- *Ours*: `sartor run` with the methods given (the frozen head). Of the training rows it keeps its
  own validation rows. It ends with a verdict on an int8 bundle, and that bundle's answers count.
- *The peer*: `_plain_trainer.py`, `transformers.Trainer` with padding to 128, batch 32, learning
  rate 2e-5 and 3 epochs on all the rows.

Two times: until the model is fitted (ours with its decision rule; no test row was read), and from
the start of the process to its end with the score known (ours with export, int8, parity, bundle
and verdict besides). Takes about 40 minutes on two cores, nearly all of them the peer's.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import (
    ROOT,
    Interval,
    Line,
    alternate,
    arguments,
    bootstrap,
    faster,
    finish,
    machine,
    spread,
)

from sartor.models.catalogue import find_backbone
from sartor.serve import runtime

PEER = "transformers.Trainer"
TESTED_TEMPLATES = 0.3
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """Rows to draw the training rows from, test rows, and the rest of the need.

    Args:
        data: Further keys of the need's `data`.
        accept: Criteria; they only decide when the climb stops.
    """

    pool: list[Row]
    test: list[Row]
    data: dict[str, Any]
    accept: list[str]


@dataclass(frozen=True, slots=True)
class Run:
    """How one side did with one seed.

    Args:
        right: Of each test row, whether it was answered rightly.
        fit_seconds: From the imports' end to the fitted model.
        seconds: From exec to exit, with the score known.
        detail: What else the side told.
    """

    right: list[bool]
    fit_seconds: float
    seconds: float
    detail: dict[str, Any]


def reviews() -> Problem:
    folder = ROOT / "examples" / "reviews"
    pool, test = _read(folder / "reviews.csv"), _read(folder / "test.csv")
    return Problem(pool, test, {}, ["accuracy >= 0.77", "size_mb <= 60"])


def intents() -> Problem:
    rows = [r for r in _read(ROOT / "examples" / "intents" / "intents.csv") if r["lang"] == "en"]
    # Sentences of one template are alike, so whole templates are held out, some of every label.
    draw, tested = random.Random(0), set[str]()
    for label in sorted({r["label"] for r in rows}):
        templates = sorted({r["template"] for r in rows if r["label"] == label})
        tested |= set(draw.sample(templates, max(1, round(TESTED_TEMPLATES * len(templates)))))
    return Problem(
        [r for r in rows if r["template"] not in tested],
        [r for r in rows if r["template"] in tested],
        {"group": "template", "near_duplicates": False},
        ["accuracy >= 0.80", "size_mb <= 60"],
    )


PROBLEMS: dict[str, Callable[[], Problem]] = {"reviews": reviews, "intents": intents}


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peer-seeds", type=int, default=2)
    parser.add_argument("--methods", nargs="+", default=["head"], help="what ours may climb")
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    options = parser.parse_args()
    lines: list[Line] = []
    detail: dict[str, Any] = {"rows": options.rows, "methods": options.methods}
    for name in options.problems:
        problem = PROBLEMS[name]()
        if len(problem.pool) < options.rows:
            parser.error(f"{name} has {len(problem.pool):,} training rows, not {options.rows:,}")
        runs = _compete(name, problem, options)
        lines += _summary(f"{name}, {options.rows:,} rows", runs)
        detail[name] = {"test_rows": len(problem.test)} | {
            side: [{**asdict(run), "right": sum(run.right)} for run in found]
            for side, found in runs.items()
        }
    finish("score_time", facts, lines, detail)


def _compete(name: str, problem: Problem, options: argparse.Namespace) -> dict[str, list[Run]]:
    sides = {"ours": options.seeds, "peer": options.peer_seeds}
    runs: dict[str, list[Run]] = {side: [] for side in sides}
    for seed, side in alternate(list(sides), max(sides.values())):
        if seed >= sides[side]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = _prepare(Path(folder), (name, problem), options, seed)[side]
            runs[side].append(_one(command, problem))
        last = runs[side][-1]
        print(
            f"{name}, seed {seed}, {side}: accuracy {np.mean(last.right):.3f}, "
            f"fitted in {last.fit_seconds:.1f} s, {last.seconds:.1f} s in all",
            flush=True,
        )
    return runs


def _prepare(
    folder: Path, named: tuple[str, Problem], options: argparse.Namespace, seed: int
) -> dict[str, list[str]]:
    """Write the rows and the need; the command of each side."""
    name, problem = named
    drawn = random.Random(seed).sample(problem.pool, options.rows)
    train, test, need = folder / "train.csv", folder / "test.csv", folder / "need.yaml"
    _write(train, drawn)
    _write(test, problem.test)
    asked = {
        "name": name,
        "task": "text_classification",
        "data": {
            "train": train.name,
            "test": test.name,
            "text": "text",
            "label": "label",
            **problem.data,
        },
        "accept": problem.accept,
        "prefer": {"backbones": ["minilm"]},
        "seed": seed,
    }
    need.write_text(json.dumps(asked), encoding="utf-8")  # JSON is YAML
    ours = ["benchmarks._need_run", str(need), str(folder), *options.methods]
    model = find_backbone("minilm").path
    peer = ["benchmarks._plain_trainer", model, str(train), str(test), str(seed)]
    return {"ours": ours, "peer": peer}


def _one(command: list[str], problem: Problem) -> Run:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as cache:
        # Tokenised rows that an earlier run of the peer left would be time saved.
        environment["HF_DATASETS_CACHE"] = cache
        began = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - began
    if ran.returncode:
        raise SystemExit(f"{command[0]} failed:\n{ran.stderr[-4000:]}")
    told = json.loads(ran.stdout.splitlines()[-1])
    answers = told.pop("answers", None) or _answers(told.pop("bundle"), problem)
    right = [a == row["label"] for a, row in zip(answers, problem.test, strict=True)]
    return Run(right, told.pop("fit_seconds"), seconds, told)


def _answers(bundle: str, problem: Problem) -> list[str]:
    """The bundle's answers again, row by row; its verdict was part of what was timed."""
    served = runtime.load(bundle, unreleased="allow")
    return [answer["best"] for answer in served.predict([row["text"] for row in problem.test])]


def _summary(where: str, runs: dict[str, list[Run]]) -> list[Line]:
    lines: list[Line] = []
    right = {side: np.array([run.right for run in found], float) for side, found in runs.items()}
    for side, found in runs.items():
        if not found:
            continue
        who = PEER if side == "peer" else "ours"
        score = spread([100 * float(np.mean(run.right)) for run in found])
        lines += [
            Line.of(f"Accuracy, {where}: {who}; median, lowest, highest seed", score, "%"),
            Line.of(f"Fitting, {where}: {who}", spread([r.fit_seconds for r in found]), "s"),
            Line.of(f"Exec to score, {where}: {who}", spread([r.seconds for r in found]), "s"),
        ]
    if runs["ours"] and runs["peer"]:
        mine, other = runs["ours"], runs["peer"]
        fit = faster([r.fit_seconds for r in mine], [r.fit_seconds for r in other])
        whole = faster([r.seconds for r in mine], [r.seconds for r in other])
        lines += [
            Line.of(
                f"Accuracy gained, {where}",
                _gained(right["ours"], right["peer"]),
                "points",
                against=PEER,
            ),
            Line.of(f"Faster to a fitted model, {where}", fit, "times", against=PEER),
            Line.of(f"Faster from exec to score, {where}", whole, "times", against=PEER),
        ]
    return lines


def _gained(ours: np.ndarray, peer: np.ndarray) -> Interval:
    """Percentage points; seeds of each side and test rows are drawn anew, the rows in common.

    Args:
        ours: (seeds, test rows), 1 where right.
        peer: Likewise.
    """
    rows = np.arange(ours.shape[1])
    return bootstrap(
        [ours, peer, rows],
        lambda parts: 100 * float(parts[0][:, parts[2]].mean() - parts[1][:, parts[2]].mean()),
    )


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
