"""A run's `result.json`, as far as the report reads it.

Everything but the verdicts may be absent: a run that stopped early still has a page. Keys that this
version does not know are passed over, so that a newer run can be read by an older report.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    InstanceOf,
    TypeAdapter,
    ValidationError,
)
from pydantic.fields import FieldInfo

from sartor.core.errors import WorkspaceError
from sartor.core.phrases import Phrase
from sartor.need.verdict import State, Verdict
from sartor.report.answers import Confusion, Found, Numbered, Word
from sartor.report.costs import ServingCosts
from sartor.report.words import plain

Span = tuple[float, float]


def _sentence(value: object) -> object:
    return Phrase.of_json(value) if isinstance(value, Mapping) else value


Sentence = Annotated[InstanceOf[Phrase], BeforeValidator(_sentence)]
"""A phrase as `Phrase.as_json` wrote it."""


def _either(*names: str) -> FieldInfo:
    return Field(validation_alias=AliasChoices(*names))


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """`row` counts from 1 in `file`."""

    file: Word = ""
    row: int | None = None
    reason: Word = ""
    detail: Word = ""
    text: Word = ""


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Row counts; `dropped` and `changed` count by reason, `languages` are shares in [0, 1].

    `corrections` came from users of an earlier model, and are training rows.
    """

    read: int | None = None
    kept: int | None = None
    train: int | None = None
    validation: int | None = None
    test: int | None = None
    corrections: int | None = None
    dropped: dict[Word, int] = field(default_factory=dict[str, int])
    changed: dict[Word, int] = field(default_factory=dict[str, int])
    examples_dropped: tuple[DroppedRow, ...] = ()
    labels: dict[Word, int] = field(default_factory=dict[str, int])
    languages: dict[Word, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder as predicted before the run; each range is (low, high)."""

    rung: Word = ""
    label: Word = ""
    seconds: Span | None = None
    memory_mb: Span | None = None
    size_mb: Span | None = None

    @property
    def title(self) -> str:
        """Rung and label, each said once."""
        if self.rung.casefold() in self.label.casefold():
            return self.label
        return ", ".join(filter(None, (self.rung, self.label)))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A rung that cannot meet the need, and so was not climbed."""

    rung: Word = ""
    label: Word = ""
    why: Word = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One point of a learning curve; a run writes either of the two names for a loss."""

    step: float
    loss: Annotated[float | None, _either("loss", "train_loss")] = None
    validation_loss: Annotated[float | None, _either("validation_loss", "validation_log_loss")] = (
        None
    )
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one candidate scored on validation rows; `chance` is of "all met" on the test rows, by
    training rows as well where it says `by_folds`."""

    rung: Word = ""
    backbone: Word = ""
    label: Word = ""
    scores: dict[Word, float] = field(default_factory=dict[str, float])
    chance: float | None = None
    by_folds: bool = False
    seconds: float | None = None
    latency_ms: float | None = None
    size_mb: float | None = None
    history: tuple[Step, ...] = ()
    chosen: bool = False
    state: Word = "tried"
    why: Word = ""
    trial: int | None = None


@dataclass(frozen=True, slots=True)
class Artefact:
    """A form of the chosen candidate; `agreement` in [0, 1], `worst_drop` in score units."""

    name: Word = ""
    size_mb: float | None = None
    latency_p95_ms: float | None = None
    agreement: float | None = None
    worst_drop: float | None = None
    scores: dict[Word, float] = field(default_factory=dict[str, float])
    kept: bool = False
    why: Word = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """One metric on the three parts of the data."""

    metric: Word = ""
    train: float | None = None
    validation: float | None = None
    test: float | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer; `answer` is None where the model abstained."""

    text: Word = ""
    label: Word = ""
    answer: Word | None = None
    confidence: float | None = None
    id: Word = ""


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to do, the command that does it, and its price in words.

    `said` and `price` are the first and the last once more, as they can be said in any language.
    """

    what: Word = ""
    command: Word = ""
    cost: Word = ""
    said: Sentence | None = None
    price: Sentence | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """A value at numbers of rows, with its 80 % interval; columns of equal length."""

    rows: tuple[float, ...] = ()
    value: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def points(self) -> list[tuple[float, float, float, float]]:
        """(rows, value, low, high); as many as the shortest column has."""
        return list(zip(self.rows, self.value, self.low, self.high, strict=False))


@dataclass(frozen=True, slots=True)
class MoreLabels:
    """What further training rows would do for a criterion; None where it cannot be said."""

    criterion: Word = ""
    label: Word = ""
    rows: int | None = None
    target: float | None = None
    words: Word = ""
    said: Sentence | None = None
    measured: Band = Band()
    expected: Band = Band()


@dataclass(frozen=True, slots=True)
class Importance:
    """What decided among the trials of a rung; shares in [0, 1], empty with too few trials."""

    rung: Word = ""
    backbone: Word = ""
    trials: int = 0
    shares: dict[Word, float] = field(default_factory=dict[str, float])

    def ranked(self) -> list[tuple[str, float]]:
        """The settings that decided most come first."""
        return sorted(self.shares.items(), key=lambda item: -item[1])


@dataclass(frozen=True, slots=True)
class Search:
    """How the search beyond the portfolio ended; `why` is empty where there was none."""

    why: Word = ""
    by: Word = ""
    importances: tuple[Importance, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """`money` is in the currency of the need's budget; None where no price was given."""

    seconds: float | None = None
    money: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """Times are ISO 8601; `looks` counts how often this test set has been looked at;
    `texts_go_to` is the URL that every served text is sent to, empty where none leaves the machine.
    """

    verdicts: tuple[Verdict, ...]
    released: bool = False
    run: int | None = None
    name: Word = ""
    task: Word = ""
    bundle: Word = ""
    bundle_id: Word = ""
    need: Word = ""
    started: Word = ""
    finished: Word = ""
    seconds: float | None = None
    seed: int | None = None
    machine: dict[Word, Word] = field(default_factory=dict[str, str])
    data: DataFacts = DataFacts()
    plan: tuple[Rung, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    artefacts: tuple[Artefact, ...] = ()
    failed_forms: dict[Word, Word] = field(default_factory=dict[str, str])
    confusion: Confusion = field(default_factory=Confusion)
    by_label: tuple[Found, ...] = ()
    numbers: tuple[Numbered, ...] = ()
    gap: Gap = Gap()
    errors: tuple[Mistake, ...] = ()
    next_steps: tuple[NextStep, ...] = ()
    labels: tuple[MoreLabels, ...] = ()
    search: Search = Search()
    looks: int | None = None
    cost: Cost = Cost()
    serving_costs: ServingCosts | None = None
    encoder_note: Word = ""
    texts_go_to: Word = ""

    @property
    def verdict(self) -> State | None:
        """The need's state, from its criteria alone; None when nothing was judged."""
        if not self.verdicts:
            return None
        states = {verdict.state for verdict in self.verdicts}
        return "unmet" if "unmet" in states else "unproven" if "unproven" in states else "met"


# Built when first used: a terminal table of verdicts needs neither, and building costs 0.1 s.
@lru_cache
def _of_result() -> TypeAdapter[Result]:
    return TypeAdapter(Result)


@lru_cache
def _of_plan() -> TypeAdapter[tuple[Rung, ...]]:
    return TypeAdapter(tuple[Rung, ...])


def read_result(found: Mapping[str, Any]) -> Result:
    """Check and clean a run's result.

    Raises:
        WorkspaceError: If there are no verdicts, or a part is not of its form.
    """
    verdicts = [_with_numbers(v) for v in found.get("verdicts") or ()]
    known = {**found, "verdicts": verdicts} if "verdicts" in found else found
    return _read(_of_result(), known, "The run's result")


def read_costs(found: Mapping[str, Any]) -> ServingCosts:
    """Check and clean a table of costs.

    Raises:
        WorkspaceError: If a part is not of its form.
    """
    return _read(TypeAdapter(ServingCosts), found, "The table of costs")


def read_plan(found: Sequence[Mapping[str, Any]]) -> tuple[Rung, ...]:
    """Check and clean the ladder.

    Raises:
        WorkspaceError: If a rung is not of its form.
    """
    return _read(_of_plan(), found, "The plan")


def _read(adapter: TypeAdapter[_T], found: object, what: str) -> _T:
    try:
        return adapter.validate_python(_clean(found))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise WorkspaceError(
            f"{what} cannot be shown: {place}: {first['msg'].lower()}"
            f" ({str(first['input'])[:60]!r}).",
            fix="run the need again to write a new result, or repair that value in result.json.",
        ) from error


def _with_numbers(verdict: object) -> object:
    """A verdict whose value is null was not measured; NaN says so and keeps the fields numbers."""
    if not isinstance(verdict, Mapping):
        return verdict
    fields: Mapping[str, Any] = verdict
    numbers = {key: fields.get(key) for key in ("value", "low", "high")}
    return {**fields, **{k: "nan" if v is None or v != v else v for k, v in numbers.items()}}


def _clean(value: object) -> object:
    """Without nulls and numbers that are not finite, so that defaults hold; texts made plain."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        cleaned = {plain(str(key)): _clean(part) for key, part in value.items()}
        return {key: part for key, part in cleaned.items() if part is not None}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_clean(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
