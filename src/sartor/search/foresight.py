"""Forecasts of labels for what a run left open, and those that earlier runs made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sartor.core.errors import WorkspaceError
from sartor.core.events import Emit, StageDone, StageProgress, StageStarted
from sartor.core.phrases import Phrase
from sartor.core.strata import names_of
from sartor.core.workspace import Workspace
from sartor.judge.api import CountsRows
from sartor.judge.next_steps import MoreLabels, amount, label_of, labelling, training_rows
from sartor.judge.resolve import check_of
from sartor.need.criterion import Criterion
from sartor.need.verdict import Verdict
from sartor.search.dearest import dearest
from sartor.search.documents import finds_documents
from sartor.search.fitting import HeadOn
from sartor.search.forecast import Forecast, forecast, grow
from sartor.search.ladder import Climb, Tried
from sartor.search.outcome import Setting

_MEASURED_BY = "head"
"""The method whose curve is taken: the one that costs next to nothing a fit."""
_MOST = 3
"""Open criteria that are forecast; each class of its own takes seventeen fits."""


def foresee(
    setting: Setting, climb: Climb, verdicts: Sequence[Verdict], fit: HeadOn, emit: Emit
) -> list[Forecast]:
    """What more training rows would do for each criterion that is not met.

    Empty where no head was tried, or all is met: then nobody needs to know.

    Args:
        setting: Of the run.
        climb: As climbed.
        verdicts: One a criterion.
        fit: Fits a head on some of the training rows.
        emit: Progress.
    """
    head = _head(climb)
    wanted = [
        criterion
        for criterion, verdict in zip(setting.need.accept, verdicts, strict=True)
        if verdict.state != "met" and isinstance(check_of(criterion.metric), CountsRows)
    ][:_MOST]
    # Rows of documents grow in kinds, not within them: parts of them would tell of another base.
    if head is None or not wanted or finds_documents(setting.need.task):
        return []
    emit(StageStarted("forecast", len(wanted), "criteria"))
    train, held = setting.rows.train, setting.held
    candidate = head.candidate
    grown = {
        label: grow(train, label, lambda rows: fit(candidate, rows), seed=setting.need.seed)
        for label in dict.fromkeys(map(label_of, wanted))
    }
    found: list[Forecast] = []
    for done, criterion in enumerate(wanted, 1):
        label = label_of(criterion)
        parts = grown[label]
        if parts is not None:
            having = [t for t in train.target if not label or label in names_of(t)]
            rows = len(having)
            present = _present(criterion, climb, head)
            each = forecast(criterion, held, parts, rows=rows, present=present)
            if each is not None and not label and each.low:
                whose = dearest(
                    criterion,
                    held,
                    train,
                    lambda some: fit(candidate, some),
                    seed=setting.need.seed,
                )
                each = replace(each, first=whose)
            found += [each] if each is not None else []
        emit(StageProgress("forecast", done, len(wanted), criterion.text))
    emit(
        StageDone(
            "forecast", "; ".join(sentence(each).say() for each in found) or "too few rows to tell"
        )
    )
    return found


def more_labels(found: Sequence[Forecast]) -> dict[str, MoreLabels]:
    """For `judge.next_steps`, by the criterion's text."""
    return {f.criterion: MoreLabels(f.low, f.high, f.target, f.chance, f.first) for f in found}


def sentence(found: Forecast) -> Phrase:
    """In words, e.g. for the terminal."""
    values: dict[str, str | Phrase] = {
        "criterion": found.criterion,
        "rows": training_rows(found.label),
    }
    if found.low is None:
        return Phrase("{criterion}: no number of further {rows} is likely to do", values)
    values |= {"n": amount(found.low, found.high), "label": found.first}
    if found.first:
        return Phrase("{criterion}: {n} further {rows}, those of {label} first", values)
    return Phrase("{criterion}: {n} further {rows}", values)


def described(found: Forecast) -> dict[str, Any]:
    """As JSON, with its price in words; no price where no number will do."""
    said = sentence(found)
    price = None if found.low is None else labelling(found.low, found.high)
    return {
        **found.as_json(),
        "words": said.say(),
        "said": said.as_json(),
        "cost": "" if price is None else price.say(),
        "price": None if price is None else price.as_json(),
    }


def of_earlier(place: Workspace, name: str) -> list[Mapping[str, Any]]:
    """The forecasts of the newest finished run of a need, each with the number of that run."""
    for number in reversed(place.run_numbers()):
        try:
            result = place.run(number).read_json("result.json")
        except WorkspaceError:  # it did not get that far, or is damaged: an older one may do
            continue
        if isinstance(result, dict) and result.get("name") == name:
            return [{**each, "run": number} for each in result.get("labels", [])]
    return []


def _head(climb: Climb) -> Tried | None:
    """The best head that was tried, on the chosen backbone where there is one."""
    heads = [t for t in climb.tried if t.rung == _MEASURED_BY and t.assessment is not None]
    best = climb.best
    near = [t for t in heads if best and t.candidate.backbone == best.candidate.backbone]

    def rank(tried: Tried) -> tuple[float, float]:
        assert tried.assessment is not None
        return tried.assessment.chance, -tried.assessment.log_loss

    return max(near or heads, key=rank, default=None)


def _present(criterion: Criterion, climb: Climb, head: Tried) -> float | None:
    """The chosen candidate's value on validation rows, where it is another than the head."""
    best = climb.best
    if best is None or best.assessment is None or best.candidate == head.candidate:
        return None
    return best.assessment.scores.get(criterion.text)
