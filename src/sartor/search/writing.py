"""The ladder of a task whose answers are written: looked up, prompted, tuned.

It has rungs, a tuner and a graph of its own, since nothing there is a vector of logits. Rows,
assessment, artefacts, verdicts and the report are those of every other task.
"""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sartor.bundle import Learnt, Preprocess
from sartor.core.errors import ModelError, SettingError
from sartor.core.events import Note, StageDone, StageStarted
from sartor.core.hashing import digest, sources_sha256, versions
from sartor.core.types import Backbone, Candidate
from sartor.data import prepare
from sartor.data.profile import profile
from sartor.judge.planning import planned_test_rows
from sartor.llm import nearest
from sartor.models.choose import coverage
from sartor.need.model import Preferences
from sartor.search.artefact import Artefact
from sartor.search.artefacts import Maker
from sartor.search.chat_models import ChatModels
from sartor.search.climbing import Clock, say_climbed
from sartor.search.desk import Desk
from sartor.search.encoder_decoders import EncoderDecoders
from sartor.search.feasible import Dropped
from sartor.search.fitting import STEPPED_OVER, memory_errors
from sartor.search.ladder import Climb, Climber, Rung, Scored, Tried, nothing_fitted, reason
from sartor.search.lineage import draft_manifest
from sartor.search.outcome import Setting
from sartor.search.portfolio import check_given_to_writers, given_to, known_to_writer, over
from sartor.search.product import Product
from sartor.search.reading import bound, columns_of, precision_of, read_rows
from sartor.search.recorded import same_sources, tell_of_rows
from sartor.search.setup import Ready
from sartor.search.several_texts import refuse_languages
from sartor.search.writing_family import Family, Priced
from sartor.tasks import TASKS, Written
from sartor.tune.fit import Tuner
from sartor.tune.writing import WRITERS, WritingTuner, writers

_WRITTEN = {"text_generation": "replies", "translation": "translations"}
_STEPPED_OVER = (*STEPPED_OVER, ModelError)
_ENOUGH = 0.9


def writes(task: str) -> bool:
    """Whether answers of the task are written."""
    return isinstance(TASKS.get(task)().target, Written)


def family_of(task: str) -> Family:
    """The models that write what a task answers."""
    target = TASKS.get(task)().target
    assert isinstance(target, Written), "asked of tasks whose answers are written"
    return ChatModels() if target.turns else EncoderDecoders()


def ready_to_write(desk: Desk, data: object | None = None) -> Ready:
    """Read, clean, split, bind the criteria and price the ladder; as `setup.make_ready`.

    Raises:
        NeedError: If a criterion names a metric or column that is not there.
        DataError: If the rows cannot be used, by file and row.
        ModelError: If no language model can be had.
        SettingError: If the need asks for what is not there for replies, or no rung is left.
    """
    need, emit = desk.need, desk.emit
    _refuse_unread(desk)
    family = family_of(need.task)
    family.refuse(desk)
    task = TASKS.get(need.task)()
    names = writers(need.prefer.methods, family.reads)
    for text in check_given_to_writers(need.prefer, desk.file, names):
        emit(Note(text, "warning"))
    backbones = family.named(desk)
    emit(StageStarted("read"))
    columns, gathered = columns_of(need), read_rows(desk, need, data)
    same_sources(desk, "sources", {s.file: s.sha256 for s in gathered.table.sources})
    family.look_through(gathered.cleaned.frame, columns, backbones, desk)
    wanted = planned_test_rows(need.accept, {})
    known = desk.store.assignments(need.name)
    rows = prepare.divide(gathered, wanted_test=wanted, seed=need.seed, known=known)
    seen = profile(gathered.table.frame, list(columns.inputs.values()))
    outputs = tuple(task.outputs(rows.train, need.data.labels))
    _, held = bound(desk, need, outputs, rows)
    tell_of_rows(gathered, rows, emit)
    _warn_of_languages(desk, backbones, seen.languages)
    backbones += family.made(desk, rows)
    precision = precision_of(desk)
    rungs, refused = _rungs(desk, family, names, [Priced(rows, precision, b) for b in backbones])
    for each in refused:
        emit(Note(f"{each.rung}, {each.backbone} is left out: {each.why}."))
    if not rungs:
        raise SettingError(
            f"{desk.file}: no way to write {_WRITTEN.get(need.task, 'summaries')} is left: "
            + "; ".join(f"{each.rung}: {each.why}" for each in refused)
            + ".",
            fix="name others under prefer.methods, or another model under prefer.backbones.",
        )
    choice = family.choice(backbones)
    emit(StageDone("plan", f"{choice} Ladder: {' → '.join(rung.name for rung in rungs)}."))
    by_name = {backbone.name: backbone for backbone in backbones}
    setting = Setting(
        need,
        gathered,
        rows,
        seen,
        held,
        desk.file,
        tuple(rungs),
        choice,
        by_name,
        tuple(refused),
    )
    return Ready(setting, by_name, {}, precision, lambda _: "", {})


def climb_to_write(desk: Desk, ready: Ready, tuner: Tuner, clock: Clock) -> Climb:
    """Climb the ladder until it is likely that the need is met.

    Args:
        desk: What the run works with.
        ready: From `ready_to_write`.
        tuner: Keeps fits.
        clock: What may be spent.
    """
    fits, rows = WritingTuner(tuner), ready.setting.rows

    def fit(group: Sequence[Candidate]) -> list[Scored | Exception]:
        (candidate,) = group
        try:
            with memory_errors():
                found = fits(candidate, rows.train, rows.validation, desk.emit)
        except _STEPPED_OVER as error:
            return [error]
        return [
            Scored(
                found.validation_logits,
                found.train_logits,
                found.seconds,
                found.history,
                found.cut,
            )
        ]

    climb = Climber(
        fit=lambda groups: [fit(group) for group in groups],
        assess=ready.setting.held.assess,
        limits=clock.limits,
        emit=desk.emit,
        started=clock.began,
    ).climb(ready.setting.rungs)
    if climb.best is None:
        raise nothing_fitted(climb)
    say_climbed(desk, climb)
    return climb


@dataclass(frozen=True, slots=True)
class Press:
    """Makes the bundle of the best candidate.

    Args:
        desk: What the run works with.
        ready: Rows by role.
        tuner: Finds what it has fitted.
        maker: Everything of a `Maker` but what the candidate decides, by name.
    """

    desk: Desk
    ready: Ready
    tuner: Tuner
    maker: Mapping[str, Any]

    def build(self, climb: Climb) -> tuple[Artefact, list[Artefact], Maker]:
        """The artefact to ship, all that were made, and what made them."""
        best, setting = climb.best, self.ready.setting
        assert best is not None
        assert best.scored is not None
        assert best.assessment is not None
        backbone = self.ready.backbones[best.candidate.backbone]
        family = family_of(self.desk.need.task)
        read = Preprocess(max_length=family.context(backbone))
        manifest = draft_manifest(self.desk.need, self.ready, best)
        method: Any = WRITERS.get(best.candidate.method)
        how = ("from scratch" if method.begins == "drawn" else "written") if method.writes else ""
        lineage = {**manifest.lineage, "replies": how or "looked up"}
        told = {"preprocess": read, "format": read.format, "lineage": lineage}
        maker = Maker(
            held=setting.held,
            train=setting.rows.train,
            manifest=manifest.model_copy(update=told),
            bundles=self.desk.place.bundles,
            learnt=Learnt.of(setting.rows.train.ids, setting.rows.validation.ids),
            **self.maker,
        )
        product = self._product(best)
        before = setting.held.task.decode(
            best.scored.validation_logits, setting.held.outputs, best.assessment.decision
        )
        code = digest(product.key, sources_sha256("sartor.shrink"), versions("onnx", "onnxruntime"))

        def stage(name: str, build: Callable[[Path], None]) -> Path:
            return self.desk.place.stage("artefact", digest(code, name), build)

        kept, made = maker.make(product, before, stage, self.desk.emit)
        return kept, made, maker

    def _product(self, best: Tried) -> Product:
        rows, fits = self.ready.setting.rows, WritingTuner(self.tuner)
        folder = fits(best.candidate, rows.train, rows.validation, self.desk.emit).folder
        key = fits.key(best.candidate, rows.train, rows.validation)
        key = digest(key, best.scored.cut) if best.cut and best.scored else key
        method: Any = WRITERS.get(best.candidate.method)
        if not method.writes:
            copying = partial(_copied, folder / nearest.FILE, nearest.FILE)
            return Product(key, None, copying, nearest.FILE, form="replies")
        return family_of(self.desk.need.task).product(key, folder)


def _copied(source: Path, name: str, to: Path) -> None:
    shutil.copyfile(source, to / name)


def _refuse_unread(desk: Desk) -> None:
    """What a need prefers that replies have no use for."""
    prefer, file = desk.need.prefer, desk.file
    refuse_languages(desk.need, file)
    if desk.need.data.label_descriptions:
        raise SettingError(
            f"{file}: data.label_descriptions is of labels, and {desk.need.task} has none.",
            fix="leave label_descriptions out.",
        )
    if prefer.llm is not None:
        raise SettingError(
            f"{file}: prefer.llm is asked for labels, and {desk.need.task} has none.",
            fix="name the language model that is to reply under prefer.backbones.",
        )
    if prefer.long_texts == "windows":
        raise SettingError(
            f"{file}: prefer.long_texts is windows, and a reply is written to one text.",
            fix="leave long_texts out: the oldest turns of a conversation are left out first.",
        )
    if prefer.max_length != Preferences().max_length:
        raise SettingError(
            f"{file}: prefer.max_length is {prefer.max_length}, which is for encoders.",
            fix="leave max_length out: what writes reads as much as it was made for.",
        )
    if prefer.compressors:
        raise SettingError(
            f"{file}: prefer.compressors names compressors, and what writes is only rounded.",
            fix="leave compressors out.",
        )
    if prefer.pretrain != "none":
        raise SettingError(
            f"{file}: prefer.pretrain is {prefer.pretrain}, which is for encoders.",
            fix="leave pretrain out.",
        )
    if prefer.bundles:
        raise SettingError(
            f"{file}: prefer.bundles names bundles, and none is tried again for replies.",
            fix="leave bundles out.",
        )


def _warn_of_languages(
    desk: Desk, backbones: Sequence[Backbone], languages: Mapping[str, float]
) -> None:
    for backbone in backbones:
        share = coverage(backbone.languages, languages)
        if share < _ENOUGH:
            known = ", ".join(backbone.languages)
            desk.emit(
                Note(
                    f"{backbone.name} reads {known}, which {share:.0%} of these texts are in: name"
                    " a model that knows their language under prefer.backbones.",
                    "warning",
                )
            )


def _rungs(
    desk: Desk, family: Family, names: Sequence[str], priced: Sequence[Priced]
) -> tuple[list[Rung], list[Dropped]]:
    """The ladder, and what is not on it."""
    need = desk.need
    rungs: list[Rung] = []
    refused: list[Dropped] = []
    for name in names:
        method: Any = WRITERS.get(name)
        # What is looked up is the same behind every model.
        for each in priced if method.writes else priced[:1]:
            backbone = each.backbone
            chosen = need.prefer.methods is not None or not method.writes
            if not chosen and not family.suits(backbone, method.begins):
                continue
            try:
                why = family.why_not(backbone, method.begins) if method.writes else ""
            except _STEPPED_OVER as error:
                why = reason(error).rstrip(".")
            given = given_to(need.prefer.settings, name, known_to_writer(name))
            settings = over(method.portfolio(), given)
            estimate = family.price(each, name, settings[0])
            why = why or _too_large(desk, estimate.size_mb.low)
            if why:
                refused.append(Dropped(name, backbone.name, why))
                continue
            candidates = [
                Candidate(backbone.name, backbone.sha256, name, dict(setting), desk.need.seed)
                for setting in settings
            ]
            rungs.append(Rung(name, tuple(candidates), False, estimate))
    return rungs, refused


def _too_large(desk: Desk, least_mb: float) -> str:
    """Why no form of it could meet a criterion of size."""
    limits = [c.threshold for c in desk.need.accept if c.metric == "size_mb" and not c.wants_more]
    limit = min(limits, default=math.inf)
    return "" if least_mb <= limit else f"at least {least_mb:,.2g} MB, and {limit:g} are allowed"
