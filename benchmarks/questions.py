"""Answers from a text: score and time, a need's run against the script that people write.

    python -m benchmarks.questions [--methods top_layers full] [--epochs 3] [--seeds 3]

The manual of examples/manual, English and Chinese, a third of its sections held out for the test;
its texts are made up, so the scores say how the two sides compare and little about real manuals. A
seed draws the order of the training rows, the same for both sides, and seeds everything after. Both
sides start from E5 small, are a fresh process with nothing cached, and answer the same test rows.

- *Ours*: `sartor run` with one method of the ladder at a time, `overlap` among them, which learns
  nothing. It keeps its own validation rows of the training rows, and ends with a verdict on an int8
  bundle; that bundle's answers count.
- *plain*: `_plain_reader.py`, `transformers.Trainer` on the whole model, as many epochs.

The scores are SQuAD's and CMRC's exact match and F1, by one and the same code. Two times: until the
model is fitted, and from the start of the process to its end with the score known.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._harness import ROOT, Line, arguments, faster, finish, machine, spread

from sartor.models.catalogue import find_backbone
from sartor.serve import runtime
from sartor.tasks.question_answering.likeness import exact_match, f1

BACKBONE = "e5_small"
PLAIN = "transformers.Trainer"
TESTED = 1 / 3
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """How one side did with one seed: scores, and seconds to a fitted model and to the score."""

    f1: float
    exact: float
    fit_seconds: float
    seconds: float


def manual(seed: int) -> tuple[list[Row], list[Row]]:
    """Training and test rows; no section is on both sides."""
    lines = (ROOT / "examples" / "manual" / "manual.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    sections = sorted({row["context"] for row in rows})
    held = set(random.Random(0).sample(sections, round(TESTED * len(sections))))
    train = [row for row in rows if row["context"] not in held]
    random.Random(seed).shuffle(train)
    return train, [row for row in rows if row["context"] in held]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--methods", nargs="+", default=["overlap", "top_layers", "full"])
    parser.add_argument("--epochs", type=int, default=3, help="of the plain script")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    facts = machine()
    runs: dict[str, list[Run]] = {side: [] for side in (*given.methods, PLAIN)}
    for seed in range(given.seeds):
        train, test = manual(seed)
        sides = list(runs) if seed % 2 == 0 else list(reversed(runs))
        for side in sides:
            runs[side].append(_one(side, (train, test), seed, given.epochs))
            print(f"seed {seed}, {side}: {runs[side][-1]}", flush=True)
    detail = {side: [list(_values(run)) for run in found] for side, found in runs.items()}
    finish("questions", facts, _lines(runs), {"runs": detail, "epochs": given.epochs})


def _values(run: Run) -> tuple[float, ...]:
    return run.f1, run.exact, run.fit_seconds, run.seconds


def _one(side: str, rows: tuple[list[Row], list[Row]], seed: int, epochs: int) -> Run:
    train, test = rows
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, some in (("train", train), ("test", test)):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        if side == PLAIN:
            files = [str(folder / f"{name}.jsonl") for name in ("train", "test")]
            plain = [sys.executable, "-m", "benchmarks._plain_reader"]
            command = [*plain, find_backbone(BACKBONE).path, *files, str(seed), str(epochs)]
        else:
            (folder / "need.yaml").write_text(json.dumps(_need(seed)))
            run = [sys.executable, "-m", "benchmarks._need_run", str(folder / "need.yaml")]
            command = [*run, str(folder), side]
        began = time.perf_counter()
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - began
        if ran.returncode:
            raise SystemExit(f"{command} failed:\n{ran.stderr[-4000:]}")
        told = json.loads(ran.stdout.splitlines()[-1])
        said = told.get("answers") or _answers(told["bundle"], test)
    right = [[answer["text"] for answer in row["answers"]] for row in test]
    pairs = list(zip(said, right, strict=True))
    return Run(
        sum(f1(*pair) for pair in pairs) / len(pairs),
        sum(exact_match(*pair) for pair in pairs) / len(pairs),
        told["fit_seconds"],
        seconds,
    )


def _need(seed: int) -> dict[str, Any]:
    return {
        "name": "questions",
        "task": "question_answering",
        "data": {
            "train": "train.jsonl",
            "test": "test.jsonl",
            "question": "question",
            "context": "context",
            "label": "answers",
            "near_duplicates": False,
        },
        "accept": ["f1 >= 0.99", "size_mb <= 150"],
        "prefer": {"backbones": [BACKBONE], "ensemble": False},
        "seed": seed,
    }


def _answers(bundle: str, test: list[Row]) -> list[str]:
    served = runtime.load(bundle, unreleased="allow")
    asked = [{name: row[name] for name in ("question", "context")} for row in test]
    return [answer["answer"] for answer in served.predict(asked)]


def _lines(runs: dict[str, list[Run]]) -> list[Line]:
    lines: list[Line] = []
    for side, found in runs.items():
        who = PLAIN if side == PLAIN else f"ours, {side}"
        lines += [
            Line.of(
                f"F1: {who}; median, lowest, highest seed", spread([100 * r.f1 for r in found]), "%"
            ),
            Line.of(f"Exact match: {who}", spread([100 * r.exact for r in found]), "%"),
            Line.of(f"Fitting: {who}", spread([r.fit_seconds for r in found]), "s"),
        ]
    for side, found in runs.items():
        if side == PLAIN:
            continue
        quick = faster([r.fit_seconds for r in found], [r.fit_seconds for r in runs[PLAIN]])
        lines.append(Line.of(f"Faster to a fitted model: {side}", quick, "times", against=PLAIN))
    return lines


if __name__ == "__main__":
    main()
