# pyright: reportFunctionMemberAccess=false
"""Requests a second at p99 ≤ 50 ms: our int8 bundle beside peers with the graph it was made of.

    python -m benchmarks.serving_compressed [--python PYTHON …] [--peers fastapi] [--form rows]
                                            [--seconds 6] [--rounds 5] [--longest 128]
                                            [--work FOLDER]

As `serving_peers`, but ours is compressed and the peers are not: they serve the float32 graph of
the same head on MiniLM, as `offline_throughput` makes the two. All answer the same test reviews
first, and a ratio counts where our accuracy is at most one point below. `--form` is rows (a range a
token), int8 (a range a batch), a smaller model in int8 that learnt from it, of three layers, or one
of the last two that reads less of long texts; those take 15 minutes to make. Under --work the forms
are kept, as those of `offline_throughput` are. Ten minutes for a peer.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from benchmarks._harness import Interval, Line, arguments, bootstrap, finish, gate, machine, spread
from benchmarks._peers import OURS, PEERS, Side, lay_out, usable
from benchmarks.offline_throughput import LOST, SHORTER, STUDENTS, TEXTS, add_students, prepare
from benchmarks.serving_peers import (
    CLIENTS,
    LIMITS_S,
    Pair,
    between,
    labels,
    measured,
    reviews,
    start,
)

from sartor.bundle import open_bundle


def right(side: Side, texts: list[str], truth: Sequence[str]) -> list[bool]:
    """Whether it answers each text rightly."""
    found = asyncio.run(labels(side, texts))
    return [one == other for one, other in zip(found, truth, strict=True)]


def forms(place: Path, form: str) -> Path:
    """The folder, with what is served in it."""
    if not (place / TEXTS).exists():
        place.mkdir(parents=True, exist_ok=True)
        prepare(place, 1_000)
    if form in STUDENTS or form in SHORTER:
        add_students(place)
    return place


def lines_of(peer: str, pair: Pair, rights: tuple[list[bool], list[bool]]) -> list[Line]:
    mine, theirs = (np.array(each, float) for each in rights)
    lost = float(theirs.mean() - mine.mean())
    note = gate(lost <= LOST, f"accuracy {100 * lost:.1f} points below")
    apart = bootstrap([mine - theirs], lambda parts: 100 * float(parts[0].mean()))
    lines = [Line.of(f"Accuracy, ours less {peer}", apart, "points", against=peer)]
    for limit, seconds in enumerate(LIMITS_S):
        what = f"Requests at p99 ≤ {seconds * 1000:.0f} ms"
        lines += [
            Line.of(f"{what}: ours, int8", between(pair.ours, None, limit), "a second"),
            Line.of(f"{what}: {peer}, float32", between(pair.theirs, None, limit), "a second"),
        ]
        found = between(pair.ours, pair.theirs, limit)
        goal = "at least 3×" if limit == 0 else ""
        lines.append(Line.of(f"{what}{note}", found, "times", against=peer, goal=goal))
    what = f"Requests, {CLIENTS} clients at once"
    ours, others = ([each[at] for each in pair.most] for at in (0, 1))
    lines += [
        Line.of(f"{what}: ours, int8", spread(ours), "a second"),
        Line.of(f"{what}: {peer}, float32", spread(others), "a second"),
        Line.of(f"{what}{note}", _ratio(pair.most), "times", against=peer),
    ]
    return lines


def _ratio(most: Sequence[tuple[float, float]]) -> Interval:
    ratios = np.array([mine / theirs for mine, theirs in most])
    return bootstrap([ratios], lambda parts: float(np.median(parts[0])))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--python", nargs="+", default=[sys.executable])
    parser.add_argument("--peers", nargs="+", default=["fastapi"], choices=PEERS)
    parser.add_argument("--form", default="rows", choices=["rows", "int8", *STUDENTS, *SHORTER])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--longest", type=int, default=128, help="tokens that a text is cut after")
    parser.add_argument("--work", type=Path, help="folder to keep the forms in")
    given = parser.parse_args()
    facts = machine()
    peers = {name: each for name, each in usable(given.python).items() if name in given.peers}
    if not peers:
        parser.error("none of the Pythons has such a peer's server")
    lines: list[Line] = []
    detail: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = forms(given.work or Path(folder), given.form)
        told = json.loads((place / TEXTS).read_text())
        served, plain = place / f"{given.form}-bundle", place / "float-bundle"
        laid = lay_out(str(plain), Path(folder))
        texts, names = reviews(laid, given.longest), list(open_bundle(plain).manifest.outputs)
        truth = [names[number] for number in told["truth"]]
        os.environ["RAY_TMPDIR"] = folder
        for name, python in peers.items():
            with (
                start(OURS, sys.executable, str(served), laid, Path(folder) / f"{name}.db") as ours,
                start(name, python, str(served), laid, Path(folder) / "none.db") as theirs,
            ):
                rights = right(ours, told["test"], truth), right(theirs, told["test"], truth)
                pair = measured((ours, theirs), texts, given.seconds, range(given.rounds))
            lines += lines_of(PEERS[name], pair, rights)
            accuracy = [float(np.mean(each)) for each in rights]
            detail[name] = {**asdict(pair), "accuracy": accuracy}
            finish("serving_compressed", facts, lines, {"form": given.form, "pairs": detail})


if __name__ == "__main__":
    main()
