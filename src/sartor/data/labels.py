"""Faults of a label column: undeclared, alone, or met only in the test rows."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sartor.core.errors import DataError
from sartor.core.near import near_miss
from sartor.data.table import place

_MOST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Labelled:
    """Parallel columns: where a row lies, its labels, its official split or None."""

    places: Sequence[tuple[str, int]]
    labels: Sequence[Sequence[str]]
    splits: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class LabelFault:
    """One label that cannot be learnt and judged.

    Args:
        label: As written in the data.
        rows: File and row of each of its rows.
        what: What is wrong, without the place.
        fix: What to do.
    """

    label: str
    rows: tuple[tuple[str, int], ...]
    what: str
    fix: str


def label_faults(
    rows: Labelled, declared: Sequence[str] | None, least: int = 2
) -> list[LabelFault]:
    """All faults: undeclared labels first, then lone ones, then those met only in the test rows.

    Args:
        rows: With labels normalised, none missing.
        declared: The need's labels, or None if it names none.
        least: Labels that there must be.
    """
    where: dict[str, list[tuple[str, int]]] = defaultdict(list)
    learnt: Counter[str] = Counter()
    for lies, labels, split in zip(rows.places, rows.labels, rows.splits, strict=True):
        for label in labels:
            where[label].append(lies)
            learnt[label] += split != "test"
    faults = [_undeclared(label, where[label], declared or []) for label in where]
    unknown = [fault for fault in faults if declared and fault.label not in declared]
    known = [label for label in where if not declared or label in declared]
    lone = [_alone(label, where[label]) for label in known if len(where[label]) == 1]
    only_test = [
        _only_test(label, where[label])
        for label in known
        if len(where[label]) > 1 and not learnt[label]
    ]
    absent = _absent(where, declared or [])
    return unknown + lone + only_test + absent + _too_few(where, rows, least)


def refuse(faults: Sequence[LabelFault]) -> None:
    """Raise the first fault, counting the rest.

    Raises:
        DataError: If there is any.
    """
    if not faults:
        return
    first = faults[0]
    rows = sum(len(fault.rows) for fault in faults)
    more = f"; `sartor data check` lists all {rows:,} such rows" if rows > 1 else ""
    start = f"{place(*first.rows[0])}: " if first.rows else ""
    raise DataError(f"{start}{first.what}.", fix=f"{first.fix}{more}.")


def _shown(label: str) -> str:
    """A label as a message shows it: whatever stands in a cell may have become one."""
    return repr(label if len(label) <= _MOST_SHOWN else f"{label[:_MOST_SHOWN]}…")


def _times(count: int) -> str:
    return "occurs once" if count == 1 else f"occurs {count:,} times"


def _undeclared(label: str, rows: Sequence[tuple[str, int]], declared: Sequence[str]) -> LabelFault:
    listed = ", ".join(declared[:12]) + (" …" if len(declared) > 12 else "")
    near = near_miss(label[:_MOST_SHOWN], declared) if declared else ""
    hint = f"{near} " if near.startswith("did you") else ""
    return LabelFault(
        label,
        tuple(rows),
        f"label {_shown(label)} {_times(len(rows))} and is not in the need's labels ({listed})",
        f"{hint}Correct the row, or add it under data.labels",
    )


def _alone(label: str, rows: Sequence[tuple[str, int]]) -> LabelFault:
    return LabelFault(
        label,
        tuple(rows),
        f"label {_shown(label)} occurs once: one row cannot be both learnt from and judged on",
        "correct it, merge it into another label, drop the row, or add more rows of it",
    )


def _only_test(label: str, rows: Sequence[tuple[str, int]]) -> LabelFault:
    return LabelFault(
        label,
        tuple(rows),
        f"label {_shown(label)} {_times(len(rows))}, only in the test rows: nothing can learn it",
        "add training rows of it, or take it out of the test file",
    )


def _absent(found: dict[str, list[tuple[str, int]]], declared: Sequence[str]) -> list[LabelFault]:
    return [
        LabelFault(
            label,
            (),
            f"label {label!r} is declared and no row has it",
            f"{near_miss(label, found)} Take it out of data.labels, or add rows of it",
        )
        for label in declared
        if label not in found
    ]


def _too_few(
    found: dict[str, list[tuple[str, int]]], rows: Labelled, least: int
) -> list[LabelFault]:
    if len(found) >= least:
        return []
    only = next(iter(found), "")
    lies = tuple(rows.places[:1])
    return [
        LabelFault(
            only,
            lies,
            f"every row has the label {_shown(only)}: there is nothing to tell apart"
            if only
            else "no row has any label",
            "check data.label, or add rows of another label",
        )
    ]
