"""Labels to a model: score and time, a need's run against the scripts that people write.

    python -m benchmarks.score_time [--cases trainer/reviews/1000 …] [--seeds 5] [--peer-seeds 2]

A case names a peer, a task and its training rows: `1000` drawn at random, or `8a` of each class;
behind another slash, which method ours climbs in place of the frozen head.
Three tasks: product reviews (2 labels, their own test file), intents (20 labels; the English rows
only, since MiniLM reads no Chinese; whole templates are kept for the test) and Chinese reviews (2
labels). A seed draws the training rows, the same for both sides, and seeds everything after. Both
sides use one backbone (MiniLM, or E5 for Chinese), both are a fresh process with nothing cached,
and both answer the same test rows.

- *Ours*: `sartor run` with the methods given (the frozen head), or the case's own. Of the training
  rows it keeps its own validation rows. It ends with a verdict on an int8 bundle, and that bundle's
  answers count.
- *trainer*: `_plain_trainer.py`, `transformers.Trainer` with padding to 128, batch 32, learning
  rate 2e-5 and 3 epochs on all the rows.
- *tuned*: the same script as somebody who knows the model would run it: padding to the longest of
  the batch, batch 16, learning rate 1e-4.
- *setfit*: `_setfit_peer.py`, SetFit with its defaults; `--setfit` names a Python that has it.
- *autogluon*: `_autogluon_peer.py`, AutoGluon-Multimodal with its defaults on the same backbone;
  `--autogluon` names a Python that has it.

Two times: until the model is fitted (ours with its decision rule; no test row was read), and from
the start of the process to its end with the score known (ours with export, int8, parity, bundle
and verdict besides). Takes about an hour on two cores, nearly all of it the peers'.
"""

import argparse
import csv
import json
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._against_plain import as_transformers_reads
from benchmarks._harness import (
    RESULTS,
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
    told_by,
)

from sartor.serve import runtime

PEERS = {
    "trainer": "transformers.Trainer",
    "tuned": "transformers.Trainer, tuned",
    "setfit": "SetFit 1.2",
    "autogluon": "AutoGluon-Multimodal 1.6",
}
SCRIPTS = {"setfit": "_setfit_peer.py", "autogluon": "_autogluon_peer.py"}
"""Of the peers that need a Python of their own."""
CASES = [
    *(f"{peer}/{task}/1000" for task in ("reviews", "intents") for peer in ("trainer", "tuned")),
    *(f"trainer/{case}" for case in ("reviews/64", "intents/8a", "chinese_reviews/64")),
    *(f"setfit/{task}/8a" for task in ("reviews", "intents", "chinese_reviews")),
    "setfit/intents/8a/contrastive",
    "setfit/reviews/64a",
    "autogluon/reviews/64",
    "autogluon/intents/8a",
]
TESTED_TEMPLATES = 0.3
TESTED_CHINESE = 1000
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """Rows to draw the training rows from, test rows, and the rest of the need.

    Args:
        data: Further keys of the need's `data`.
        accept: Criteria; they only decide when the climb stops.
        backbone: What both sides start from.
    """

    pool: list[Row]
    test: list[Row]
    data: dict[str, Any]
    accept: list[str]
    backbone: str = "minilm"


@dataclass(frozen=True, slots=True)
class Case:
    """A peer, a task, and how many rows to learn from: in all, or of each class.

    `method` is what ours climbs, if it is named.
    """

    peer: str
    task: str
    rows: int
    each: bool
    method: str = ""

    @staticmethod
    def read(text: str) -> "Case":
        peer, task, rows, *method = text.split("/")
        if peer not in PEERS or task not in PROBLEMS or not rows.removesuffix("a").isdigit():
            raise SystemExit(f"{text} is no case; write {' or '.join(CASES[::4])}")
        return Case(peer, task, int(rows.removesuffix("a")), rows.endswith("a"), *method)

    def draw(self, pool: list[Row], seed: int) -> list[Row]:
        """Training rows, the same for both sides."""
        random_rows = random.Random(seed)
        if not self.each:
            return random_rows.sample(pool, self.rows)
        drawn: list[Row] = []
        for label in sorted({row["label"] for row in pool}):
            members = [row for row in pool if row["label"] == label]
            drawn += random_rows.sample(members, self.rows)
        random_rows.shuffle(drawn)
        return drawn

    def where(self) -> str:
        rows = f"{self.task.replace('_', ' ')}, {self.rows:,} rows{' a class' * self.each}"
        return f"{rows}, {self.method}" if self.method else rows


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
    pool, test = read_rows(folder / "reviews.csv"), read_rows(folder / "test.csv")
    return Problem(pool, test, {}, ["accuracy >= 0.77", "size_mb <= 60"])


def intents() -> Problem:
    rows = [
        r for r in read_rows(ROOT / "examples" / "intents" / "intents.csv") if r["lang"] == "en"
    ]
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


def chinese_reviews() -> Problem:
    rows = read_rows(ROOT / "examples" / "chinese_reviews" / "chinese_reviews.csv")
    random.Random(0).shuffle(rows)
    test, pool = rows[:TESTED_CHINESE], rows[TESTED_CHINESE:]
    return Problem(pool, test, {}, ["accuracy >= 0.75", "size_mb <= 150"], "e5_small")


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "reviews": reviews,
    "intents": intents,
    "chinese_reviews": chinese_reviews,
}


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peer-seeds", type=int, default=2)
    parser.add_argument("--methods", nargs="+", default=["head"], help="what ours may climb")
    parser.add_argument("--setfit", default=sys.executable, help="a Python that has setfit")
    parser.add_argument("--autogluon", default=sys.executable, help="a Python that has autogluon")
    parser.add_argument("--keep", action="store_true", help="other cases' recorded lines too")
    options = parser.parse_args()
    lines, detail = _recorded(options.cases) if options.keep else ([], {})
    detail["methods"] = options.methods
    ours: dict[str, list[Run]] = {}
    for text in options.cases:
        case = Case.read(text)
        problem = PROBLEMS[case.task]()
        runs = _compete(case, problem, options, ours.get(case.where(), []))
        lines += _summary(case, runs, known=case.where() in ours)
        ours[case.where()] = runs["ours"]
        detail[text] = {"test_rows": len(problem.test)} | {
            side: [{**asdict(run), "right": sum(run.right)} for run in found]
            for side, found in runs.items()
        }
        # After every case: an interrupted hour leaves what it measured.
        finish("score_time", facts, lines, detail)


def _recorded(cases: list[str]) -> tuple[list[Line], dict[str, Any]]:
    """Lines and detail of the result file that no case of now measures again.

    The machine of an earlier run stays in the detail, under `earlier`.
    """
    place = RESULTS / "score_time.json"
    if not place.exists():
        return [], {}
    found = json.loads(place.read_text(encoding="utf-8"))
    again = [(case.where(), PEERS[case.peer]) for case in map(Case.read, cases)]
    lines = [Line(**line) for line in found.pop("lines")]
    kept = [line for line in lines if not any(_tells(line, *one) for one in again)]
    found["earlier"] = [*found.get("earlier", []), found.pop("machine")]
    return kept, found


def _tells(line: Line, where: str, peer: str) -> bool:
    """Whether a recorded line is of these rows, and of ours or of this peer."""
    about, _, who = line.what.split(", ", 1)[1].partition(": ")
    side = line.against or who.split(";")[0]
    return about == where and side in ("ours", peer)


def _compete(
    case: Case, problem: Problem, options: argparse.Namespace, known: list[Run]
) -> dict[str, list[Run]]:
    """Runs of both sides; ours only once where two peers race on the same rows."""
    sides = {"ours": 0 if known else options.seeds, "peer": options.peer_seeds}
    runs: dict[str, list[Run]] = {"ours": list(known), "peer": []}
    for seed, side in alternate(list(sides), max(sides.values())):
        if seed >= sides[side]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = _prepare(Path(folder), (case, problem), options, seed)[side]
            runs[side].append(_one(command, problem))
        last = runs[side][-1]
        print(
            f"{case.where()}, seed {seed}, {case.peer if side == 'peer' else side}: accuracy "
            f"{np.mean(last.right):.3f}, fitted in {last.fit_seconds:.1f} s, "
            f"{last.seconds:.1f} s in all",
            flush=True,
        )
    return runs


def _prepare(
    folder: Path, raced: tuple[Case, Problem], options: argparse.Namespace, seed: int
) -> dict[str, list[str]]:
    """Write the rows and the need; the command of each side."""
    case, problem = raced
    train, test, need = folder / "train.csv", folder / "test.csv", folder / "need.yaml"
    write_rows(train, case.draw(problem.pool, seed))
    write_rows(test, problem.test)
    asked = {
        "name": case.task.replace("_", "-"),
        "task": "text_classification",
        "data": {
            "train": train.name,
            "test": test.name,
            "text": "text",
            "label": "label",
            **problem.data,
        },
        "accept": problem.accept,
        "prefer": {"backbones": [problem.backbone]},
        "seed": seed,
    }
    need.write_text(json.dumps(asked), encoding="utf-8")  # JSON is YAML
    run = [sys.executable, "-m", "benchmarks._need_run", str(need), str(folder)]
    model = as_transformers_reads(problem.backbone, folder)
    given = [model, str(train), str(test), str(seed)]
    script = [sys.executable, "-m", "benchmarks._plain_trainer", *given]
    peers = {
        "trainer": script,
        "tuned": [*script, "tuned"],
        **{
            name: [vars(options)[name], str(ROOT / "benchmarks" / script), *given]
            for name, script in SCRIPTS.items()
        },
    }
    methods = [case.method] if case.method else options.methods
    return {"ours": [*run, *methods], "peer": peers[case.peer]}


def _one(command: list[str], problem: Problem) -> Run:
    with tempfile.TemporaryDirectory() as cache:
        # Tokenised rows that an earlier run of the peer left would be time saved.
        told, seconds = told_by(command, {"HF_DATASETS_CACHE": cache})
    answers = told.pop("answers", None) or _answers(told.pop("bundle"), problem)
    right = [a == row["label"] for a, row in zip(answers, problem.test, strict=True)]
    return Run(right, told.pop("fit_seconds"), seconds, told)


def _answers(bundle: str, problem: Problem) -> list[str]:
    """The bundle's answers again, row by row; its verdict was part of what was timed."""
    served = runtime.load(bundle, unreleased="allow")
    return [answer["best"] for answer in served.predict([row["text"] for row in problem.test])]


def _summary(case: Case, runs: dict[str, list[Run]], *, known: bool) -> list[Line]:
    lines: list[Line] = []
    where, peer = case.where(), PEERS[case.peer]
    right = {side: np.array([run.right for run in found], float) for side, found in runs.items()}
    for side, found in runs.items():
        if not found or (side == "ours" and known):
            continue
        who = peer if side == "peer" else "ours"
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
                against=peer,
            ),
            Line.of(f"Faster to a fitted model, {where}", fit, "times", against=peer),
            Line.of(f"Faster from exec to score, {where}", whole, "times", against=peer),
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


def read_rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
