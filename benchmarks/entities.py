"""Labelled parts of texts: score and time, a need's run against the script that people write.

    python -m benchmarks.entities [--methods head full] [--news FILE] [--seeds 3]

Two tasks: the slots of examples/slots, English and Chinese, whole templates held out for the test;
and where `--news` names what examples/people_daily/convert.py wrote, persons, places and
organisations in 2,000 sentences of Chinese news, 1,000 others for the test. A seed draws the
training rows, the same for both sides, and seeds everything after. Both sides start from
E5 small, are a fresh process with nothing cached, and answer the same test rows.

- *Ours*: `sartor run` with one method of the ladder at a time. It keeps its own validation rows of
  the training rows, and ends with a verdict on an int8 bundle; that bundle's answers count.
- *plain*: `_plain_tagger.py`, `transformers.Trainer` on the whole model for 3 epochs.

The score is the F1 of parts whose edges and label are right, over all labels. Two times: until the
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

BACKBONE = "e5_small"
PLAIN = "transformers.Trainer"
TESTED_TEMPLATES = 0.3
NEWS = (2_000, 1_000)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """How one side did with one seed: F1, and seconds to a fitted model and to the score."""

    f1: float
    fit_seconds: float
    seconds: float


def slots(seed: int) -> tuple[list[Row], list[Row]]:
    """Training and test rows; no template is on both sides."""
    lines = (ROOT / "examples" / "slots" / "slots.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    names = sorted({row["template"] for row in rows})
    held = set(random.Random(0).sample(names, round(TESTED_TEMPLATES * len(names))))
    train = [row for row in rows if row["template"] not in held]
    random.Random(seed).shuffle(train)
    return _plain(train, "slots"), _plain([r for r in rows if r["template"] in held], "slots")


def news(file: Path, seed: int) -> tuple[list[Row], list[Row]]:
    """Training and test rows of sentences that name something or not, up to 200 characters."""
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    rows = [row for row in rows if 10 <= len(row["text"]) <= 200]
    random.Random(0).shuffle(rows)
    test, pool = rows[: NEWS[1]], rows[NEWS[1] :]
    return _plain(random.Random(seed).sample(pool, NEWS[0]), "entities"), _plain(test, "entities")


def _plain(rows: list[Row], column: str) -> list[Row]:
    return [
        {
            "text": row["text"],
            "parts": [[p["start"], p["end"], p["label"]] for p in row[column]],
            "template": row.get("template", ""),
        }
        for row in rows
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--methods", nargs="+", default=["head", "full"])
    parser.add_argument("--news", type=Path, help="what examples/people_daily/convert.py wrote")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    facts = machine()
    tasks = {"slots": slots}
    if given.news is not None:
        tasks["news"] = lambda seed: news(given.news, seed)
    lines: list[Line] = []
    detail: dict[str, Any] = {}
    for task, draw in tasks.items():
        runs: dict[str, list[Run]] = {side: [] for side in (*given.methods, PLAIN)}
        for seed in range(given.seeds):
            train, test = draw(seed)
            sides = list(runs) if seed % 2 == 0 else list(reversed(runs))
            for side in sides:
                runs[side].append(_one(side, train, test, seed))
                print(f"{task}, seed {seed}, {side}: {runs[side][-1]}", flush=True)
        lines += _lines(task, runs)
        detail[task] = {side: [list(_values(run)) for run in found] for side, found in runs.items()}
    finish("entities", facts, lines, {"runs": detail})


def _values(run: Run) -> tuple[float, float, float]:
    return run.f1, run.fit_seconds, run.seconds


def _one(side: str, train: list[Row], test: list[Row], seed: int) -> Run:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, rows in (("train", train), ("test", test)):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        if side == PLAIN:
            files = [str(folder / f"{name}.jsonl") for name in ("train", "test")]
            model = find_backbone(BACKBONE).path
            command = [sys.executable, "-m", "benchmarks._plain_tagger", model, *files, str(seed)]
        else:
            (folder / "need.yaml").write_text(json.dumps(_need(bool(train[0]["template"]), seed)))
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
        answers = told.get("answers") or _answers(told["bundle"], test)
    return Run(_f1(answers, test), told["fit_seconds"], seconds)


def _need(grouped: bool, seed: int) -> dict[str, Any]:
    return {
        "name": "entities",
        "task": "token_classification",
        "data": {
            "train": "train.jsonl",
            "test": "test.jsonl",
            "text": "text",
            "label": "parts",
            "near_duplicates": False,
            **({"group": "template"} if grouped else {}),
        },
        "accept": ["f1_micro >= 0.99", "size_mb <= 150"],
        "prefer": {"backbones": [BACKBONE], "ensemble": False},
        "seed": seed,
    }


def _answers(bundle: str, test: list[Row]) -> list[list[Any]]:
    served = runtime.load(bundle, unreleased="allow")
    return [
        [[e["start"], e["end"], e["label"]] for e in answer["entities"]]
        for answer in served.predict([row["text"] for row in test])
    ]


def _f1(answers: list[list[Any]], test: list[Row]) -> float:
    """Of parts whose edges and label are right."""
    pairs = [
        ({tuple(p) for p in said}, {tuple(p) for p in row["parts"]})
        for said, row in zip(answers, test, strict=True)
    ]
    hits = sum(len(said & true) for said, true in pairs)
    return 2 * hits / max(sum(len(said) + len(true) for said, true in pairs), 1)


def _lines(task: str, runs: dict[str, list[Run]]) -> list[Line]:
    lines: list[Line] = []
    for side, found in runs.items():
        who = PLAIN if side == PLAIN else f"ours, {side}"
        lines += [
            Line.of(
                f"F1, {task}: {who}; median, lowest, highest seed",
                spread([100 * run.f1 for run in found]),
                "%",
            ),
            Line.of(f"Fitting, {task}: {who}", spread([r.fit_seconds for r in found]), "s"),
        ]
    for side, found in runs.items():
        if side == PLAIN:
            continue
        quick = faster([r.fit_seconds for r in found], [r.fit_seconds for r in runs[PLAIN]])
        lines.append(
            Line.of(f"Faster to a fitted model, {task}: {side}", quick, "times", against=PLAIN)
        )
    return lines


if __name__ == "__main__":
    main()
