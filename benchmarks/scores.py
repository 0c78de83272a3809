# pyright: reportAttributeAccessIssue=false
"""Numbers and levels: a need's run against what people write, in score and in time.

    python -m benchmarks.scores [--rows 1000] [--seeds 3] [--peer-seeds 1] [--methods head]

Two examples: how short texts feel (a number; Spearman's correlation counts) and opinions on five
levels (quadratic weighted kappa). A seed draws the training rows, the same for all sides, which
answer the same 800 test rows; every side is a fresh process with nothing cached. *Ours* is
`sartor run` on MiniLM with the methods given, from exec to the verdict on an int8 bundle; *trainer*
and *tfidf* are those of `_score_peer.py`, from exec to the answers. About ten minutes on two cores.
"""

import csv
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

import numpy as np
from benchmarks._harness import (
    ROOT,
    Line,
    alternate,
    arguments,
    faster,
    finish,
    gate,
    machine,
    spread,
)
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from sartor.models.catalogue import find_backbone
from sartor.serve import runtime

TESTED = 800
SARTOR = "from sartor.cli import main; main()"
LEVELS = ("very_bad", "bad", "neutral", "good", "very_good")
PEERS = {"trainer": "transformers.Trainer", "tfidf": "TF-IDF and a linear model"}
SAME = 0.02
"""Of the score: a time counts where ours is no more than this below the peer's."""


@dataclass(frozen=True, slots=True)
class Case:
    """An example.

    Args:
        name: Of its folder.
        file: In it.
        column: Of the answers.
        task: Its name.
        criterion: What ours is asked for.
        levels: In their order; none for numbers.
    """

    name: str
    file: str
    column: str
    task: str
    criterion: str
    levels: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, str]]:
        path = ROOT / "examples" / self.name / self.file
        with path.open(encoding="utf-8", newline="") as file:
            found = {row["text"]: row[self.column] for row in csv.DictReader(file)}
        return [{"text": text, "answer": answer} for text, answer in found.items()]

    def score(self, truth: list[str], said: list[float]) -> float:
        if not self.levels:
            return float(spearmanr(list(map(float, truth)), said).statistic)
        places = [self.levels.index(answer) for answer in truth]
        order = list(range(len(self.levels)))
        return float(
            cohen_kappa_score(places, np.array(said, int), labels=order, weights="quadratic")
        )


CASES = (
    Case("mood", "tweets.csv", "rating", "text_regression", "spearman >= 0.6"),
    Case(
        "opinions",
        "opinions.csv",
        "opinion",
        "ordinal",
        "quadratic_weighted_kappa >= 0.5",
        LEVELS,
    ),
)


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peer-seeds", type=int, default=1)
    parser.add_argument("--methods", nargs="+", default=["head"], help="what ours may climb")
    options = parser.parse_args()
    lines: list[Line] = []
    detail: dict[str, Any] = {"methods": options.methods, "rows": options.rows}
    for case in CASES:
        rounds = {"ours": options.seeds, **dict.fromkeys(PEERS, options.peer_seeds)}
        found: dict[str, list[tuple[float, float]]] = {side: [] for side in rounds}
        for seed, side in alternate(list(rounds), max(rounds.values())):
            if seed < rounds[side]:
                found[side].append(_one(case, side, seed, (options.rows, options.methods)))
                print(case.name, side, seed, found[side][-1], flush=True)
        lines += _summary(case, found)
        detail[case.name] = found
    finish("scores", facts, lines, detail)


def _one(case: Case, side: str, seed: int, how: tuple[int, list[str]]) -> tuple[float, float]:
    """(score on the test rows, seconds)."""
    count, methods = how
    rows = case.rows()
    random.Random(0).shuffle(rows)
    test, pool = rows[:TESTED], rows[TESTED:]
    train = random.Random(seed).sample(pool, min(count, len(pool)))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, some in (("train.csv", train), ("test.csv", test)):
            with (folder / name).open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, ["text", "answer"], lineterminator="\n")
                writer.writeheader()
                writer.writerows(some)
        began = time.perf_counter()
        if side == "ours":
            answers = _ours(case, folder, seed, methods)
            seconds = answers.pop("seconds")
            said = [answers["of"][row["text"]] for row in test]
        else:
            peer = ["benchmarks._score_peer", side, find_backbone("minilm").path]
            told = _run(["-m", *peer, "train.csv", "test.csv", str(seed), *case.levels], folder)
            seconds, said = time.perf_counter() - began, json.loads(told)["answers"]
    return case.score([row["answer"] for row in test], said), seconds


def _ours(case: Case, folder: Path, seed: int, methods: list[str]) -> dict[str, Any]:
    labels = [f"  labels: [{', '.join(case.levels)}]"] if case.levels else []
    need = [
        f"name: {case.name}",
        f"task: {case.task}",
        "data:",
        "  train: train.csv",
        "  test: test.csv",
        "  text: text",
        "  label: answer",
        # All sides answer the same rows: none goes for being near another.
        "  near_duplicates: false",
        *labels,
        f"accept: [{case.criterion!r}, size_mb <= 60]",
        f"prefer: {{backbones: [minilm], methods: [{', '.join(methods)}]}}",
        f"seed: {seed}",
    ]
    (folder / "need.yaml").write_text("\n".join(need) + "\n")
    began = time.perf_counter()
    outcome = json.loads(_run(["-c", SARTOR, "run", "need.yaml", "--json"], folder, (0, 1)))
    seconds = time.perf_counter() - began
    bundle = runtime.load(folder / outcome["bundle"], unreleased="allow")
    with (folder / "test.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    said = [
        float(case.levels.index(answer["best"])) if case.levels else float(answer["value"])
        for answer in bundle.predict([{"text": text} for text in texts])
    ]
    return {"seconds": seconds, "of": dict(zip(texts, said, strict=True))}


def _run(words: list[str], folder: Path, fine: tuple[int, ...] = (0,)) -> str:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode not in fine:
        raise SystemExit(f"{' '.join(words[:3])} failed:\n{ran.stderr}")
    return ran.stdout


def _summary(case: Case, found: dict[str, list[tuple[float, float]]]) -> list[Line]:
    metric = "kappa" if case.levels else "Spearman"
    ours = [score for score, _ in found["ours"]]
    lines = [
        Line.of(
            f"{case.name}: {metric} on {TESTED} rows; median, lowest, highest", spread(ours), ""
        )
    ]
    for side, peer in PEERS.items():
        if not found[side]:
            continue
        theirs = [score for score, _ in found[side]]
        lines.append(
            Line.of(f"{case.name}: {metric} of the peer", spread(theirs), "", against=peer)
        )
        behind = float(np.median(theirs) - np.median(ours))
        fault = gate(behind <= SAME, f"ours is {behind:.3f} below")
        times = [[seconds for _, seconds in found[name]] for name in ("ours", side)]
        lines.append(
            Line.of(
                f"{case.name}: exec to score, times less time{fault}",
                faster(*times),
                "times",
                against=peer,
            )
        )
    return lines


if __name__ == "__main__":
    main()
