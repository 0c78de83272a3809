"""Learnt in English, asked in Chinese: what a model of many languages carries over.

    python -m benchmarks.cross_lingual [--tasks intents slots] [--methods head top_layers]

The intents of `examples/intents` (accuracy) and the slots of `examples/slots` (F1 of parts whose
edges and label are right). Three tenths of the templates of each language are held out; their
Chinese sentences are asked, by every side the same ones. Sides learn from as many sentences of the
other templates, all English or all Chinese, with no word of the other language:

- E5 small, which reads a hundred languages, learnt in English: a frozen head, and its top layers
  tuned. Tuning may forget what the languages share; that is why both stand here.
- the same, learnt in Chinese: what English rows are worth less than.
- MiniLM, which reads English, learnt in English: what comes of the task alone, of figures and of
  names that Chinese sentences hold too.

Each is one `sartor run` with one method; the bundle that it makes answers. Beside each Chinese
figure stands that of the held-out English sentences. Intervals draw whole templates. About half an
hour on two cores.
"""

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import ROOT, Interval, Line, arguments, bootstrap, finish, machine
from numpy.typing import NDArray

from sartor.serve import runtime

HELD = 0.3
LANGUAGES = {"en": "English", "zh": "Chinese"}
Row = dict[str, Any]
Counts = tuple[int, int]
"""What is right, and of how much."""


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=["head", "top_layers"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sides = [("e5_small", how, learnt) for how in options.methods for learnt in LANGUAGES]
    sides.insert(2, ("minilm", options.methods[0], "en"))
    lines: list[Line] = []
    for name in options.tasks:
        task = TASKS[name]
        train, test = _divided(task.rows(), options.seed)
        for backbone, how, learnt in sides:
            with tempfile.TemporaryDirectory() as place:
                bundle = _run(task, train[learnt], test["zh"], Path(place), (backbone, how))
                served = runtime.load(bundle, unreleased="allow")
                for asked, language in LANGUAGES.items():
                    rows = test[asked]
                    answers = served.predict([row["text"] for row in rows])
                    what = f"{name}: {backbone}, {how}, learnt in {LANGUAGES[learnt]}"
                    found = task.over(_by_template(task, rows, answers))
                    lines.append(Line.of(f"{what}, asked in {language}", found, "%"))
                    print(lines[-1], flush=True)
        sizes = {f"learnt from, {k}": len(v) for k, v in train.items()} | {
            f"asked, {k}": len(v) for k, v in test.items()
        }
        lines += [Line(f"{name}: sentences {what}", count, "") for what, count in sizes.items()]
    finish("cross_lingual", facts, lines, {"seed": options.seed, "methods": options.methods})


@dataclass(frozen=True, slots=True)
class Task:
    """One example.

    Args:
        name: Of the task.
        metric: That the need asks for.
        rows: Reads its rows, with `text`, `label`, `lang` and `template`.
        counts: What is right of an answer to a row, and of how much.
    """

    name: str
    metric: str
    rows: Callable[[], list[Row]]
    counts: Callable[[Row, Mapping[str, Any]], Counts]

    def over(self, templates: NDArray[np.float64]) -> Interval:
        """Percent, from (templates, 2) of right and of how much."""
        return bootstrap([templates], lambda parts: 100 * float(np.divide(*parts[0].sum(0))))


def _intents() -> list[Row]:
    path = ROOT / "examples" / "intents" / "intents.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _slots() -> list[Row]:
    lines = (ROOT / "examples" / "slots" / "slots.jsonl").read_text("utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [row | {"label": row["slots"]} for row in found]


def _same_label(row: Row, answer: Mapping[str, Any]) -> Counts:
    return int(answer["label"] == row["label"]), 1


def _same_parts(row: Row, answer: Mapping[str, Any]) -> Counts:
    """F1 as a share: twice what both have, of what each has."""
    said = {(e["start"], e["end"], e["label"]) for e in answer["entities"]}
    true = {(e["start"], e["end"], e["label"]) for e in row["label"]}
    return 2 * len(said & true), len(said) + len(true)


TASKS = {
    "intents": Task("text_classification", "accuracy", _intents, _same_label),
    "slots": Task("token_classification", "f1_micro", _slots, _same_parts),
}


def _divided(rows: Sequence[Row], seed: int) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    """(what is learnt from, what is asked) by language; as much is learnt from in each."""
    draw = random.Random(seed)
    train: dict[str, list[Row]] = {}
    test: dict[str, list[Row]] = {}
    for language in LANGUAGES:
        spoken = [row for row in rows if row["lang"] == language]
        names = sorted({row["template"] for row in spoken})
        held = {*draw.sample(names, round(HELD * len(names)))}
        test[language] = [row for row in spoken if row["template"] in held]
        train[language] = [row for row in spoken if row["template"] not in held]
        draw.shuffle(train[language])
    fewest = min(map(len, train.values()))
    train = {language: found[:fewest] for language, found in train.items()}
    known = set.intersection(*(_labels(found) for found in train.values()))
    return (
        {k: [row for row in v if _labels([row]) <= known] for k, v in train.items()},
        {k: [row for row in v if _labels([row]) <= known] for k, v in test.items()},
    )


def _labels(rows: Sequence[Row]) -> set[str]:
    found: set[str] = set()
    for row in rows:
        label = row["label"]
        found |= {label} if isinstance(label, str) else {part["label"] for part in label}
    return found


def _run(
    task: Task, train: Sequence[Row], test: Sequence[Row], folder: Path, how: tuple[str, str]
) -> str:
    """The bundle of a run; its test rows are not looked at before it is made."""
    backbone, method = how
    for name, rows in (("train", train), ("test", test)):
        kept = [{key: row[key] for key in ("text", "label", "template")} for row in rows]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    need = {
        "name": "cross-lingual",
        "task": task.name,
        "data": {
            "train": "train.jsonl",
            "test": "test.jsonl",
            "text": "text",
            "label": "label",
            "group": "template",
            "near_duplicates": False,
        },
        "accept": [f"{task.metric} >= 0.99"],
        "prefer": {"backbones": [backbone], "ensemble": False},
    }
    file = folder / "need.yaml"
    file.write_text(json.dumps(need), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks._need_run", str(file), str(folder), method]
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"{command} failed:\n{ran.stderr[-4000:]}")
    return json.loads(ran.stdout.splitlines()[-1])["bundle"]


def _by_template(
    task: Task, rows: Sequence[Row], answers: Sequence[Mapping[str, Any]]
) -> NDArray[np.float64]:
    """(templates, 2) of right and of how much."""
    found: dict[str, list[Counts]] = defaultdict(list)
    for row, answer in zip(rows, answers, strict=True):
        found[row["template"]].append(task.counts(row, answer))
    return np.array([np.sum(counts, axis=0) for counts in found.values()], np.float64)


if __name__ == "__main__":
    main()
