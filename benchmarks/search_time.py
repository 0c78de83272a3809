"""Search: time to the score that 32 trials of Optuna around the stock Trainer reach.

    python -m benchmarks.search_time [--rounds 5] [--methods METHOD …] [--any-machine]
    python -m benchmarks.search_time --record [--trials 32]

300 training rows and 200 validation rows of the reviews, texts cut at 64 tokens in the files
themselves, the same files for both sides; the 1,000 test rows score what each side chose on the
validation rows. Backbone (MiniLM), cores and threads are the same.

- *The peer*, `_optuna_peer.py`: TPE and Hyperband over learning rate, epochs, batch size, weight
  decay and warm-up of `transformers.Trainer`. It takes long, so it is run once with --record and
  its trace is kept, machine and all, in results/search_time_peer.json. Its clock stands while it
  answers test rows, and starts after its imports.
- *Ours*: `sartor run` in a fresh process and workspace, asked for the accuracy that the peer's best
  trial had on the test rows, less half a point; the seed differs from round to round. Its clock
  starts after its imports too, and stops when the final choice stands.

A trace of another processor is refused, since the ratio would be that of two machines. Ours is
compared with the whole of the peer's search, as somebody who waits for its 32 trials sees it; and,
which is stricter, with the moment from which on the peer's best trial so far was as good as the one
it ended with. The peer was run once, so the interval knows only the spread of our rounds. A ratio
counts only where our median score is at least the peer's, less half a point. Recording takes about
25 minutes on two quiet cores; five rounds of ours 17.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import (
    RESULTS,
    ROOT,
    Line,
    arguments,
    finish,
    gate,
    machine,
    median_ratio,
    spread,
)
from benchmarks.score_time import read_rows, write_rows

from sartor.core.hashing import digest
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.serve import runtime

TRAIN, VALIDATION, LONGEST, TRIALS = 300, 200, 64, 32
NEAR = 0.005
"""Accuracy within which two scores count as the same."""
TRACE = RESULTS / "search_time_peer.json"
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Sides:
    """Rows by the side they stand on."""

    train: list[Row]
    validation: list[Row]
    test: list[Row]

    def write(self, folder: Path) -> list[str]:
        names = ("train.csv", "validation.csv", "test.csv")
        for name, rows in zip(names, (self.train, self.validation, self.test), strict=True):
            write_rows(folder / name, rows)
        return [str(folder / name) for name in names]

    def fingerprint(self) -> str:
        return digest(self.train, self.validation, self.test)


@dataclass(frozen=True, slots=True)
class Trace:
    """What the peer's search left.

    Args:
        seconds: Of the whole search.
        test: Accuracy of its choice on the test rows.
        soonest: Seconds until its best trial so far first was within `NEAR` of that, to stay.
        trials: How many.
    """

    seconds: float
    test: float
    soonest: float
    trials: int

    @staticmethod
    def of(trials: Sequence[dict[str, Any]]) -> "Trace":
        chosen, best = [], None
        for trial in trials:
            if trial["validation"] is not None and (
                best is None or trial["validation"] > best["validation"]
            ):
                best = trial
            chosen.append(best["test"] if best else 0.0)
        if best is None:
            raise SystemExit("no trial of the peer was finished: give it more --trials")
        short = [i for i, test in enumerate(chosen) if test < best["test"] - NEAR]
        stays = max(short) + 1 if short else 0
        return Trace(trials[-1]["at"], best["test"], trials[stays]["at"], len(trials))


@dataclass(frozen=True, slots=True)
class Found:
    """One round of ours.

    Args:
        seconds: Until the final choice stood.
        whole: Until the bundle had its verdict, export and int8 included.
        test: Accuracy of the bundle on the test rows.
        tried: What the climb measured.
        choice: What was chosen, in the words of the run.
    """

    seconds: float
    whole: float
    test: float
    tried: list[str]
    choice: str


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--record", action="store_true", help="run the peer and keep its trace")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of the peer, with --record")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=[], help="that ours may climb; default all")
    parser.add_argument("--any-machine", action="store_true", help="take a trace of another one")
    options = parser.parse_args()
    sides = draw()
    if options.record:
        record(sides, facts, options.trials)
    else:
        compete(sides, recorded(sides, facts, options.any_machine), facts, options)


def draw() -> Sides:
    """The same rows every time, each text cut where its 64 tokens end."""
    folder = ROOT / "examples" / "reviews"
    _, tokenizer = load_text_backbone(find_backbone("minilm"))
    tokenizer.enable_truncation(LONGEST)

    def cut(rows: list[Row]) -> list[Row]:
        found = tokenizer.encode_batch([row["text"] for row in rows])
        ends = [max(end for _, end in each.offsets) for each in found]
        return [
            {"text": row["text"][:end], "label": row["label"]}
            for row, end in zip(rows, ends, strict=True)
        ]

    test = cut(read_rows(folder / "test.csv"))
    # A text that stands twice would fall on both sides, or be dropped on one of them.
    tested = {row["text"] for row in test}
    pool = {r["text"]: r for r in cut(read_rows(folder / "reviews.csv")) if r["text"] not in tested}
    drawn = random.Random(0).sample(list(pool.values()), TRAIN + VALIDATION)
    return Sides(drawn[:TRAIN], drawn[TRAIN:], test)


def record(sides: Sides, facts: dict[str, Any], trials: int) -> None:
    """Run the peer and write its trace."""
    with tempfile.TemporaryDirectory() as folder:
        files = sides.write(Path(folder))
        command = [sys.executable, "-m", "benchmarks._optuna_peer", find_backbone("minilm").path]
        told = _ask([*command, *files, "0", str(trials)], show=True)
    trace = {"rows": sides.fingerprint(), **told, "machine": facts}
    TRACE.write_text(json.dumps(trace, indent=1) + "\n", encoding="utf-8")
    found = Trace.of(told["trials"])
    print(f"{trials} trials in {found.seconds:.0f} s: {found.test:.3f} on the test rows")


def recorded(sides: Sides, facts: dict[str, Any], any_machine: bool) -> dict[str, Any]:
    """The committed trace, if it is of these rows and this machine."""
    again = "record one here with --record"
    if not TRACE.exists():
        raise SystemExit(f"{TRACE.name} is not there: {again}")
    trace = json.loads(TRACE.read_text(encoding="utf-8"))
    if trace["rows"] != sides.fingerprint():
        raise SystemExit(f"the trace is of other rows: {again}")
    for what in ("processor", "cores", "instructions"):
        # Older traces do not say which instructions there were.
        if trace["machine"].get(what, facts[what]) != facts[what] and not any_machine:
            raise SystemExit(
                f"the trace has {what} {trace['machine'][what]!r} and this machine has "
                f"{facts[what]!r}: {again}, or take it all the same with --any-machine"
            )
    return trace


def compete(
    sides: Sides, trace: dict[str, Any], facts: dict[str, Any], options: argparse.Namespace
) -> None:
    peer = Trace.of(trace["trials"])
    rounds: list[Found] = []
    for seed in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(_ours(sides, Path(folder), (peer.test - NEAR, seed), options.methods))
        last = rounds[-1]
        print(
            f"round {seed + 1}: {last.test:.3f} on the test rows, after {last.seconds:.1f} s",
            flush=True,
        )
    detail = {
        "peer": asdict(peer),
        "peer_machine": trace["machine"],
        "methods": options.methods,
        "rounds": [asdict(found) for found in rounds],
    }
    finish("search_time", facts, summary(peer, rounds), detail)


def summary(peer: Trace, rounds: Sequence[Found]) -> list[Line]:
    who = f"Optuna, {peer.trials} trials of the Trainer"
    seconds = [found.seconds for found in rounds]
    scores = [100 * found.test for found in rounds]
    met = gate(float(np.median(scores)) >= 100 * (peer.test - NEAR), "our score is lower")
    ratio = median_ratio([peer.seconds] * len(rounds), seconds)
    strict = median_ratio([peer.soonest] * len(rounds), seconds)
    return [
        Line("Search on 300 rows, accuracy of the choice: " + who, 100 * peer.test, "%"),
        Line("Search on 300 rows, time: " + who, peer.seconds, "s"),
        Line.of(
            "Search on 300 rows, accuracy of the choice: ours; median, lowest, highest round",
            spread(scores),
            "%",
            goal=f"at least {100 * (peer.test - NEAR):.1f} %",
        ),
        Line.of("Search on 300 rows, time to the choice: ours", spread(seconds), "s"),
        Line.of(
            "Search on 300 rows, time to the verdict: ours", spread([r.whole for r in rounds]), "s"
        ),
        Line.of(f"Search faster{met}", ratio, "times", against=who, goal="at least 8×"),
        Line.of(f"Search faster{met}", strict, "times", against="the same, to when it first held"),
    ]


def _ours(sides: Sides, folder: Path, aim: tuple[float, int], methods: Sequence[str]) -> Found:
    score, seed = aim
    train, validation, test = (Path(name).name for name in sides.write(folder))
    asked = {
        "name": "reviews",
        "task": "text_classification",
        "data": {
            "train": train,
            "validation": validation,
            "test": test,
            "text": "text",
            "label": "label",
            "near_duplicates": False,
        },
        "accept": [f"accuracy >= {score:.4f}", "size_mb <= 60"],
        "prefer": {"backbones": ["minilm"]},
        "seed": seed,
    }
    need = folder / "need.yaml"
    need.write_text(json.dumps(asked), encoding="utf-8")  # JSON is YAML
    command = [sys.executable, "-m", "benchmarks._need_run", str(need), str(folder), *methods]
    told = _ask(command)
    served = runtime.load(told["bundle"], unreleased="allow")
    answers = served.predict([row["text"] for row in sides.test])
    right = [a["best"] == row["label"] for a, row in zip(answers, sides.test, strict=True)]
    return Found(
        told["chosen_seconds"],
        told["verdict_seconds"],
        float(np.mean(right)),
        told["tried"],
        told["choice"],
    )


def _ask(command: list[str], *, show: bool = False) -> dict[str, Any]:
    began = time.perf_counter()
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=None if show else subprocess.PIPE,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{(ran.stderr or '')[-4000:]}")
    return {**json.loads(ran.stdout.splitlines()[-1]), "exec_seconds": time.perf_counter() - began}


if __name__ == "__main__":
    main()
