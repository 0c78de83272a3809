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
from typing import Any

from benchmarks._against_plain import Race, Row, detail_of, held_out, lines_of
from benchmarks._harness import ROOT, arguments, finish, machine

from sartor.serve import runtime
from sartor.tasks.question_answering.likeness import exact_match, f1

TESTED = 1 / 3


def manual(seed: int) -> tuple[list[Row], list[Row]]:
    """Training and test rows; no section is on both sides."""
    lines = (ROOT / "examples" / "manual" / "manual.jsonl").read_text("utf-8").splitlines()
    return held_out([json.loads(line) for line in lines], "context", TESTED, seed)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--methods", nargs="+", default=["overlap", "top_layers", "full"])
    parser.add_argument("--epochs", type=int, default=3, help="of the plain script")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    facts = machine()
    script = ("benchmarks._plain_reader", str(given.epochs))
    runs = Race(script, manual, _need, _answers, _scores).run(given.methods, given.seeds)
    detail = {"runs": detail_of(runs), "epochs": given.epochs}
    finish("questions", facts, lines_of(runs), detail)


def _need(train: list[Row]) -> dict[str, Any]:
    return {
        "name": "questions",
        "task": "question_answering",
        "data": {"question": "question", "context": "context", "label": "answers"},
        "accept": ["f1 >= 0.99", "size_mb <= 150"],
    }


def _answers(bundle: str, test: list[Row]) -> list[str]:
    served = runtime.load(bundle, unreleased="allow")
    asked = [{name: row[name] for name in ("question", "context")} for row in test]
    return [answer["answer"] for answer in served.predict(asked)]


def _scores(said: list[str], test: list[Row]) -> dict[str, float]:
    right = [[answer["text"] for answer in row["answers"]] for row in test]
    pairs = list(zip(said, right, strict=True))
    return {
        "F1": sum(f1(*pair) for pair in pairs) / len(pairs),
        "Exact match": sum(exact_match(*pair) for pair in pairs) / len(pairs),
    }


if __name__ == "__main__":
    main()
