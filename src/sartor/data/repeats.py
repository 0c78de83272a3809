"""Rows that repeat one another: what is dropped, what is joined, and what contradicts.

Where the same text lies in several official splits, the test row stays: a training row that
repeats it would let the model learn the exam.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sartor.core.texts import COLUMNS, Text, shown
from sartor.data.changes import Change, excerpt
from sartor.data.near import near_clusters
from sartor.data.numbers import are_numbers
from sartor.data.rows import TRAIN, Rows
from sartor.tasks import Several, Written

DROP_NEAR = 0.9
"""Above this similarity a row of the same label teaches nothing new."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """One text with more than one label.

    Args:
        text: Excerpt.
        labels: The labels found, sorted.
        rows: File and row of each.
    """

    text: str
    labels: tuple[str, ...]
    rows: tuple[tuple[str, int], ...]


def repeated(rows: Rows) -> list[Conflict]:
    """Drop repeated texts, and texts whose labels contradict each other.

    Two cases may agree in all their columns, so those without a text stay.
    """
    same: dict[Text, list[int]] = defaultdict(list)
    for i in rows.alive:
        if not rows.wordless(i):
            same[rows.text(i)].append(i)
    gone: dict[int, tuple[str, str]] = {}
    conflicts: list[Conflict] = []
    for text, group in same.items():
        if len(group) == 1:
            continue
        group.sort(key=rows.rank)
        found = sorted({rows.labels[i] or "" for i in group})
        joins = isinstance(rows.target, Several | Written) or are_numbers(rows.answers(group))
        if len(found) > 1 and not joins:
            conflicts.append(
                Conflict(excerpt(shown(text)), tuple(found), tuple(rows.places[i] for i in group))
            )
        gone.update(_judge_group(rows, group))
    rows.drop(gone)
    return conflicts


def _judge_group(rows: Rows, group: list[int]) -> dict[int, tuple[str, str]]:
    """Which rows of one text go; `group` is in rank order."""
    first = group[0]
    # Rows of the highest split decide: a training row cannot throw out a test row.
    peers = [i for i in group if rows.rank(i)[:2] == rows.rank(first)[:2]]
    if isinstance(rows.target, Written):  # a text may have several right replies
        same = _copy_of(rows, first)
        other = "another reply", f"to the text of {rows.where(first)}"
        return {i: same if rows.labels[i] == rows.labels[first] else other for i in group[1:]}
    if len({rows.labels[i] for i in peers}) > 1 and isinstance(rows.target, Several):
        rows.labels[first] = rows.target.joined([rows.labels[i] or "" for i in peers])
        joined = ("repeated text", f"its answer joins those of {rows.where(first)}")
        return {i: joined if i in peers else _copy_of(rows, first) for i in group[1:]}
    if len({rows.labels[i] for i in peers}) > 1:
        if are_numbers(numbers := rows.answers(peers)):
            return _averaged(rows, group, peers, numbers)
        told = "; ".join(f"{rows.labels[i]!r} at {rows.where(i)}" for i in group[:4])
        return {i: ("conflicting labels", told) for i in group}
    gone: dict[int, tuple[str, str]] = {}
    for i in group[1:]:
        if rows.labels[i] == rows.labels[first]:
            gone[i] = _copy_of(rows, first)
        else:
            told = f"{rows.labels[i]!r} here, {rows.labels[first]!r} at {rows.where(first)}"
            gone[i] = ("conflicting labels", told)
    return gone


def _averaged(
    rows: Rows, group: list[int], peers: list[int], numbers: Sequence[float]
) -> dict[int, tuple[str, str]]:
    """The first of the peers takes the mean of what several raters gave the same text."""
    first, mean = peers[0], rows.target.text(sum(numbers) / len(numbers))
    told = ", ".join(rows.labels[i] or "" for i in peers[:8]) + (" …" if len(peers) > 8 else "")
    rows.labels[first] = mean
    text = excerpt(shown(rows.text(first)))
    detail = f"{mean} is the mean of {told}"
    rows.changed.append(Change(*rows.places[first], "changed", "averaged", detail, text))
    gone = {i: ("averaged", f"into {rows.where(first)}") for i in peers[1:]}
    return {i: gone.get(i, _copy_of(rows, first)) for i in group if i != first}


def _copy_of(rows: Rows, first: int) -> tuple[str, str]:
    return "duplicate", f"of {rows.where(first)}"


def nearly_repeated(rows: Rows) -> None:
    """Drop rows that nearly repeat an earlier row of the same label; never a held-out row."""
    order = sorted((i for i in rows.alive if not rows.wordless(i)), key=rows.rank)
    if not order:
        return
    # Rows of several texts are near where all of their texts are; columns, where they are equal.
    found: list[list[Any]] = [
        [values[i] for i in order]
        if role == COLUMNS
        else near_clusters([values[i] or "" for i in order], threshold=DROP_NEAR).tolist()
        for role, values in rows.inputs.items()
    ]
    kept: dict[tuple[tuple[Any, ...], str | None], int] = {}
    gone: dict[int, tuple[str, str]] = {}
    for i, cluster in zip(order, zip(*found, strict=True), strict=True):
        first = kept.setdefault((cluster, rows.labels[i]), i)
        if first != i and rows.rank(i)[0] == TRAIN:
            gone[i] = ("near duplicate", f"of {rows.where(first)}")
    rows.drop(gone)
