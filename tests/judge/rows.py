"""Subjects for the tests of the judge: labels and answers in a few lines."""

from collections.abc import Mapping, Sequence

import numpy as np

from sartor.core.types import Examples
from sartor.judge.api import Subject
from sartor.need.criterion import Criterion
from sartor.need.grammar import parse_criterion


def criteria(*texts: str) -> list[Criterion]:
    return [parse_criterion(text, line=line) for line, text in enumerate(texts, start=1)]


def subject(
    truth: Sequence[str],
    best: Sequence[str],
    *,
    answered: Sequence[bool] | None = None,
    probabilities: np.ndarray | None = None,
    baseline: Sequence[str] | None = None,
    extra: Mapping[str, Sequence[object]] | None = None,
) -> Subject:
    """One row a label; the outputs are all labels that occur, sorted."""
    outputs = sorted({*truth, *best})
    answers: list[dict[str, object]] = []
    for row, label in enumerate(best):
        open_ = answered is None or bool(answered[row])
        answers.append({"label": label if open_ else None, "best": label})
        if probabilities is not None:
            stated = dict(zip(outputs, map(float, probabilities[row]), strict=True))
            answers[-1]["probabilities"] = stated
    return Subject(
        examples=Examples(
            ids=tuple(f"row-{i}" for i in range(len(truth))),
            inputs={"text": tuple(f"text {i}" for i in range(len(truth)))},
            target=tuple(truth),
            extra={name: tuple(column) for name, column in (extra or {}).items()},
        ),
        answers=answers,
        outputs=outputs,
        baseline=baseline,
    )


def right_and_wrong(right: int, wrong: int) -> Subject:
    """`right` rows of label "yes" that are found, `wrong` that are called "no"."""
    return subject(["yes"] * (right + wrong), ["yes"] * right + ["no"] * wrong)


def flipped(truth: np.ndarray, accuracy: float, rng: np.random.Generator) -> list[str]:
    """Answers that are right with the given chance, else another of the labels."""
    labels = np.unique(truth)
    other = labels[(np.searchsorted(labels, truth) + 1) % len(labels)]
    return list(np.where(rng.random(len(truth)) < accuracy, truth, other))
