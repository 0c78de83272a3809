"""Heads of users' own: what they gain for users with a habit, and how often others get one.

    python -m benchmarks.personal_gain [--rows 40 80 160 320] [--plain 100] [--problems reviews ...]

Product reviews (2 labels) and English intents (42) on MiniLM. A head on half of the rows is the
model that all users share. Ten users have habits of their own: they merge two labels, swap two,
draw the line elsewhere (what the model is less than 90 % sure of is their least frequent label), or
give everything of one subject (a cluster of the texts) one label. Each sends feedback on all of
their answers, and in a second run corrects 7 wrong ones of 10 and lets the right ones stand. After
each number of rows `sartor personalize`'s rule is applied, looks counted. Accuracy is that on fresh
texts, by the labels that the user means, of whatever would answer them then.

A release is false where the user means what the labels of the data say: of `--plain` such users,
how many were ever released a head, which by the rule is at most one in twenty.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import Interval, Line, arguments, finish, machine, paired
from benchmarks.label_forecast import STRENGTH, World, encoded
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from sartor.bundle.adapter import Kind as AdapterKind
from sartor.bundle.base import BIAS, WEIGHT
from sartor.bundle.tensors import Tensors
from sartor.core.protocols import Floats
from sartor.judge.intervals import clopper_pearson
from sartor.judge.paired import better, fewest
from sartor.listen.by_user import Row, Who
from sartor.search.personal_own import Tuning, head_tuning
from sartor.search.personal_rows import halves
from sartor.search.personal_trial import Silence, Trial, attempt
from sartor.tune.heads import HeadData, HeadSetting, fit_heads
from sartor.tune.personal import Shared

CONFIDENCE = 0.95
USERS = 10
SURE = 0.9
_SUBJECTS = 6
_WHEN = datetime(2026, 1, 1, tzinfo=UTC)
Labels = NDArray[np.int64]
Habit = Callable[[Labels], Labels]
"""Rows to the labels that a user means there."""
Kind = tuple[str, Callable[[np.random.Generator], Habit]]
"""Name, and what draws a habit of that kind."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A data set with the head that all users share: a `SharedModel` whose texts are row numbers.

    Args:
        world: Rows with their features.
        head: Fitted on rows that no user has.
        stream: Rows that users ask about.
        fresh: Rows that measure.
    """

    world: World
    head: Shared
    stream: Labels
    fresh: Labels

    @property
    def outputs(self) -> Sequence[str]:
        return self.world.outputs

    @property
    def tunings(self) -> tuple[Tuning, ...]:
        return (head_tuning(self.head),)

    def read(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        return self.of(np.array([int(text.partition(" ")[0]) for text in texts], np.int64))

    def under(self, kind: AdapterKind, tensors: Tensors, texts: Sequence[str]) -> Floats:
        assert kind == "head", "the benchmark is of heads"
        return self.read(texts)[0] @ tensors[WEIGHT].T + tensors[BIAS]

    def of(self, rows: Labels) -> tuple[Floats, Floats]:
        features = self.world.features[rows]
        return features, features @ self.head.weight.T + self.head.bias

    def best(self, logits: Floats) -> list[str]:
        return [self.outputs[place] for place in logits.argmax(1)]  # pyright: ignore[reportReturnType]


@dataclass(frozen=True, slots=True)
class Manners:
    """How a user speaks: the chances that a wrong answer is corrected and a right one confirmed."""

    corrects: float
    confirms: float
    silence: Silence


ALL, SOME = Manners(1.0, 1.0, "agrees"), Manners(0.7, 0.0, "agrees")


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[40, 80, 160, 320])
    parser.add_argument("--plain", type=int, default=100, help="users without a habit")
    parser.add_argument("--problems", nargs="+", default=["reviews", "intents"])
    parser.add_argument("--cache", type=Path, default=Path(".sartor") / "activations")
    options = parser.parse_args()
    lines: list[Line] = []
    detail: dict[str, Any] = {"rows": options.rows, "plain": options.plain}
    for name in options.problems:
        bench = prepared(encoded(name, options.cache, 6_000))
        last, kinds = options.rows[-1], habits(bench)
        for words, manners in (("all answers said", ALL), ("7 of 10 wrong ones corrected", SOME)):
            users = [
                with_habit(bench, kinds, number, options.rows, manners) for number in range(USERS)
            ]
            gained = [100 * (user["with"] - user["without"]) for user in users]
            about = f"{name}, {words}"
            lines += [
                Line(f"{about}: accuracy without", mean(users, "without"), "%"),
                Line(f"{about}: accuracy with, {last} rows each", mean(users, "with"), "%"),
                Line.of(f"{about}: gain, mean of {USERS} users", paired(gained), "points"),
                Line(f"{about}: users released", sum(u["released"] for u in users), f"of {USERS}"),
            ]
            detail[about] = users
        lines.append(false_releases(bench, name, options.plain, options.rows))
    finish("personal_gain", facts, lines, detail)


def prepared(world: World) -> Bench:
    order = np.random.default_rng(1).permutation(len(world.labels))
    half, quarter = len(order) // 2, len(order) // 4
    train, stream, fresh = np.split(order, [half, half + quarter])
    data = HeadData(
        train=lambda _: world.features[train],
        validation=lambda _: world.features[fresh[:1]],
        labels=world.labels[train],
        outputs=len(world.outputs),
    )
    setting = HeadSetting((0,), STRENGTH, (1.0,) * len(world.outputs))
    fit = fit_heads(data, [setting])[0]
    return Bench(world, Shared(fit.weight, fit.bias), stream, fresh)


def habits(bench: Bench) -> list[Kind]:
    labels, frequent = bench.world.labels, np.argsort(-np.bincount(bench.world.labels))
    some = bench.world.features[bench.stream]
    subjects = KMeans(_SUBJECTS, n_init=1, random_state=0).fit(some)  # pyright: ignore[reportArgumentType]
    subject = subjects.predict(bench.world.features)

    def merges(draw: np.random.Generator) -> Habit:
        one, other = draw.choice(frequent[:6], 2, replace=False)
        return lambda rows: np.where(labels[rows] == one, other, labels[rows])

    def swaps(draw: np.random.Generator) -> Habit:
        one, other = draw.choice(frequent[:6], 2, replace=False)
        swapped = np.arange(len(bench.outputs))
        swapped[[one, other]] = other, one
        return lambda rows: swapped[labels[rows]]

    def draws_the_line_elsewhere(draw: np.random.Generator) -> Habit:
        def means(rows: Labels) -> Labels:
            logits = bench.of(rows)[1].astype(np.float64)
            shares = np.exp(logits - logits.max(1, keepdims=True))
            sure = (shares / shares.sum(1, keepdims=True)).max(1)
            return np.where(sure < SURE, frequent[len(bench.outputs) - 1], labels[rows])

        return means

    def has_a_subject(draw: np.random.Generator) -> Habit:
        theirs, label = draw.integers(_SUBJECTS), draw.choice(frequent[:6])
        return lambda rows: np.where(subject[rows] == theirs, label, labels[rows])

    return [
        ("merges", merges),
        ("swaps", swaps),
        ("line", draws_the_line_elsewhere),
        ("subject", has_a_subject),
    ]


def with_habit(
    bench: Bench, kinds: Sequence[Kind], number: int, sizes: Sequence[int], manners: Manners
) -> dict[str, Any]:
    kind, drawn = kinds[number % len(kinds)]
    habit = drawn(np.random.default_rng([4, number]))
    head, looks = lived(bench, f"habit {number}", habit, sizes, manners)
    features, logits = bench.of(bench.fresh)
    truth = habit(bench.fresh)
    right = logits.argmax(1) == truth
    own = right if head is None else (features @ head[0].T + head[1]).argmax(1) == truth
    apart = paired((own.astype(float) - right).tolist())
    return {
        "habit": kind,
        "without": float(right.mean()),
        "with": float(own.mean()),
        "gain": [100 * apart.low, 100 * apart.middle, 100 * apart.high],
        "released": head is not None,
        "looks": looks,
    }


def lived(
    bench: Bench, name: str, habit: Habit, sizes: Sequence[int], manners: Manners
) -> tuple[tuple[Floats, Floats] | None, int]:
    """The head that a user was released in the end, and how many looks were taken."""
    who = Who(None, name)
    draw = np.random.default_rng(int(who.name[:8], 16))
    mine = draw.permutation(bench.stream)[: sizes[-1]]
    rows = spoken(bench, mine, habit(mine), manners, draw)
    found: tuple[Floats, Floats] | None = None
    looks = last = 0
    for size in sizes:
        trial = attempt(halves(rows[:size], who), bench, manners.silence, bench.tunings)
        too_few = trial.pairs.differing < fewest(CONFIDENCE, looks + 1)
        if too_few or len(trial.held) < 2 * last or trial.own is None:
            continue
        looks, last = looks + 1, len(trial.held)
        if shown(trial, looks):
            found = trial.own.tensors[WEIGHT], trial.own.tensors[BIAS]
    return found, looks


def shown(trial: Trial, look: int) -> bool:
    return better(trial.pairs, CONFIDENCE, look, "").state == "met"


def spoken(
    bench: Bench, mine: Labels, meant: Labels, manners: Manners, draw: np.random.Generator
) -> list[Row]:
    best = bench.of(mine)[1].argmax(1)
    rows: list[Row] = []
    for row, label, answer in zip(mine.tolist(), meant.tolist(), best.tolist(), strict=True):
        says = draw.random() < (manners.confirms if label == answer else manners.corrects)
        # Unlike any other's: texts that nearly repeat one another would be left out.
        text = f"{row} {hashlib.sha256(str(row).encode()).hexdigest()}"
        said = bench.outputs[label] if says else None
        rows.append(Row(str(row), 0, text, bench.outputs[answer], said, True, _WHEN))  # pyright: ignore[reportArgumentType]
    return rows


def false_releases(bench: Bench, name: str, plain: int, sizes: Sequence[int]) -> Line:
    def means(rows: Labels) -> Labels:
        return bench.world.labels[rows]

    got = sum(
        lived(bench, f"plain {number}", means, sizes, ALL)[0] is not None for number in range(plain)
    )
    low, high = clopper_pearson(float(got), float(plain), 0.05)
    found = Interval(100 * float(low), 100 * got / plain, 100 * float(high))
    return Line.of(f"{name}: released without a habit", found, "%", goal="at most 5 %")


def mean(users: Sequence[dict[str, Any]], key: str) -> float:
    return 100 * float(np.mean([user[key] for user in users]))


if __name__ == "__main__":
    main()
