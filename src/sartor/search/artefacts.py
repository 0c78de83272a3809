"""Down the ladder again: export, compress, measure each artefact, keep the cheapest that holds.

Every artefact is written as a bundle and answers the validation rows through the serving runtime,
so what is compared is what would ship.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.bundle import Bundle, Learnt, Manifest, write_bundle
from sartor.core.events import Emit, Note, StageDone, StageProgress, StageStarted
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import Examples, by_piece
from sartor.judge.api import Subject
from sartor.judge.chance import chance_of_met
from sartor.judge.gaps import values
from sartor.judge.verdicts import judge
from sartor.llm.translated import ENCODER
from sartor.need.verdict import Verdict
from sartor.search.answering import answers_to, right_ones
from sartor.search.artefact import (
    Artefact,
    failures,
    holds,
    instead,
    left_out,
    may_meet,
    refused,
    short,
)
from sartor.search.assess import Held, of_the_artefact, timed
from sartor.search.cascading import Latencies
from sartor.search.chains import ALWAYS, REPLIES, Chain, compress, title
from sartor.search.changed import compared
from sartor.search.forms import Forms
from sartor.search.ladder import Assessment, likely
from sartor.search.product import FLOAT, Product
from sartor.search.publishing import publish
from sartor.search.time_left import UNBOUNDED, TimeLeft
from sartor.serve import runtime
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Form, Retrain
from sartor.shrink.parity import Parity
from sartor.tasks import Written

PROMPT = "prompt"
TOLERANCE = 0.02
"""Accuracy an artefact may lose at worst against the fitted model, upper end of the interval."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Builds and measures artefacts of one fitted model.

    Args:
        held: Validation rows and criteria.
        train: Rows that compressors may calibrate on.
        manifest: Everything but files and decision.
        need_text: As the user wrote it; goes into the bundle.
        scratch: Folder for artefacts that are being compared; emptied first.
        bundles: Folder of the workspace's bundles, where the kept one ends.
        timing: Bundle folder and texts to latencies (processes, requests) in milliseconds;
            recorded once a run.
        conditions: What the timing holds for.
        learnt: The rows that decided anything: training and validation.
        earlier: The bundle that is shipped again; None where something was fitted.
        streaming: The same of replies: how they begin and go on; None where none are written.
        load: A bundle's folder to what answers for it.
        students: Rows that smaller models learn from and what trains them on these, see
            `shrink.api.Retrain`; None where nothing can be trained.
        time_left: What compressors may take.
        beside: A form's content files to those of a bundle, with what lies beside a graph.
        recipe: What rows said that a fit had not seen, where this one saw the validation rows:
            these then tell forms apart, not how good they are.
    """

    held: Held
    train: Examples
    manifest: Manifest
    need_text: str
    scratch: Path
    bundles: Path
    timing: Callable[[Bundle, Sequence[Text]], NDArray[np.float64]]
    conditions: str
    learnt: Learnt | None = None
    earlier: Bundle | None = None
    streaming: Callable[[Bundle, Sequence[Text]], NDArray[np.float64]] | None = None
    load: Callable[[Path], runtime.Runtime] = lambda folder: runtime.load(
        folder, unreleased="allow", verify_key=""
    )
    students: Callable[[], tuple[Examples, Retrain]] | None = None
    time_left: TimeLeft = UNBOUNDED
    beside: Callable[[Mapping[str, Path]], Mapping[str, Path]] = lambda content: content
    recipe: Assessment | None = None
    named: Sequence[str] = ()

    def make(
        self,
        product: Product,
        before: Sequence[Mapping[str, Any]] | None,
        stage: Callable[[str, Callable[[Path], None]], Path],
        emit: Emit,
    ) -> tuple[Artefact, list[Artefact]]:
        """The artefact to ship and all that were made.

        Args:
            product: What the chosen candidate ships as.
            before: The fitted model's answers on the validation rows; None takes the export's.
            stage: Keeps a graph under a name; built once, found again on resume.
            emit: Progress.
        """
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        emit(StageStarted("shrink", 1, "artefacts"))
        if product.file == GRAPH:
            made = self._compressed(product, before, stage, emit)
        else:  # of a prompt, or of replies, there is nothing to compress
            name = PROMPT if product.form == FLOAT else product.form
            content = product.content(stage(name, product.write))
            made = [self._measure(name, content, before)]
        made, best = self._cheapest(made, emit)
        kept = replace(best, bundle=publish(best.bundle, self.bundles, self.need_text))
        sizes = " → ".join(f"{a.name} {short(a.size_mb)}" for a in made)
        emit(StageDone("shrink", f"{sizes} MB · kept {kept.name}: {kept.parity.sentence()}"))
        shutil.rmtree(self.scratch)
        return kept, [kept if a.name == kept.name else refused(a, kept) for a in made]

    def _compressed(
        self,
        product: Product,
        before: Sequence[Mapping[str, Any]] | None,
        stage: Callable[[str, Callable[[Path], None]], Path],
        emit: Emit,
    ) -> list[Artefact]:
        # What was judged once has been through them, and ships as it was where that will do.
        always = ALWAYS if self.earlier is None else ()

        def compressing(name: str, source: Form, named: str) -> Callable[[Path], None]:
            says = partial(self.time_left.begun, named, emit) if named else lambda trains: emit
            return self._compressing(name, source, says, held_against)

        forms = Forms(product, stage, compressing, always)
        maker, held_against, exported = self, before, None
        windows = self.manifest.preprocess.windows and self.held.task.roles.target_kind != "answer"
        if windows and self.earlier is None:
            maker, held_against, exported = self._in_windows(_content(forms.of(())), before, emit)

        def make(chain: Chain) -> Artefact:
            name, found = title(chain, product.form), forms.of(chain)
            emit(StageProgress("shrink", len(forms.made), len(forms.made) + 1, name))
            content = {**_content(found), **product.beside}
            trained = any(COMPRESSORS.get(each)().trains for each in chain)
            reads, fit = maker._reading(found), forms.fit_of(chain)
            with forms.tried(chain):
                made = reads._measure(name, content, held_against, fit, trained=trained)
            return replace(made, trained=trained)

        first = make(())
        held_against = held_against or first.answers
        if exported is not None:
            first = replace(first, parity=exported)
        asked = [c for c in self.held.criteria if of_the_artefact(c)]
        # What compressors do to logits of a text says nothing of replies: only this was tried.
        which = (REPLIES, ()) if self._written else (always, self.named or None)
        every = compress(first, make, self._timed, asked, *which)
        for said in left_out(forms.late, forms.failed):
            emit(Note(said, "warning"))
        late, failed = tuple(forms.late), dict(forms.failed)
        return [replace(each, untried=late, failed=failed) for each in every]

    def _in_windows(
        self, content: Mapping[str, Path], before: Sequence[Mapping[str, Any]] | None, emit: Emit
    ) -> tuple["Maker", Sequence[Mapping[str, Any]], Parity]:
        """Who makes the artefacts that read long texts in windows, what theirs are held against,
        and the parity of the export.

        The fitted model's answers are of texts that were cut, so the graph is held against them
        on cut texts. What windows change is no loss of the export: it is said, and written into the
        lineage. The artefacts are held against the graph's answers in windows.
        """
        cut = self.manifest.preprocess.model_copy(update={"windows": None})
        plain = self.manifest.model_copy(update={"preprocess": cut, "format": cut.format})
        exported = replace(self, manifest=plain)._measure("cut", content, before)
        found = self._measure("windows", content, exported.answers)
        told = f"against cut texts, {found.parity.sentence()}"
        level = "info" if found.parity.holds else "warning"
        emit(Note(f"Long texts in windows: {told}.", level))
        lineage = {**self.manifest.lineage, "windows": told}
        maker = replace(self, manifest=self.manifest.model_copy(update={"lineage": lineage}))
        return maker, found.answers, exported.parity

    def holds(self, artefact: Artefact, change: Callable[[Latencies], Latencies]) -> bool:
        """Whether criteria of speed and cost would be met, were the latencies changed so."""
        plain = self._subject(artefact.bundle, self.held.validation, artefact.answers)
        changed = self.held.sped(plain, change)
        criteria = [c for c in self.held.criteria if timed(c)]
        return all(v.state == "met" for v in judge(criteria, changed, seed=self.held.seed))

    def subject(self, bundle: Bundle, examples: Examples) -> Subject:
        """What the bundle answers on examples, through the serving runtime."""
        answers = answers_to(self.load(bundle.folder), examples, self.held.task)
        return self._subject(bundle, examples, answers)

    @property
    def _written(self) -> bool:
        """Whether answers are written, not chosen."""
        return isinstance(self.held.task.target, Written)

    def _subject(
        self, bundle: Bundle, examples: Examples, answers: Sequence[Mapping[str, Any]]
    ) -> Subject:
        texts, streaming = examples.texts, self.streaming
        found = self.held.measured(
            examples,
            answers,
            str(bundle.folder),
            lambda: self.timing(bundle, texts),
            self.conditions,
        )
        if streaming is None:
            return found
        return replace(found, streaming=lambda: streaming(bundle, texts))

    def _reading(self, form: Form) -> "Maker":
        """Who measures a form: it may cut texts sooner."""
        if form.max_length is None:
            return self
        read = self.manifest.preprocess.model_copy(update={"max_length": form.max_length})
        manifest = self.manifest.model_copy(update={"preprocess": read})
        return replace(self, manifest=manifest)

    def _compressing(
        self,
        name: str,
        source: Form,
        says: Callable[[bool], Emit],
        before: Sequence[Mapping[str, Any]] | None = None,
    ) -> Callable[[Path], None]:
        compressor, read = COMPRESSORS.get(name)(), self.manifest.preprocess
        kind = self.held.task.roles.target_kind

        def compares(form: Form) -> Parity:
            found = self._decoded(self._answers(form, self.held.validation.texts))
            return compared(self.held, before or found, found, TOLERANCE)

        def made(to: Path) -> None:
            emit = says(compressor.trains)
            teaches = self.students if compressor.trains else None
            train, retrain = (self.train, None) if teaches is None else teaches()
            bench = Bench(
                task=self.manifest.task,
                outputs=tuple(self.held.outputs),
                max_length=read.max_length,
                prefix=read.prefix,
                train=train,
                validation=self.held.validation,
                answers=self._answers,
                retrain=retrain,
                seed=self.held.seed,
                emit=emit,
                compares=compares,
                whole=read.windows is not None or by_piece(kind) or kind == "documents",
            )
            compressor.compress(source, to, bench)

        return made

    def _answers(self, form: Form, texts: Sequence[Text]) -> Floats:
        """(texts, outputs) logits of a form, through the runtime."""
        return self._reading(form)._logits(_content(form), texts)

    def _decoded(self, logits: Floats) -> Sequence[Mapping[str, Any]]:
        """What logits of the validation rows say, by a rule of their own."""
        held = self.held
        decision = held.settle(logits, trained=False)
        texts = list(held.validation.texts)
        return held.task.decode(logits, held.outputs, decision, texts)

    def _logits(
        self, content: Mapping[str, Path], texts: Sequence[Text], right: Sequence[str] | None = None
    ) -> Floats:
        # The decision rule is settled on the graph's own logits, so a draft bundle computes them.
        with TemporaryDirectory(dir=self.scratch) as place:
            manifest = self.manifest.model_copy(update={"decision": {}})
            every = self.beside(content)
            draft = write_bundle(Path(place) / "draft", manifest, every, self.need_text)
            served = self.load(draft.folder)
            return served.logits(texts) if right is None else served.scored(texts, right)

    def _measure(
        self,
        name: str,
        content: Mapping[str, Path],
        before: Sequence[Mapping[str, Any]] | None,
        fit: Path | None = None,
        *,
        trained: bool = False,
    ) -> Artefact:
        held, texts = self.held, list(self.held.validation.texts)
        truth = right_ones(held.validation, held.task)
        logits = self._logits(content, texts, truth if self._written else None)
        decision = held.settle(logits, trained=trained)
        manifest = self.manifest.model_copy(
            update={
                "decision": decision,
                "lineage": self._lineage(name, decision, fit),
            }
        )
        every = self.beside(content)
        bundle = write_bundle(self.scratch / name, manifest, every, self.need_text, self.learnt)
        # The runtime decodes with the same function: its answers from these logits are these.
        answers = held.task.decode(logits, held.outputs, decision, texts)
        subject = self._subject(bundle, held.validation, answers)
        found = compared(held, before or answers, answers, TOLERANCE)
        sized = [c for c in held.criteria if of_the_artefact(c) and not timed(c)]
        verdicts = tuple(judge(sized, subject, seed=held.seed))
        return Artefact(
            name,
            bundle,
            found,
            bundle.size_mb,
            verdicts,
            self._chance(subject, verdicts),
            # Without those that are timed: that takes seconds, and most forms need not be.
            values([c for c in held.criteria if not timed(c)], subject)
            | dict(self.recipe.scores if self.recipe else {}),
            tuple(answers),
        )

    def _lineage(self, name: str, decision: Mapping[str, Any], fit: Path | None) -> dict[str, Any]:
        """Where it comes from; an earlier bundle that came out the same comes from where it did."""
        lineage: dict[str, Any] = {**self.manifest.lineage, "artefact": name}
        if fit is not None and fit.is_relative_to(self.bundles.parent):
            lineage["fit"] = fit.relative_to(self.bundles.parent).as_posix()
        if self.earlier is not None and decision != self.earlier.manifest.decision:
            told = self.earlier.manifest
            lineage["earlier"] = {"id": told.id, "name": told.name}
        return lineage

    def _cheapest(self, made: Sequence[Artefact], emit: Emit) -> tuple[list[Artefact], Artefact]:
        """Time artefacts from the smallest up until one holds; the least bad where none does.

        Timing starts fresh processes and takes seconds, so the larger ones are left alone then.
        Where nothing that answers like the fitted model can meet the need, one that was trained to
        be small and may meet it goes before one that cannot: it is judged by itself.
        """
        best = max((a.chance for a in made if a.parity.holds), default=1.0)
        timed = {a.name: a for a in made}
        for artefact in sorted(made, key=lambda a: a.size_mb):
            if not holds(artefact, best):
                continue
            timed[artefact.name] = self._timed(artefact)
            if holds(timed[artefact.name], best):
                return list(timed.values()), timed[artefact.name]
        if not any(a.parity.holds and may_meet(a) for a in timed.values()):
            for artefact in sorted(made, key=lambda a: (-likely(a.chance), a.size_mb)):
                if not may_meet(artefact):
                    continue
                timed[artefact.name] = self._timed(artefact)
                if may_meet(timed[artefact.name]):
                    emit(Note(instead(timed[artefact.name]), "warning"))
                    return list(timed.values()), timed[artefact.name]
        whole, held = made[0], self.held
        if whole is timed[whole.name]:
            timed[whole.name] = self._timed(whole)
        return list(timed.values()), min(timed.values(), key=lambda a: failures(a, held.criteria))

    def _timed(self, artefact: Artefact) -> Artefact:
        held = self.held
        criteria = [c for c in held.criteria if timed(c)]
        if not criteria or criteria[0].text in {v.criterion for v in artefact.verdicts}:
            return artefact
        subject = self._subject(artefact.bundle, held.validation, artefact.answers)
        found = judge(criteria, subject, seed=held.seed)
        verdicts = (*artefact.verdicts, *found)
        scores = {**artefact.scores, **{v.criterion: v.value for v in found if v.n}}
        chance = self._chance(subject, verdicts)
        return replace(artefact, verdicts=verdicts, chance=chance, scores=scores)

    def _chance(self, subject: Subject, known: Sequence[Verdict]) -> float:
        held = self.held
        found = chance_of_met(held.criteria, subject, held.test_size, known=known, seed=held.seed)
        return min(found.overall, self.recipe.chance if self.recipe else 1.0)


def _content(form: Form) -> dict[str, Path]:
    reads = {} if form.encoder is None else {ENCODER: form.encoder}
    return {GRAPH: form.graph, TOKENIZER: form.tokenizer, **reads}
