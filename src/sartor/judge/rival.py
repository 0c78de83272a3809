"""Judge anything that left its answers in a file: today's rules, an LLM's answers, a competitor.

One JSON object a line: {"id": …, "label": …, "probabilities": {…}}. Without ids, line n answers row
n. A label of null is an abstention. Where a row has several labels it is {"labels": […], …}, where
its parts have labels {"entities": [{"start": …, "end": …, "label": …}]}, and where answers are
documents {"documents": […], …}, their ids with the best first; [] is an abstention. Where they are
parts of a context it is {"answer": "…"}, its words, "" for none.
"""

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sartor.core.errors import DataError
from sartor.core.forms import first_fault
from sartor.core.near import near_miss
from sartor.core.types import HAND_OFF, VALUE, Examples, TargetKind, answer_key, one_label
from sartor.judge.alpha import two_sided
from sartor.judge.api import Subject
from sartor.judge.intervals import bootstrap
from sartor.judge.statistic import difference
from sartor.judge.verdicts import RowsBehind, gather
from sartor.need.criterion import Criterion
from sartor.tasks import Unreadable, read_answer
from sartor.tasks._target.spans import Spans

_LINE_BYTES = 1_000_000
_FILE_BYTES = 2_000_000_000
_SHOWN = 5
_MOST = 1e100
"""Of a number: squares of larger ones leave the range of floats."""
_SURE = 1.01
"""What probabilities of one answer may add up to, with what rounding leaves."""
_KEYS: dict[TargetKind, str] = {"text": "label"}
"""Where it is not the key of an answer."""
_LABELS = '["refund", "late"]'
_EXAMPLES = {
    "label": '"refund"',
    "labels": _LABELS,
    "documents": _LABELS,
    "outcome": '"refund"',
    VALUE: "3.5",
    "entities": '[{"start": 0, "end": 5, "label": "city"}]',
    "answer": '"two years"',
}


def _named(value: Any) -> Any:
    """A number that stands for a name, as a table's cell is read: 3 and 3.0 are "3"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_Name = Annotated[str, BeforeValidator(_named)]
_Number = Annotated[float, Field(ge=-_MOST, le=_MOST)]


class _Line(BaseModel):
    """Other keys (the text, a cost, a model's name) are no business of the judge."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    id: _Name | None = None
    label: _Name | None = None
    labels: list[_Name] | None = None
    value: _Number | None = None
    low: _Number | None = None
    high: _Number | None = None
    documents: list[_Name] | None = None
    outcome: _Name | None = None
    entities: list[Any] | None = None
    answer: str | None = None
    probabilities: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One criterion's metric on two subjects, paired row by row.

    Args:
        criterion: As the user wrote it.
        one: Value of the first.
        other: Value of the second.
        value: `one` minus `other`.
        low: Lower end of the paired interval at the criterion's confidence.
        high: Upper end.
        n: Rows behind it.
        note: Why there is no number, where there is none (then n is 0).
    """

    criterion: str
    one: float
    other: float
    value: float
    low: float
    high: float
    n: int
    note: str = ""


def read_predictions(
    path: Path, examples: Examples, outputs: Sequence[str], target: TargetKind = "label"
) -> list[dict[str, object]]:
    """Answers in the order of the examples, in the task's response form.

    Args:
        path: JSON Lines, UTF-8.
        examples: The rows that were answered.
        outputs: The labels that there are; any other is refused with the near miss. Of answers that
            are written there is no list.
        target: The form of the answers; every line has its key.

    Raises:
        DataError: If a line is no such object, or the lines and the examples do not match.
    """
    key = _KEYS.get(target, answer_key(target))
    form = f'write e.g. {{"id": "7", "{key}": {_EXAMPLES[key]}}}.'
    lines = list(_lines(path, form))
    for number, line in lines:
        if key not in line.model_fields_set:
            raise DataError(f"{path}, line {number:,}: {key}: Field required.", fix=form)
        if target != "text":  # of replies there is no list
            _known(path, number, line, outputs)
            _once(path, number, line.documents or ())
        if one_label(target) and sum((line.probabilities or {}).values()) > _SURE:
            raise DataError(
                f"{path}, line {number:,}: the probabilities add up to more than 1.",
                fix="give each label its share of 1, or leave the probabilities out.",
            )
    with_id = [line for _, line in lines if line.id is not None]
    if with_id and len(with_id) < len(lines):
        raise DataError(
            f"{path}: {len(with_id):,} of {len(lines):,} lines have an id.",
            fix="give every line an id, or none and keep the order of the rows.",
        )
    ordered = _by_id(path, lines, examples) if with_id else _in_order(path, lines, examples)
    if target == "spans":
        return _parts(path, ordered, examples, outputs)
    return [_FORMS.get(target, _answer)(line) for line in ordered]


def compare(
    one: Subject, other: Subject, criteria: Sequence[Criterion], *, seed: int = 0
) -> list[Difference]:
    """Paired differences of two subjects on the same examples, one a criterion.

    Raises:
        DataError: If the two were not answered on the same rows.
    """
    if one.examples.ids != other.examples.ids:
        raise DataError(
            f"The two were answered on different rows ({len(one.examples):,} and "
            f"{len(other.examples):,}).",
            fix="judge both on the same file.",
        )
    return [_difference(criterion, one, other, seed) for criterion in criteria]


def _difference(criterion: Criterion, one: Subject, other: Subject, seed: int) -> Difference:
    found = [gather(criterion, subject) for subject in (one, other)]
    first, second = found
    if not isinstance(first, RowsBehind) or not isinstance(second, RowsBehind):
        lacking = [side for side in found if not isinstance(side, RowsBehind) and side.n == 0]
        note = lacking[0].note if lacking else "measured on the bundle, not on rows"
        return Difference(criterion.text, 0.0, 0.0, 0.0, 0.0, 0.0, 0, note)
    pair = difference(first.parts[0].statistic, second.parts[0].statistic)
    low, high = bootstrap(pair, two_sided(criterion.confidence, 1), seed, first.groups)
    return Difference(
        criterion=criterion.text,
        one=first.parts[0].statistic.observed,
        other=second.parts[0].statistic.observed,
        value=pair.observed,
        low=low,
        high=high,
        n=pair.n,
    )


def _lines(path: Path, form: str) -> Iterator[tuple[int, _Line]]:
    """The lines by their numbers.

    Args:
        path: Of the file.
        form: How a line is written, for messages.
    """
    try:
        size = path.stat().st_size
        if size > _FILE_BYTES:
            raise DataError(
                f"{path} has {size / 1e6:,.0f} MB; predictions may have {_FILE_BYTES / 1e6:,.0f}.",
                fix="keep only id, label and probabilities in each line.",
            )
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(_LINE_BYTES + 1):
                number += 1
                if number == 1:
                    raw = raw.removeprefix(BOM_UTF8)
                if len(raw) > _LINE_BYTES:
                    raise DataError(
                        f"{path}, line {number:,} is longer than {_LINE_BYTES:,} bytes.",
                        fix="write one JSON object a line.",
                    )
                if raw.strip():
                    yield number, _parsed(path, number, raw, form)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}.", fix="check the path and its permissions."
        ) from error


def _parsed(path: Path, number: int, raw: bytes, form: str) -> _Line:
    try:
        return _Line.model_validate_json(raw)
    except ValidationError as error:
        what = f"{path}, line {number:,}: {first_fault(error, '')}."
        raise DataError(what, fix=f"{form} The file is JSON Lines in UTF-8.") from error


def _known(path: Path, number: int, line: _Line, outputs: Sequence[str]) -> None:
    listed = [*(line.labels or ()), *(line.documents or ())]
    for label in [line.label, *listed, *(line.probabilities or ())]:
        if label is not None and label not in outputs:
            raise DataError(
                f"{path}, line {number:,}: no label is called {label!r:.80}.",
                fix=f"{near_miss(label[:80], outputs)} Write null where the rival has no usable"
                " label.",
            )


def _once(path: Path, number: int, ranking: Sequence[str]) -> None:
    """Refuse a ranking that lists one document twice: each would be counted as right."""
    twice = next((name for name, count in Counter(ranking).items() if count > 1), None)
    if twice is not None:
        raise DataError(
            f"{path}, line {number:,}: documents lists {twice!r:.80} more than once.",
            fix="list each document once, where it stands first.",
        )


def _by_id(path: Path, lines: Sequence[tuple[int, _Line]], examples: Examples) -> list[_Line]:
    found: dict[str, _Line] = {}
    for number, line in lines:
        name = str(line.id)
        if name in found:
            raise DataError(
                f"{path}, line {number:,}: id {name!r:.80} has been answered before.",
                fix="keep one line an id.",
            )
        found[name] = line
    missing = [name for name in examples.ids if name not in found]
    if missing:
        raise DataError(
            f"{path} has no answer for {len(missing):,} of {len(examples):,} rows, e.g. "
            f"{', '.join(map(repr, missing[:_SHOWN]))}.",
            fix="answer every row; an abstention is a label of null.",
        )
    return [found[name] for name in examples.ids]


def _in_order(path: Path, lines: Sequence[tuple[int, _Line]], examples: Examples) -> list[_Line]:
    if len(lines) != len(examples):
        raise DataError(
            f"{path} has {len(lines):,} answers for {len(examples):,} rows.",
            fix="write one line a row, in their order, or give each line the id of its row.",
        )
    return [line for _, line in lines]


def _parts(
    path: Path, lines: Sequence[_Line], examples: Examples, outputs: Sequence[str]
) -> list[dict[str, object]]:
    """Labelled parts, held against the texts that they are of."""
    form, found = Spans(), list[dict[str, object]]()
    for line, name, text in zip(lines, examples.ids, examples.texts, strict=True):
        cell = json.dumps(line.entities or [])
        try:
            spans = form.value(read_answer(form, cell, (), text, str))
        except Unreadable as error:
            place = f"{path}, the answer to row {name}"
            raise DataError(f"{place}: {error.what}.", fix=f"{error.fix}.") from None
        if strange := next((span.label for span in spans if span.label not in outputs), None):
            raise DataError(
                f"{path}, the answer to row {name}: no label is called {strange!r:.80}.",
                fix=near_miss(strange[:80], outputs),
            )
        found.append({"entities": [span._asdict() for span in spans]})
    return found


def _set(line: _Line) -> dict[str, object]:
    stated = {"probabilities": line.probabilities} if line.probabilities else {}
    return {"labels": line.labels, **stated}


def _number(line: _Line) -> dict[str, object]:
    ends = {"low": line.low, "high": line.high}
    return {"value": line.value, **{name: end for name, end in ends.items() if end is not None}}


def _ranked(line: _Line) -> dict[str, object]:
    listed = [{"id": name} for name in line.documents or ()]
    return {"answer": listed[0]["id"] if listed else None, "documents": listed}


def _ended(line: _Line) -> dict[str, object]:
    return {"outcome": line.outcome or HAND_OFF}


def _answer(line: _Line) -> dict[str, object]:
    best = line.label
    if best is None:
        # A forced answer is the likeliest label; without probabilities it is none, and wrong.
        best = (
            max(line.probabilities, key=line.probabilities.__getitem__)
            if line.probabilities
            else ""
        )
    answer: dict[str, object] = {"label": line.label, "best": best}
    if line.probabilities:
        answer["probabilities"] = line.probabilities
    return answer


_FORMS: dict[str, Callable[[_Line], dict[str, object]]] = {
    "label": _answer,
    "labels": _set,
    "number": _number,
    "documents": _ranked,
    "outcome": _ended,
    "answer": lambda line: {"answer": line.answer or ""},
}
