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
import random
from pathlib import Path
from typing import Any

from benchmarks._against_plain import Race, Row, detail_of, held_out, lines_of
from benchmarks._harness import ROOT, Line, arguments, finish, machine

from sartor.serve import runtime

TESTED_TEMPLATES = 0.3
NEWS = (2_000, 1_000)


def slots(seed: int) -> tuple[list[Row], list[Row]]:
    """Training and test rows; no template is on both sides."""
    lines = (ROOT / "examples" / "slots" / "slots.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    train, test = held_out(rows, "template", TESTED_TEMPLATES, seed)
    return _plain(train, "slots"), _plain(test, "slots")


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
        race = Race(("benchmarks._plain_tagger",), draw, _need, _answers, _scores)
        runs = race.run(given.methods, given.seeds)
        lines += lines_of(runs, f", {task}")
        detail[task] = detail_of(runs)
    finish("entities", facts, lines, {"runs": detail})


def _need(train: list[Row]) -> dict[str, Any]:
    grouped = {"group": "template"} if train[0]["template"] else {}
    return {
        "name": "entities",
        "task": "token_classification",
        "data": {"text": "text", "label": "parts", **grouped},
        "accept": ["f1_micro >= 0.99", "size_mb <= 150"],
    }


def _answers(bundle: str, test: list[Row]) -> list[list[Any]]:
    served = runtime.load(bundle, unreleased="allow")
    return [
        [[e["start"], e["end"], e["label"]] for e in answer["entities"]]
        for answer in served.predict([row["text"] for row in test])
    ]


def _scores(answers: list[list[Any]], test: list[Row]) -> dict[str, float]:
    """Of parts whose edges and label are right."""
    pairs = [
        ({tuple(p) for p in said}, {tuple(p) for p in row["parts"]})
        for said, row in zip(answers, test, strict=True)
    ]
    hits = sum(len(said & true) for said, true in pairs)
    f1 = 2 * hits / max(sum(len(said) + len(true) for said, true in pairs), 1)
    return {"F1": f1}


if __name__ == "__main__":
    main()
