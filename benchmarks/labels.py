"""Several labels a text, and pairs: a need's run against the scripts that people write.

    python -m benchmarks.labels [--cases topics pairs] [--methods head] [--rows 600] [--seeds 1]

*topics* is `examples/topics`: what a weakness puts at stake, several answers at once, in English; a
third of the rows are held out, and micro F1 counts. *pairs* is `examples/duplicates`: whether two
requests ask for the same, in English and Chinese; whole templates are held out, and accuracy
counts. A seed draws the training rows, `--rows` of them, the same for all sides, and seeds
everything after. Each side is a fresh process with nothing cached, and answers the same test rows.

- *Ours*: `sartor run` with one method of the ladder at a time, from E5 small. It keeps its own
  validation rows of the training rows, and ends with a verdict on an int8 bundle, whose answers
  count.
- *plain*: `_plain_labeller.py`, `transformers.Trainer` on the same backbone, three epochs.
- *words*: TF-IDF of words and pairs of words, or of characters where a text is a pair, which are
  compared by the products of their weights; logistic regression with its defaults.

Intervals draw test rows, of the pairs whole templates. Ten minutes on two cores.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks._against_plain import PLAIN, Race, Row, Run, detail_of, held_out, lines_of
from benchmarks._harness import ROOT, Interval, Line, arguments, bootstrap, finish, machine
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

from sartor.serve import runtime

TESTED = 1 / 3
WORDS = "TF-IDF and a linear model"
Counts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """One example.

    Args:
        task: Its name.
        metric: What counts.
        criteria: What ours is asked for: more than it has, so that nothing ends early.
        rows: All of them, as JSON Lines: `text`, `text_pair`, `label`, and `group`.
        words: Training and test rows to the answers of shared words.
        measure: (…, 3) rights, wrongs and misses, summed, to the metric.
    """

    task: str
    metric: str
    criteria: Sequence[str]
    rows: Callable[[], list[Row]]
    words: Callable[[list[Row], list[Row]], list[Any]]
    measure: Callable[[Counts], float]


def topics() -> list[Row]:
    return [
        {
            "text": row["text"],
            "label": [name for name in row["scopes"].split("; ") if name],
            "group": row["id"],
        }
        for row in _table("topics", "weaknesses.csv")
    ]


def pairs() -> list[Row]:
    return [
        {
            "text": row["request"],
            "text_pair": row["earlier"],
            "label": row["label"],
            "group": row["cell"],
        }
        for row in _table("duplicates", "duplicates.csv")
    ]


def by_words(train: list[Row], test: list[Row]) -> list[list[str]]:
    """Sets of labels, each from a probability of one half on."""
    labels = MultiLabelBinarizer()
    truth = labels.fit_transform([row["label"] for row in train])
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = OneVsRestClassifier(LogisticRegression(max_iter=1_000))
    model.fit(vectors.fit_transform([row["text"] for row in train]), truth)
    found = model.predict(vectors.transform([row["text"] for row in test]))
    return [list(names) for names in labels.inverse_transform(found)]


def by_shared(train: list[Row], test: list[Row]) -> list[str]:
    """Labels of pairs, by which parts of words both texts have."""
    vectors: Any = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True)
    vectors.fit([row[side] for row in train for side in ("text", "text_pair")])

    def shared(rows: list[Row]) -> Any:
        one, other = (vectors.transform([row[k] for row in rows]) for k in ("text", "text_pair"))
        return one.multiply(other).tocsr()

    model: Any = LogisticRegression(max_iter=1_000, C=10.0)
    model.fit(shared(train), [row["label"] for row in train])
    return model.predict(shared(test)).tolist()


CASES = {
    "topics": Case(
        "multi_label",
        "Micro F1",
        ["f1_micro >= 0.99", "size_mb <= 150"],
        topics,
        by_words,
        lambda n: float(2 * n[..., 0].sum() / max(1.0, (n @ [2.0, 1.0, 1.0]).sum())),
    ),
    "pairs": Case(
        "text_pair",
        "Accuracy",
        ["accuracy >= 0.999", "size_mb <= 150"],
        pairs,
        by_shared,
        lambda n: float(n[..., 0].sum() / max(1.0, n[..., 0].sum() + n[..., 1].sum())),
    ),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--methods", nargs="+", default=["head"])
    parser.add_argument("--rows", type=int, default=600, help="training rows")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    facts = machine()
    lines: list[Line] = []
    detail: dict[str, Any] = {"rows": given.rows}
    for name in given.cases:
        case = CASES[name]

        def draw(seed: int, case: Case = case) -> tuple[list[Row], list[Row]]:
            train, test = held_out(case.rows(), "group", TESTED, seed)
            return train[: given.rows], test

        race = Race(
            ("benchmarks._plain_labeller",),
            draw,
            lambda train, case=case: _need(case),
            _answers,
            lambda said, test, case=case: {case.metric: case.measure(counted(said, test))},
        )
        runs = race.run(given.methods, given.seeds)
        drawn = [draw(seed) for seed in range(given.seeds)]
        words = [case.words(train, test) for train, test in drawn]
        lines += lines_of(runs, f", {name}")
        lines += apart(name, case, (runs, words), drawn[0][1])
        detail[name] = detail_of(runs)
        finish("labels", facts, lines, detail)


def counted(said: Sequence[Any], test: Sequence[Row]) -> Counts:
    """(rows, 3): labels that are right, that are wrong, and that are missing."""
    pairs = [(_set(one), _set(row["label"])) for one, row in zip(said, test, strict=True)]
    found = [(len(one & true), len(one - true), len(true - one)) for one, true in pairs]
    return np.array(found, np.float64)


def apart(
    name: str, case: Case, found: tuple[dict[str, list[Run]], list[list[Any]]], test: list[Row]
) -> list[Line]:
    """The baseline's score, and how much better ours is than it and than the script."""
    runs, words = found
    groups = sorted({row["group"] for row in test})
    place = [groups.index(row["group"]) for row in test]

    def grouped(said: Sequence[Sequence[Any]]) -> Counts:
        """(groups, 3), of all seeds."""
        total = np.zeros((len(groups), 3))
        for one in said:
            np.add.at(total, place, counted(one, test))
        return total

    def drawn(values: Counts) -> Interval:
        return bootstrap([values], lambda parts: 100 * case.measure(parts[0]))

    baseline = grouped(words)
    lines = [Line.of(f"{case.metric}, {name}: {WORDS}", drawn(baseline), "%")]
    sides = {PLAIN: grouped([run.answers for run in runs[PLAIN]]), WORDS: baseline}
    for method in [side for side in runs if side != PLAIN]:
        ours = grouped([run.answers for run in runs[method]])
        lines.append(Line.of(f"{case.metric}, {name}, over test rows: {method}", drawn(ours), "%"))
        for side, theirs in sides.items():
            both = np.concatenate([ours, theirs], axis=1)
            gained = bootstrap(
                [both],
                lambda parts: 100 * (case.measure(parts[0][:, :3]) - case.measure(parts[0][:, 3:])),
            )
            what = f"{case.metric} gained, {name}: {method}"
            lines.append(Line.of(what, gained, "points", against=side))
    return lines


def _need(case: Case) -> dict[str, Any]:
    columns = {"text": "text", "label": "label"}
    pair = {"text_pair": "text_pair"} if case.task == "text_pair" else {}
    return {
        "name": "labels",
        "task": case.task,
        "data": {**columns, **pair, "group": "group"},
        "accept": list(case.criteria),
    }


def _answers(bundle: str, test: list[Row]) -> list[Any]:
    served = runtime.load(bundle, unreleased="allow")
    asked = [{key: row[key] for key in ("text", "text_pair") if key in row} for row in test]
    return [answer.get("labels", answer.get("best")) for answer in served.predict(asked)]


def _set(label: Any) -> set[str]:
    return set(label) if isinstance(label, list) else {label}


def _table(example: str, file: str) -> list[dict[str, str]]:
    path = ROOT / "examples" / example / file
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


if __name__ == "__main__":
    main()
