"""Whether a bundle answers alike wherever it is shipped: labels equal, probabilities close.

    python -m benchmarks.targets_alike [BUNDLE] [--texts 64]

Test reviews are answered in process, over HTTP, by AWS Lambda's emulator, by functions-framework
and by two replicas on Ray Serve, each from the folder that `sartor ship` writes; a place that lacks
something here is left out, and the script says what it lacks. Texts go one at a time: dynamic int8
rounds by the largest value in a batch, so an answer depends on its company, and places form batches
differently. Takes about three minutes.
"""

import csv
from pathlib import Path
from typing import Any

from benchmarks._harness import DEMO, Line, arguments, bundle, finish, machine, takes_bundle
from benchmarks._places import PLACES, built, missing, place

GOAL = 1e-6


def texts(count: int) -> list[str]:
    with (DEMO.parent / "test.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for _, row in zip(range(count), csv.DictReader(file), strict=False)]


def difference(mine: list[dict[str, Any]], other: list[dict[str, Any]]) -> tuple[int, float]:
    """(labels that differ, largest difference of a probability)."""
    labels = sum(a["label"] != b["label"] for a, b in zip(mine, other, strict=True))
    apart = [
        abs(a["probabilities"][name] - b["probabilities"][name])
        for a, b in zip(mine, other, strict=True)
        for name in a["probabilities"]
    ]
    return labels, max(apart)


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    parser.add_argument("--texts", type=int, default=64)
    given = parser.parse_args()
    facts, served = machine(), Path(bundle(given.bundle))
    asked = texts(given.texts)
    outputs: dict[str, list[dict[str, Any]]] = {}
    lacking = {name: lacks for name in PLACES if (lacks := missing(name))}
    for name in PLACES:
        if name in lacking:
            print(f"{name} is left out: {lacking[name]}", flush=True)
            continue
        with place(name, served, built) as ask:
            outputs[name] = [ask([text])[0] for text in asked]
    lines: list[Line] = []
    for name in list(outputs)[1:]:
        labels, apart = difference(outputs[name], outputs[PLACES[0]])
        against = "the same bundle in process"
        what = f"{name}: of {len(asked)} texts, labels that differ"
        lines.append(Line(what, labels, "", against=against, goal="0"))
        what = f"{name}: largest difference of a probability"
        lines.append(Line(what, apart, "", against=against, goal=f"at most {GOAL:g}"))
    finish("targets_alike", facts, lines, {"texts": given.texts, "left_out": lacking})


if __name__ == "__main__":
    main()
