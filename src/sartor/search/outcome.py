"""How a run ended, for the caller and for the report."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sartor.core.phrases import Phrase
from sartor.core.ragged import rows_scored
from sartor.core.types import Backbone, one_label
from sartor.data.changes import summary
from sartor.data.prepare import Gathered, Prepared
from sartor.data.profile import Profile
from sartor.judge.api import Subject
from sartor.judge.checks import entities, multi_label
from sartor.judge.checks.cost import METRICS as COSTS
from sartor.judge.checks.numbers import numbered
from sartor.judge.gaps import gaps
from sartor.judge.next_steps import Beyond, MoreLabels, NextStep, next_steps
from sartor.judge.outcomes import outcomes
from sartor.need.model import Need
from sartor.need.verdict import State, Verdict
from sartor.report.notebook import verdict_table_html
from sartor.search.artefact import Artefact
from sartor.search.assess import Held, of_the_artefact
from sartor.search.estimates import Range
from sartor.search.feasible import Dropped
from sartor.search.ladder import Climb, Rung, Tried
from sartor.search.lighter import (
    cheaper_target,
    elsewhere,
    missed_cost,
    more_minutes,
    smaller_backbone,
)
from sartor.search.mistakes import wrong_answers
from sartor.search.mixed import reads
from sartor.tasks import Listed, Written

_LISTED = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run.

    Args:
        run: Its number in the workspace.
        state: "met" if all criteria are, "unmet" if any is shown to fail, else "unproven".
        bundle: Folder of the bundle; released only when the state is "met".
        verdicts: One a criterion, in the need's order.
    """

    run: int
    state: State
    bundle: Path
    verdicts: tuple[Verdict, ...]

    def as_json(self) -> dict[str, Any]:
        """The object that `sartor run --json` prints."""
        return {
            "state": self.state,
            "bundle": str(self.bundle),
            "verdicts": [v.as_json() for v in self.verdicts],
            "run": self.run,
        }

    @staticmethod
    def of_json(found: Mapping[str, Any]) -> "Outcome":
        """The inverse of `as_json`; further keys are left alone."""
        verdicts = tuple(Verdict.of_json(v) for v in found["verdicts"])
        return Outcome(found["run"], found["state"], Path(found["bundle"]), verdicts)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return verdict_table_html(self.verdicts)


@dataclass(frozen=True, slots=True)
class Setting:
    """What the report needs to know of how the run was set up.

    Args:
        need: What was asked.
        gathered: Rows as read and cleaned.
        rows: By role.
        profile: Of the rows.
        held: What assessments share.
        file: The need file, as the user wrote it.
        rungs: The ladder with its prices.
        choice: Why these backbones.
        backbones: By name.
        dropped: Rungs that cannot meet the need, left out when planning.
    """

    need: Need
    gathered: Gathered
    rows: Prepared
    profile: Profile
    held: Held
    file: str
    rungs: tuple[Rung, ...]
    choice: str
    backbones: Mapping[str, Backbone]
    dropped: tuple[Dropped, ...] = ()

    def costs_of(self, bundle: Path) -> dict[str, Any] | None:
        """What serving the bundle costs, by target, where the need asks; see `Costing.table`."""
        texts = list(self.rows.validation.texts)
        costing = self.held.costing
        return None if costing is None else costing.table(str(bundle), texts)


def describe(
    outcome: Outcome,
    setting: Setting,
    *,
    climb: Climb,
    artefacts: Sequence[Artefact],
    answers: Sequence[Mapping[str, Any]],
    labels: Mapping[str, MoreLabels],
) -> dict[str, Any]:
    """The run as JSON: everything the report draws.

    Args:
        outcome: How it ended.
        setting: How it was set up.
        climb: What was tried.
        artefacts: What was made of the best.
        answers: Of the kept artefact on the test rows.
        labels: Criterion's text to what more training rows would do for it.
    """
    need, held, test = setting.need, setting.held, setting.rows.test
    subject = held.subject(test, answers)
    return {
        **outcome.as_json(),
        "name": need.name,
        "task": need.task,
        "released": outcome.state == "met",
        "seed": need.seed,
        "language": need.language,
        "data": _data(setting),
        "encoder_note": setting.choice,
        "texts_go_to": _sends(setting, climb),
        "plan": planned(setting),
        "left_out": left_out(setting),
        "candidates": [_candidate(t, climb) for t in climb.tried],
        "artefacts": [_artefact(a) for a in artefacts],
        "failed_forms": dict(artefacts[0].failed) if artefacts else {},
        "confusion": _confusion(subject),
        "by_label": _by_label(subject),
        "numbers": numbered(subject) if subject.target == "number" else [],
        "gap": _gap(held, climb, setting.rows, subject),
        "errors": wrong_answers(held.task, test, answers, need.data.id),
        "next_steps": [
            step.as_json()
            for step in steps_after(
                outcome, setting, climb, labels, artefacts[0].untried if artefacts else ()
            )
        ],
    }


def _sends(setting: Setting, climb: Climb) -> str:
    """The URL that every served text goes to; empty where none leaves the machine."""
    if climb.best is None or climb.best.parts is not None:
        return ""
    used = setting.backbones.get(climb.best.candidate.backbone)
    return used.path if used is not None and used.source == "llm" else ""


def steps_after(
    outcome: Outcome,
    setting: Setting,
    climb: Climb,
    labels: Mapping[str, MoreLabels],
    late: Sequence[str] = (),
) -> list[NextStep]:
    """What the user could do next, cheapest first.

    Args:
        outcome: How the run ended.
        setting: How it was set up.
        climb: What was tried.
        labels: Criterion's text to what more training rows would do for it.
        late: Compressors that no time was left for.
    """
    # A rung that failed would fail again; one that was skipped or cut only lacked the budget.
    over = {t.rung for t in climb.tried} - climb.unfinished()
    untried = next((r for r in setting.rungs if r.name not in over), None)
    # A need held in Python has no file: the usual name stands for it.
    file = shlex.quote(setting.file) if Path(setting.file).suffix else "need.yaml"
    rung = None
    if untried is not None:
        seconds = untried.estimate.seconds
        rung = NextStep(
            Phrase("Climb to the next rung, {rung}.", {"rung": untried.name}),
            command=f"sartor run {file} --method {untried.name}",
            price=Phrase("about {time} more", {"time": _minutes(seconds)}),
            seconds=seconds.high,
        )
    return next_steps(
        setting.need.accept,
        outcome.verdicts,
        need=file,
        bundle=shlex.quote(str(outcome.bundle)),
        beyond=Beyond(rung, _lighter(outcome, setting, climb, file, late), labels),
    )


def _lighter(
    outcome: Outcome, setting: Setting, climb: Climb, file: str, late: Sequence[str]
) -> list[NextStep]:
    if climb.best is None:
        return []
    spent = sum(tried.seconds for tried in climb.tried)
    # An earlier bundle started from one that need not be here.
    used = setting.backbones.get(climb.best.candidate.backbone)
    if isinstance(setting.held.task.target, Written):
        return []
    if not climb.best.earlier and reads(climb.best) == "answers":
        return []
    steps: list[NextStep] = []
    if used is not None and used.parameters:
        found = smaller_backbone(used, setting.need, setting.profile.languages, file, spent)
        steps.append(found)
    verdicts = zip(setting.need.accept, outcome.verdicts, strict=True)
    # A size is exact and has no n; a time has the processes behind it.
    missed = [(c, v) for c, v in verdicts if v.state != "met" and of_the_artefact(c)]
    if missed and late:
        steps.append(more_minutes(late, file, spent))
    slow = [c for c, v in missed if v.n]
    if any(c.metric not in COSTS for c in slow):
        steps.append(elsewhere(shlex.quote(str(outcome.bundle))))
    return [*steps, *_other_targets(outcome, setting)]


def _other_targets(outcome: Outcome, setting: Setting) -> list[NextStep]:
    """Where a criterion of cost that is not met would be."""
    costing = setting.held.costing
    judged = zip(setting.need.accept, outcome.verdicts, strict=True)
    missed = [criterion for criterion, verdict in judged if missed_cost(criterion, verdict)]
    if costing is None or not missed:
        return []
    texts = list(setting.rows.validation.texts)
    use = costing.use(str(outcome.bundle), texts)
    folder = shlex.quote(str(outcome.bundle))
    found = [cheaper_target(criterion, costing.book, use, folder) for criterion in missed]
    return [step for step in found if step is not None]


def _minutes(found: Range) -> Phrase:
    if found.high < 90:
        return Phrase("{low} – {high} s", {"low": f"{found.low:.0f}", "high": f"{found.high:.0f}"})
    low, high = (f"{end / 60:.0f}" for end in (found.low, found.high))
    return Phrase("{low} – {high} min", {"low": low, "high": high})


def _data(setting: Setting) -> dict[str, Any]:
    rows, gathered, target = setting.rows, setting.gathered, setting.held.task.target
    dropped = [c for c in rows.changes if c.action == "dropped"]
    return {
        "read": len(gathered.table),
        "kept": sum(map(len, (rows.train, rows.validation, rows.test))),
        "train": len(rows.train),
        "validation": len(rows.validation),
        "test": len(rows.test),
        "corrections": gathered.corrections,
        "dropped": summary(dropped),
        "changed": summary(c for c in rows.changes if c.action == "changed"),
        "examples_dropped": [asdict(c) for c in dropped[:_LISTED]],
        "labels": {} if isinstance(target, Listed) else gathered.label_counts(),
        "languages": setting.profile.languages,
    }


def planned(setting: Setting) -> list[dict[str, Any]]:
    """The ladder with its predicted costs, as JSON."""
    return [_planned(rung) for rung in setting.rungs]


def left_out(setting: Setting) -> list[dict[str, str]]:
    """Rungs that are never climbed, and why, as JSON."""
    return [{"rung": d.rung, "label": d.backbone, "why": d.why} for d in setting.dropped]


def _planned(rung: Rung) -> dict[str, Any]:
    found = rung.estimate
    return {
        "rung": rung.name,
        "label": rung.candidates[0].backbone,
        "seconds": [found.seconds.low, found.seconds.high],
        "memory_mb": [found.memory_mb.low, found.memory_mb.high],
        "size_mb": [found.size_mb.low, found.size_mb.high],
        "disk_mb": found.disk_mb,
        "requests": found.requests,
        "tokens": found.tokens,
    }


def _candidate(tried: Tried, climb: Climb) -> dict[str, Any]:
    assessment = tried.assessment
    return {
        "rung": tried.rung,
        "backbone": tried.candidate.backbone,
        "label": tried.candidate.label(),
        "scores": dict(assessment.scores) if assessment else {},
        "chance": assessment.chance if assessment else None,
        "by_folds": assessment is not None and assessment.by_folds,
        "seconds": tried.seconds,
        "history": [dict(h) for h in tried.scored.history] if tried.scored else [],
        "chosen": tried is climb.best,
        "state": tried.state,
        "why": tried.why,
        "trial": tried.trial,
        "settings": dict(tried.candidate.settings),
    }


def _artefact(artefact: Artefact) -> dict[str, Any]:
    latency = next((v for v in artefact.verdicts if "latency" in v.criterion), None)
    return {
        "name": artefact.name,
        "size_mb": artefact.size_mb,
        "latency_p95_ms": latency.value if latency else None,
        "agreement": artefact.parity.agreement,
        "worst_drop": artefact.parity.drop_high,
        "chance": artefact.chance,
        "scores": dict(artefact.scores),
        "kept": not artefact.why,
        "why": artefact.why,
    }


def _by_label(subject: Subject) -> list[dict[str, object]]:
    """What was found of each label, where a row may hold several; empty else."""
    counts = {"labels": multi_label.by_label, "spans": entities.by_label}
    return counts[subject.target](subject) if subject.target in counts else []


def _confusion(subject: Subject) -> dict[str, Any]:
    """Rows by true and answered label; empty where a row has not one of each."""
    if not one_label(subject.target):
        return {}
    found = outcomes(subject)
    return {"labels": list(found.classes), "counts": found.confusion().tolist()}


def _gap(held: Held, climb: Climb, rows: Prepared, test: Subject) -> dict[str, Any]:
    """The first row-counting criterion on training, validation and test rows."""
    best = climb.best
    if best is None or best.scored is None or best.assessment is None:
        return {}
    logits = best.scored.train_logits
    scored = rows_scored(logits).tolist()
    decision = best.assessment.decision
    parts = {
        "validation": held.subject(
            rows.validation,
            held.task.decode(
                best.scored.validation_logits, held.outputs, decision, rows.validation.texts
            ),
        ),
        "test": test,
    }
    # An earlier bundle has not learnt from all training rows; a language model is not asked them.
    if scored:
        train, answers = rows.train.take(scored), logits[scored]
        told = held.task.decode(answers, held.outputs, decision, train.texts)
        parts["train"] = held.subject(train, told)
    counted = [c for c in held.criteria if not c.relative_to and not of_the_artefact(c)]
    for criterion, scores in gaps(counted[:1], parts, seed=held.seed).items():
        return {"metric": criterion} | {name: score.value for name, score in scores.items()}
    return {}
