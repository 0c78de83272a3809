"""Down the ladder again: export, compress, measure each artefact, keep the cheapest that holds.

Every artefact is written as a bundle and answers the validation rows through the serving runtime,
so what is compared is what would ship.
"""

import errno
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.bundle import Bundle, Learnt, Manifest, open_bundle, write_bundle
from sartor.core.durable import fsync_folder
from sartor.core.errors import BundleError, NothingToShrink
from sartor.core.events import Emit, Note, StageDone, StageProgress, StageStarted
from sartor.core.hashing import digest
from sartor.core.protocols import Floats
from sartor.core.types import Examples
from sartor.judge.api import Subject
from sartor.judge.chance import chance_of_met
from sartor.judge.gaps import Score, gaps
from sartor.judge.verdicts import judge
from sartor.need.verdict import Verdict
from sartor.search.assess import Held, of_the_artefact, timed
from sartor.search.cascading import Latencies
from sartor.search.ladder import ENOUGH
from sartor.search.product import Product
from sartor.serve import runtime
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Form
from sartor.shrink.parity import Parity, parity

PROMPT = "prompt"
TOLERANCE = 0.02
"""Accuracy an artefact may lose at worst against the fitted model, upper end of the interval."""
_ROOM = 0.1
"""Chance of "met" an artefact may cost; simulated chances differ by that much anyhow."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """One form of the fitted model, measured on validation rows.

    Args:
        name: "onnx", the compressor that made it, or "prompt".
        bundle: Unreleased, in the workspace.
        parity: Against the fitted model.
        size_mb: All files of the bundle, MB of 1,000,000 bytes.
        verdicts: Of the criteria on the artefact itself (size, and latency where it was timed).
        chance: That all criteria are met on the test rows, size and latency as measured.
        scores: Criterion's text to validation value.
        answers: On the validation rows.
        why: Why it was not kept; empty for the one that was.
    """

    name: str
    bundle: Bundle
    parity: Parity
    size_mb: float
    verdicts: tuple[Verdict, ...]
    chance: float
    scores: Mapping[str, float]
    answers: tuple[Mapping[str, Any], ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Maker:
    """Builds and measures artefacts of one fitted model.

    Args:
        held: Validation rows and criteria.
        train: Rows that compressors may calibrate on and learn from.
        manifest: Everything but files and decision.
        need_text: As the user wrote it; goes into the bundle.
        scratch: Folder for artefacts that are being compared; emptied first.
        bundles: Folder of the workspace's bundles, where the kept one ends.
        timing: Bundle folder and texts to latencies (processes, requests) in milliseconds;
            recorded once a run.
        conditions: What the timing holds for.
        learnt: The rows that decided anything: training and validation.
        earlier: The bundle that is shipped again; None where something was fitted.
        load: A bundle's folder to what answers for it.
    """

    held: Held
    train: Examples
    manifest: Manifest
    need_text: str
    scratch: Path
    bundles: Path
    timing: Callable[[Bundle, Sequence[str]], NDArray[np.float64]]
    conditions: str
    learnt: Learnt | None = None
    earlier: Bundle | None = None
    load: Callable[[Path], runtime.Runtime] = lambda folder: runtime.load(
        folder, unreleased="allow"
    )

    def make(
        self,
        product: Product,
        before: Sequence[Mapping[str, Any]],
        stage: Callable[[str, Callable[[Path], None]], Path],
        emit: Emit,
    ) -> tuple[Artefact, list[Artefact]]:
        """The artefact to ship and all that were made.

        Args:
            product: What the chosen candidate ships as.
            before: The fitted model's answers on the validation rows.
            stage: Keeps a graph under a name; built once, found again on resume.
            emit: Progress.
        """
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        # What was judged once ships as it was; it has been through the compressors. Of a prompt
        # there is nothing to compress.
        first = product.form if product.file == GRAPH else PROMPT
        whole = self.earlier is not None or product.file != GRAPH
        names = [first, *([] if whole else COMPRESSORS.names())]
        emit(StageStarted("shrink", len(names), "artefacts"))
        graph = stage(first, product.write)
        maker, exported = self, None
        if self.manifest.preprocess.windows is not None and not whole:
            maker, before, exported = self._in_windows(graph, product, before, emit)
        made = [maker._measure(first, graph, product, before)]
        made = made if exported is None else [replace(made[0], parity=exported)]
        for done, name in enumerate(names[1:], 1):
            emit(StageProgress("shrink", done, len(names), name))
            try:
                smaller = stage(name, self._compressing(name, product.written(graph), emit))
            except NothingToShrink:
                continue
            made.append(maker._measure(name, smaller, product, before))
        made, best = maker._cheapest(made)
        kept = replace(best, bundle=self._publish(best.bundle))
        sizes = " → ".join(f"{a.name} {_short(a.size_mb)}" for a in made)
        emit(StageDone("shrink", f"{sizes} MB · kept {kept.name}: {kept.parity.sentence()}"))
        shutil.rmtree(self.scratch)
        return kept, [kept if a.name == kept.name else _refused(a, kept) for a in made]

    def _in_windows(
        self, graph: Path, product: Product, before: Sequence[Mapping[str, Any]], emit: Emit
    ) -> tuple["Maker", Sequence[Mapping[str, Any]], Parity]:
        """Who makes the artefacts that read long texts in windows, what theirs are held against,
        and the parity of the export.

        The fitted model's answers are of texts that were cut, so the graph is held against them
        on cut texts. What windows change is no loss of the export: it is said, and written into the
        lineage. The artefacts are held against the graph's answers in windows.
        """
        cut = self.manifest.preprocess.model_copy(update={"windows": None})
        plain = self.manifest.model_copy(update={"preprocess": cut, "format": cut.format})
        exported = replace(self, manifest=plain)._measure("cut", graph, product, before)
        found = self._measure("windows", graph, product, exported.answers)
        told = f"against cut texts, {found.parity.sentence()}"
        level = "info" if found.parity.holds else "warning"
        emit(Note(f"Long texts in windows: {told}.", level))
        lineage = {**self.manifest.lineage, "windows": told}
        maker = replace(self, manifest=self.manifest.model_copy(update={"lineage": lineage}))
        return maker, found.answers, exported.parity

    def holds(self, artefact: Artefact, change: Callable[[Latencies], Latencies]) -> bool:
        """Whether the criteria of speed would be met, were the artefact's latencies changed so."""
        texts = self.held.validation.inputs["text"]
        plain = self.held.subject(self.held.validation, artefact.answers)
        changed = replace(plain, timing=lambda: change(self.timing(artefact.bundle, texts)))
        criteria = [c for c in self.held.criteria if timed(c)]
        return all(v.state == "met" for v in judge(criteria, changed, seed=self.held.seed))

    def subject(self, bundle: Bundle, examples: Examples) -> Subject:
        """What the bundle answers on examples, through the serving runtime."""
        served = self.load(bundle.folder)
        return self._subject(bundle, examples, served.predict(list(examples.rows())))

    def _subject(
        self, bundle: Bundle, examples: Examples, answers: Sequence[Mapping[str, Any]]
    ) -> Subject:
        texts = examples.inputs["text"]
        return self.held.measured(
            examples,
            answers,
            str(bundle.folder),
            lambda: self.timing(bundle, texts),
            self.conditions,
        )

    def _publish(self, bundle: Bundle) -> Bundle:
        """Move a bundle to its place; the same one that is there already stays.

        The id says how a bundle answers. One that answers alike but was asked for by another need,
        or was edited by hand, is another bundle: it keeps its place and this one goes beside it.
        """
        manifest = bundle.manifest
        name = f"{manifest.name}-{manifest.id[:8]}"
        origin = digest(self.need_text, manifest.need, manifest.lineage)
        self.bundles.mkdir(parents=True, exist_ok=True)
        for final in (self.bundles / name, self.bundles / f"{name}-{origin[:6]}"):
            try:
                bundle.folder.rename(final)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            else:
                fsync_folder(self.bundles)
                return Bundle(final, manifest)
            if (there := self._same(final, manifest)) is not None:
                return there
        return open_bundle(final)

    def _same(self, place: Path, manifest: Manifest) -> Bundle | None:
        try:
            there = open_bundle(place)
        except BundleError:
            return None
        found = there.manifest
        alike = (found.id, found.need, found.lineage) == (
            manifest.id,
            manifest.need,
            manifest.lineage,
        )
        asked = there.path("need.yaml").read_bytes()
        wanted = self.need_text.encode("utf-8", "surrogatepass")
        return there if alike and asked == wanted else None

    def _compressing(self, name: str, source: Form, emit: Emit) -> Callable[[Path], None]:
        compressor, read = COMPRESSORS.get(name)(), self.manifest.preprocess
        bench = Bench(
            task=self.manifest.task,
            outputs=tuple(self.held.outputs),
            max_length=read.max_length,
            prefix=read.prefix,
            train=self.train,
            validation=self.held.validation,
            answers=self._answers,
            retrain=None,
            seed=self.held.seed,
            emit=emit,
        )
        return lambda to: compressor.compress(source, to, bench)

    def _answers(self, form: Form, texts: Sequence[str]) -> Floats:
        """(texts, outputs) logits of a form, through the runtime."""
        return self._logits({GRAPH: form.graph, TOKENIZER: form.tokenizer}, texts)

    def _logits(self, content: Mapping[str, Path], texts: Sequence[str]) -> Floats:
        # The decision rule is settled on the graph's own logits, so a draft bundle computes them.
        with TemporaryDirectory(dir=self.scratch) as place:
            manifest = self.manifest.model_copy(update={"decision": {}})
            draft = write_bundle(Path(place) / "draft", manifest, content, self.need_text)
            return self.load(draft.folder).logits(texts)

    def _measure(
        self, name: str, graph: Path, product: Product, before: Sequence[Mapping[str, Any]]
    ) -> Artefact:
        held, texts = self.held, list(self.held.validation.inputs["text"])
        content = product.content(graph)
        logits = self._logits(content, texts)
        decision = held.settle(logits)
        manifest = self.manifest.model_copy(
            update={
                "decision": decision,
                "lineage": self._lineage(name, decision),
            }
        )
        bundle = write_bundle(self.scratch / name, manifest, content, self.need_text, self.learnt)
        # The runtime decodes with the same function: its answers from these logits are these.
        answers = held.task.decode(logits, held.outputs, decision)
        subject = self._subject(bundle, held.validation, answers)
        found = parity(before, subject.answers, held.validation.target, TOLERANCE)
        sized = [c for c in held.criteria if of_the_artefact(c) and not timed(c)]
        verdicts = tuple(judge(sized, subject, seed=held.seed))
        chance = chance_of_met(
            held.criteria, subject, held.test_size, known=verdicts, seed=held.seed
        )
        return Artefact(
            name,
            bundle,
            found,
            bundle.size_mb,
            verdicts,
            chance.overall,
            {c: parts["validation"].value for c, parts in _scores(held, subject).items()},
            tuple(answers),
        )

    def _lineage(self, name: str, decision: Mapping[str, Any]) -> dict[str, Any]:
        """Where it comes from; an earlier bundle that came out the same comes from where it did."""
        lineage: dict[str, Any] = {**self.manifest.lineage, "artefact": name}
        if self.earlier is not None and decision != self.earlier.manifest.decision:
            told = self.earlier.manifest
            lineage["earlier"] = {"id": told.id, "name": told.name}
        return lineage

    def _cheapest(self, made: Sequence[Artefact]) -> tuple[list[Artefact], Artefact]:
        """Time artefacts from the smallest up until one holds; the least bad where none does.

        Timing starts fresh processes and takes seconds, so the larger ones are left alone then.
        """
        best = max(artefact.chance for artefact in made)
        timed = {a.name: a for a in made}
        for artefact in sorted(made, key=lambda a: a.size_mb):
            if not _holds(artefact, best):
                continue
            timed[artefact.name] = self._timed(artefact)
            if _holds(timed[artefact.name], best):
                return list(timed.values()), timed[artefact.name]
        whole = made[0]
        if whole is timed[whole.name]:
            timed[whole.name] = self._timed(whole)
        return list(timed.values()), min(timed.values(), key=_failures)

    def _timed(self, artefact: Artefact) -> Artefact:
        held = self.held
        criteria = [c for c in held.criteria if timed(c)]
        if not criteria:
            return artefact
        subject = self._subject(artefact.bundle, held.validation, artefact.answers)
        verdicts = artefact.verdicts + tuple(judge(criteria, subject, seed=held.seed))
        chance = chance_of_met(
            held.criteria, subject, held.test_size, known=verdicts, seed=held.seed
        )
        return replace(artefact, verdicts=verdicts, chance=chance.overall)


def _short(size: float) -> str:
    return f"{size:.0f}" if size >= 10 else f"{size:.2g}"


def _scores(held: Held, subject: Subject) -> dict[str, dict[str, Score]]:
    return gaps(held.criteria, {"validation": subject}, seed=held.seed)


def _holds(artefact: Artefact, best: float) -> bool:
    unmet = any(v.state == "unmet" for v in artefact.verdicts)
    return artefact.parity.holds and not unmet and artefact.chance >= _least(best)


def _least(best: float) -> float:
    """Chance that will do; one that is enough is not given up for a cheaper one that is not."""
    return max(best - _ROOM, ENOUGH) if best >= ENOUGH else best - _ROOM


def _failures(artefact: Artefact) -> tuple[bool, int, float]:
    unmet = sum(verdict.state == "unmet" for verdict in artefact.verdicts)
    return not artefact.parity.holds, unmet, artefact.size_mb


def _refused(artefact: Artefact, kept: Artefact) -> Artefact:
    failed = next((v for v in artefact.verdicts if v.state == "unmet"), None)
    if not artefact.parity.holds:
        why = f"parity: {artefact.parity.sentence()}"
    elif failed is not None:
        why = f"{failed.criterion} is unmet: {failed.value:.4g}"
    elif artefact.chance < _least(kept.chance):
        why = f"chance of meeting the need {artefact.chance:.0%}, kept one {kept.chance:.0%}"
    else:
        why = f"{kept.name} is smaller and holds too"
    return replace(artefact, why=why)
