"""What every run does with its rows before anything is learnt from them."""

from collections.abc import Sequence
from dataclasses import asdict

from sartor.core.events import Note
from sartor.data import prepare
from sartor.judge.resolve import Rows, bind, slice_columns
from sartor.llm.asker import Asks
from sartor.llm.memory import Memory
from sartor.models.precision import Precision
from sartor.need.costs import PriceBook
from sartor.need.model import Need
from sartor.search import machine
from sartor.search.assess import NAMED, Held, answers_today, classes
from sartor.search.costing import Costing, asks_for_costs
from sartor.search.desk import Desk
from sartor.search.recorded import heard, prices
from sartor.search.refereeing import opinion_of, refuse_unjudged
from sartor.tasks import TASKS


def columns_of(need: Need) -> prepare.Columns:
    """Where the need's task finds what it reads."""
    task = TASKS.get(need.task)()
    return prepare.columns_of(need.data, tuple(task.roles.inputs), task.target)


def read_rows(desk: Desk, need: Need, data: object | None) -> prepare.Gathered:
    """The rows of a need, clean, with what users have said of them.

    Args:
        desk: What the run works with.
        need: Of the run, with what its parts add to it.
        data: Rows held in Python instead of the need's `data.train`.

    Raises:
        DataError: With file and row, if they cannot be used.
    """
    return prepare.gather(
        need.data,
        desk.root,
        known=desk.store.assignments(need.name),
        columns=columns_of(need),
        corrections=heard(desk) if need.data.feedback else (),
        objects=None if data is None else {"train": [data]},
    )


def bound(
    desk: Desk, need: Need, outputs: tuple[str, ...], rows: prepare.Prepared
) -> tuple[PriceBook, Held]:
    """Prices as they stand, and what every assessment shares, once all criteria can be measured.

    Args:
        desk: What the run works with.
        need: As of `read_rows`.
        outputs: Names of the model's outputs.
        rows: By role.

    Raises:
        NeedError: If a criterion names a metric, label or column that is not there.
    """
    refuse_unjudged(need, desk.file)
    task, book = TASKS.get(need.task)(), prices(desk)
    judged = Rows(slice_columns(rows.test), bool(need.data.baseline), task.roles.target_kind)
    named = classes(task, outputs)
    bind(need.accept, file=desk.file, outputs=named, rows=judged, book=book)
    if task.roles.target_kind in NAMED:
        _say_no_labels(desk, need, named, answers_today(rows.train, need.data.baseline or "", task))
    held = Held(
        task=task,
        outputs=outputs,
        validation=rows.validation,
        criteria=tuple(need.accept),
        test_size=len(rows.test),
        baseline=need.data.baseline or "",
        group=need.data.group or "",
        seed=need.seed,
        costing=Costing(book, desk.fact, asks_for_costs(need)),
        opinion=opinion_of(need, Asks(Memory(desk.place.answers), desk.emit)),
    )
    return book, held


def _say_no_labels(
    desk: Desk, need: Need, labels: Sequence[str], today: Sequence[str] | None
) -> None:
    """That some of the baseline's answers are none that a row could have."""
    known = {*labels}
    others = [answer for answer in today or () if answer not in known]
    if others:
        shown = ", ".join(repr(name[:40]) for name in list(dict.fromkeys(others))[:3])
        desk.emit(
            Note(
                f"{len(others):,} of {len(today or ()):,} training rows have something under"
                f" {need.data.baseline!r} that is no label ({shown}): such answers count as wrong.",
                "warning",
            )
        )


def precision_of(desk: Desk) -> Precision:
    """How fast this machine computes in which precision, as measured when the run began."""
    return Precision(**desk.fact("precision", lambda: asdict(machine.precision(desk.place))))
