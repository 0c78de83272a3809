"""Bind the names in criteria to checks, labels and columns, once the data is read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from sartor.core.errors import Fault, NeedError
from sartor.core.near import near_miss
from sartor.core.texts import COLUMNS
from sartor.core.types import Examples, TargetKind, one_label
from sartor.judge.api import CHECKS, Check, TakesPrices
from sartor.need.costs import PriceBook
from sartor.need.criterion import Combine, Condition, Criterion

TARGET = "label"
"""Name under which a slice reads the target column."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A criterion and the check that measures it."""

    criterion: Criterion
    check: Check


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of the rows that will be judged.

    Args:
        columns: From `slice_columns`.
        has_baseline: Whether they have today's answers.
        target: The form of their answers.
    """

    columns: Mapping[str, Sequence[object]]
    has_baseline: bool = False
    target: TargetKind = "label"


def check_of(metric: str, target: TargetKind | None = None) -> Check | None:
    """The check that offers a metric, or None.

    Args:
        metric: Its name.
        target: The form of the answers; None for any: whether a metric counts rows or looks at the
            bundle is the same for all.
    """
    return next((check for check in _checks(target) if metric in check.metrics), None)


def metrics(target: TargetKind | None = None) -> dict[str, str]:
    """Every metric a criterion may name, with one sentence of meaning."""
    return {name: what for check in _checks(target) for name, what in check.metrics.items()}


@cache
def _checks(target: TargetKind | None = None) -> tuple[Check, ...]:
    # Looking for entry points reads every installed distribution: once a process is enough.
    if target is not None:
        # What counts labels counts levels too; what minds their order counts levels alone.
        forms = {None, target, "label" if one_label(target) else None}
        return tuple(check for check in _checks() if check.target in forms)
    return tuple(CHECKS.get(name)() for name in CHECKS.names())


def slice_columns(examples: Examples) -> dict[str, Sequence[object]]:
    """What a slice may name: the user's other columns, the inputs by role, and the target."""
    named: dict[str, Sequence[object]] = {**examples.inputs, **examples.extra}
    # A condition compares with one value: of a set of labels none is equal, less or more.
    one = bool(examples.target) and not isinstance(examples.target[0], tuple)
    return {**named, TARGET: examples.target} if one else named


def _is_users(name: str) -> bool:
    """Whether a column is the user's, and not one that runs put beside theirs."""
    return name != COLUMNS and not name.startswith("__")


def rows_where(condition: Condition | None, columns: Mapping[str, Sequence[object]]) -> list[int]:
    """Indices of the rows that satisfy a condition."""
    count = len(next(iter(columns.values()), ()))
    if condition is None:
        return list(range(count))
    read = {name: columns[name] for name in condition.columns() if name in columns}
    return [
        row
        for row in range(count)
        if condition.holds({name: column[row] for name, column in read.items()})
    ]


def words(condition: Condition) -> str:
    """A condition as a person would write it."""
    if isinstance(condition, Combine):
        if condition.how == "not":
            return f"not ({words(condition.parts[0])})"
        return f" {condition.how} ".join(
            f"({words(part)})" if isinstance(part, Combine) else words(part)
            for part in condition.parts
        )
    if isinstance(condition.value, tuple):
        how = "in" if condition.comparison == "==" else "not in"
        return f"{condition.column} {how} ({', '.join(map(str, condition.value))})"
    shown = (
        f'"{condition.value}"' if isinstance(condition.value, str) else format(condition.value, "g")
    )
    return f"{condition.column} {condition.comparison} {shown}"


def bind(
    criteria: Sequence[Criterion],
    *,
    file: str,
    outputs: Sequence[str],
    rows: Rows,
    book: PriceBook | None = None,
) -> list[Binding]:
    """Find the check of every criterion.

    Args:
        criteria: Of the need.
        file: The need file, as the user wrote it: for messages.
        outputs: The labels.
        rows: That will be judged.
        book: Prices; None where nothing is priced.

    Raises:
        NeedError: With every fault of every criterion.
    """
    bindings: list[Binding] = []
    faults: list[Fault] = []
    for criterion in criteria:
        check = check_of(criterion.metric, rows.target)
        found = list(_faults(criterion, check, outputs, rows))
        if criterion.relative_to == "baseline" and not rows.has_baseline:
            found.append(
                Fault(
                    criterion.line,
                    f"{criterion.text!r} compares with a baseline, and none is given.",
                    "name the column with today's answers under data.baseline.",
                )
            )
        if book is not None and isinstance(check, TakesPrices) and not found:
            fault = check.priced(criterion, book)
            found += [] if fault is None else [fault]
        faults.extend(found)
        if check is not None and not found:
            bindings.append(Binding(criterion, check))
    if faults:
        raise NeedError(file, faults)
    return bindings


def refuse_unknown(criteria: Sequence[Criterion], *, file: str, target: TargetKind) -> None:
    """Refuse metrics that no task has, before any data is read.

    Args:
        criteria: Of the need.
        file: See `bind`.
        target: The form of the answers, whose metrics are offered instead.

    Raises:
        NeedError: With every one.
    """
    if faults := [_unknown(each, target) for each in criteria if check_of(each.metric) is None]:
        raise NeedError(file, faults)


def _unknown(criterion: Criterion, target: TargetKind) -> Fault:
    known = metrics(target)
    return Fault(
        criterion.line,
        f"{criterion.text!r}: no metric is called {criterion.metric!r}.",
        near_miss(criterion.metric, known, most=len(known)),
    )


def _faults(
    criterion: Criterion,
    check: Check | None,
    outputs: Sequence[str],
    rows: Rows,
) -> Iterator[Fault]:
    columns = rows.columns
    if check is None:
        yield _unknown(criterion, rows.target)
    elif fault := check.fault(criterion, outputs):
        yield fault
    if criterion.where is None:
        return
    unknown = sorted(criterion.where.columns() - set(columns))
    for name in unknown:
        yield Fault(
            criterion.line,
            f"{criterion.text!r}: the data has no column {name!r}.",
            near_miss(name, [each for each in columns if _is_users(each)]),
        )
    if not unknown and not rows_where(criterion.where, columns):
        yield Fault(
            criterion.line,
            f"{criterion.text!r}: no row has {words(criterion.where)}.",
            "correct the condition, or add such rows.",
        )
