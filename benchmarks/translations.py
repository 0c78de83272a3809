"""Interface texts, English to Chinese: a need's run against the script that people write.

    python -m benchmarks.translations [--methods nearest scratch] [--seeds 1]

`examples/interface`: the messages of Django's administration; a quarter of the English messages
are held out. No pretrained encoder-decoder is at hand, so each side learns a small one from the
training rows alone, drawn alike: what is compared is how training, writing and choosing do, and no
score here is that of a translator. Each side is a fresh process with nothing cached, and writes the
same test rows.

- *Ours*: `sartor run` with one method at a time: `nearest`, the translation of the training text
  that is most like, as a translation memory gives it; `scratch`, a drawn model. It keeps its own
  validation rows of the training rows, and ends with a verdict on a bundle, which writes.
- *plain*: `_plain_translator.py`, `transformers.Trainer` on the same network, as many epochs.

chrF of all test rows together (Popović 2015, https://aclanthology.org/W15-3049); intervals draw
test rows. Ten minutes on two cores.
"""

import csv
from collections.abc import Sequence
from typing import Any

import numpy as np
from benchmarks._against_plain import PLAIN, Race, Row, Run, detail_of, held_out, lines_of
from benchmarks._harness import ROOT, Line, arguments, bootstrap, finish, machine
from numpy.typing import NDArray

from sartor.judge.ngrams import chrf
from sartor.judge.statistic import Statistic
from sartor.models.scratch import NAME
from sartor.serve import runtime

TESTED = 1 / 4
METRIC = "chrF"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--methods", nargs="+", default=["nearest", "scratch"])
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    facts = machine()
    race = Race(
        ("benchmarks._plain_translator",),
        lambda seed: held_out(messages(), "english", TESTED, seed),
        lambda train: _need(),
        _answers,
        lambda said, test: {METRIC: _whole(counted(said, test)) / 100},
        backbone=NAME,
    )
    runs = race.run(given.methods, given.seeds)
    _, test = race.draw(0)
    lines = lines_of(runs) + apart(runs, test)
    finish("translations", facts, lines, {"rows": len(messages()), **detail_of(runs)})


def messages() -> list[Row]:
    path = ROOT / "examples" / "interface" / "interface.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        return [{key: row[key] for key in ("english", "chinese")} for row in csv.DictReader(lines)]


def counted(said: Sequence[str], test: Sequence[Row]) -> Statistic:
    """chrF of all rows together, 0 to 100; a row adds what it shares with the right text."""
    return chrf(said, [row["chinese"] for row in test])


def apart(runs: dict[str, list[Run]], test: list[Row]) -> list[Line]:
    """How sure each score is of the test rows, and how much better ours is than the script's."""
    of = {side: [counted(run.answers, test) for run in found] for side, found in runs.items()}

    def mean(side: str, rows: NDArray[np.intp]) -> float:
        """Over seeds, of some test rows."""
        found = (float(each.value(each.kinds[rows].sum(0))) for each in of[side])
        return sum(found) / len(of[side])

    every = [np.arange(len(test))]
    lines: list[Line] = []
    for side in [side for side in runs if side != PLAIN]:

        def gained(rows: list[NDArray[np.intp]], side: str = side) -> float:
            return mean(side, rows[0]) - mean(PLAIN, rows[0])

        ours = bootstrap(every, lambda rows, side=side: mean(side, rows[0]))
        lines.append(Line.of(f"{METRIC}, over test rows: {side}", ours, "%"))
        more = bootstrap(every, gained)
        lines.append(Line.of(f"{METRIC} gained: {side}", more, "points", against=PLAIN))
    return lines


def _whole(found: Statistic) -> float:
    return float(found.value(found.sums))


def _need() -> dict[str, Any]:
    return {
        "name": "translations",
        "task": "translation",
        "data": {"text": "english", "label": "chinese", "group": "english"},
        # More than it has, so that nothing ends early.
        "accept": ["chrf >= 99", "size_mb <= 40"],
    }


def _answers(bundle: str, test: list[Row]) -> list[str]:
    served = runtime.load(bundle, unreleased="allow")
    return [answer["best"] for answer in served.predict([row["english"] for row in test])]


if __name__ == "__main__":
    main()
