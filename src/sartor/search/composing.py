"""From a product's parts to its bundle: choose when a person answers, on validation rows, and
write the parts into one folder, as they are.

Nothing is trained here, so training rows choose as validation rows do. Rows that a part learnt from
say nothing of how it does on others: they are left out, and listed.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sartor
from sartor.bundle import WITH_PARTS, Bundle, Learnt, Manifest, Preprocess, write_bundle
from sartor.core.errors import DataError
from sartor.core.events import StageDone, StageStarted
from sartor.core.texts import shown
from sartor.core.types import Examples
from sartor.data import prepare
from sartor.data.changes import Change, excerpt, summary
from sartor.data.profile import profile
from sartor.data.table import FILE, ROW
from sartor.judge.api import Subject
from sartor.judge.gaps import values
from sartor.judge.planning import planned_test_rows
from sartor.need.grammar import parse_criterion
from sartor.search.answering import Answering, Timing, answers_to
from sartor.search.assess import Held
from sartor.search.building import Shipped
from sartor.search.desk import Desk
from sartor.search.folds import both
from sartor.search.outcome import Setting
from sartor.search.parts import Assembly, Run, assembled, find_parts
from sartor.search.publishing import publish
from sartor.search.reading import bound, columns_of, precision_of, read_rows
from sartor.search.recorded import same_sources
from sartor.search.setup import Ready
from sartor.search.writing_rows import check_conversations
from sartor.serve.composed import assemble

_SEEN = "learnt by a part"


def ready_to_compose(
    desk: Desk, data: object | None = None, run: Run | None = None
) -> tuple[Ready, Assembly]:
    """Find the parts, then read, clean, split and bind the criteria, as `setup.make_ready`.

    Args:
        desk: What the run works with.
        data: Rows held in Python instead of the need's `data.train`.
        run: Runs the need of a part that no run has finished; None refuses.

    Raises:
        NeedError: If a criterion names a metric or column that is not there, or a case a label.
        BundleError: If a part's bundle cannot be used.
        DataError: If the rows cannot be used, by file and row, or the parts learnt from all.
        SettingError: If a part must be run first, and nobody may.
    """
    found = desk.fact("parts", lambda: find_parts(desk, run))
    assembly = assembled(desk.need, desk.file, found)
    need, emit = assembly.need, desk.emit
    emit(StageStarted("read"))
    columns, gathered = columns_of(need), read_rows(desk, need, data)
    check_conversations(gathered.cleaned.frame, columns)
    same_sources(desk, "sources", {s.file: s.sha256 for s in gathered.table.sources})
    wanted = planned_test_rows(need.accept, {})
    known = desk.store.assignments(need.name)
    rows = _fresh(
        prepare.divide(gathered, wanted_test=wanted, seed=need.seed, known=known), assembly
    )
    _, held = bound(desk, need, assembly.outcomes, rows)
    held = replace(held, validation=both(rows.train, rows.validation))
    reasons = summary(c for c in rows.changes if c.action == "dropped")
    left = ", ".join(f"{n} {why}" for why, n in reasons.items())
    emit(
        StageDone(
            "read",
            f"{len(gathered.table):,} rows"
            + (f" ({left}: sartor data show --dropped)" if left else "")
            + f" · {len(rows.train) + len(rows.validation):,} choose, {len(rows.test):,} test",
        )
    )
    choice = assembly.words()
    emit(StageDone("plan", choice))
    seen = profile(gathered.table.frame, list(columns.inputs.values()))
    setting = Setting(need, gathered, rows, seen, held, desk.file, (), choice, {})
    return Ready(setting, {}, {}, precision_of(desk), lambda _: "", {}), assembly


@dataclass(frozen=True, slots=True)
class Composer:
    """Makes a product's bundle.

    Args:
        desk: What the run works with.
        assembly: The parts.
        text: The need, as the user wrote it.
        scratch: Folder for the bundle while it is written.
        threads: Of one pass of a part.
        answering: What answers while it is judged.
        timing: As of `artefacts.Maker`.
    """

    desk: Desk
    assembly: Assembly
    text: str
    scratch: Path
    threads: int
    answering: Answering
    timing: Timing

    def build(self, setting: Setting) -> Shipped:
        """The bundle that would ship, and what is judged of it."""
        held, assembly = setting.held, self.assembly
        emit, count = self.desk.emit, len(held.validation)
        emit(StageStarted("compose", count, "rows"))
        product = assemble(assembly.parts, assembly.bundles, assembly.outcomes, self.threads)
        ways = product.walk(list(held.validation.texts))
        scores = product.scores(ways)
        asked = assembly.need.hand_off_below
        chosen = held.settle(scores) if asked == "auto" else {"hand_off_below": float(asked)}
        parts = {
            name: part.model_dump(mode="json", exclude_defaults=True)
            for name, part in assembly.parts.items()
        }
        decision = {**chosen, "parts": parts}
        answers = held.task.decode(scores, held.outputs, decision)
        emit(StageDone("compose", _said(held, answers, chosen["hand_off_below"])))
        bundle = self._written(setting, decision)
        return bundle, [], lambda made, rows: self._subject(held, made, rows)

    def _written(self, setting: Setting, decision: Mapping[str, Any]) -> Bundle:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        need, rows = self.assembly.need, setting.rows
        parts = {name: _told(bundle) for name, bundle in self.assembly.bundles.items()}
        manifest = Manifest(
            format=WITH_PARTS,
            id="",
            name=need.name,
            task=need.task,
            inputs=dict(setting.held.task.roles.inputs),
            outputs=list(self.assembly.outcomes),
            decision=dict(decision),
            preprocess=Preprocess(),
            files={},
            need=self.desk.need.model_dump(mode="json"),
            lineage={
                "parts": parts,
                "seed": need.seed,
                "validation_rows": setting.held.validation.fingerprint(),
                "test_rows": rows.test.fingerprint(),
                "sources": {s.file: s.sha256 for s in setting.gathered.table.sources},
                "sartor": sartor.__version__,
            },
        )
        learnt = Learnt.of((), setting.held.validation.ids)
        bundles = self.assembly.bundles
        made = write_bundle(self.scratch / "product", manifest, {}, self.text, learnt, bundles)
        kept = publish(made, self.desk.place.bundles, self.text)
        shutil.rmtree(self.scratch)
        return kept

    def _subject(self, held: Held, bundle: Bundle, rows: Examples) -> Subject:
        """What the bundle answers on rows, through the serving runtime."""
        answers = answers_to(self.answering.load(bundle.folder), rows, held.task)
        texts, conditions = list(rows.texts), f"this machine, batch 1, {self.threads} threads"
        folder = str(bundle.folder)
        return held.measured(rows, answers, folder, lambda: self.timing(bundle, texts), conditions)


def _said(held: Held, answers: Sequence[Mapping[str, Any]], below: float) -> str:
    """The threshold, and what it does to the rows that chose it."""
    metrics = ("automation_rate", "answered_precision", "end_to_end")
    asked = [parse_criterion(f"{name} >= 0") for name in metrics]
    found = values(asked, held.subject(held.validation, answers))
    shares = [f"{found[c.text]:.0%}" if c.text in found else "none" for c in asked]
    return (
        f"a person answers below {below:.3g} · of the {len(held.validation):,} rows that chose"
        f" {shares[0]} answered, {shares[1]} of those right, {shares[2]} end right"
    )


def _told(bundle: Bundle) -> dict[str, Any]:
    """What the manifest says of a part: which it is, and how it was judged."""
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "task": manifest.task,
        "id": manifest.id,
        "released": manifest.released,
        "verdicts": [
            {key: verdict[key] for key in ("criterion", "value", "state")}
            for verdict in manifest.verdicts
        ],
    }


def _fresh(rows: prepare.Prepared, assembly: Assembly) -> prepare.Prepared:
    """The rows without those that a part learnt from.

    Raises:
        DataError: If that leaves none to choose by, or none to judge by.
    """
    learnt = {
        name: found
        for name, bundle in assembly.bundles.items()
        if (found := bundle.learnt()) is not None
    }
    sides = {"train": rows.train, "validation": rows.validation, "test": rows.test}
    gone: list[Change] = []
    kept: dict[str, Examples] = {}
    for side, examples in sides.items():
        by: dict[int, str] = {}
        for name, found in learnt.items():
            fresh = set(found.fresh(examples.ids))
            by |= {row: name for row in range(len(examples)) if row not in fresh}
        gone += [_dropped(examples, row, name) for row, name in sorted(by.items())]
        kept[side] = examples.take([row for row in range(len(examples)) if row not in by])
    for left, what in (
        (len(kept["train"]) + len(kept["validation"]), "choose when a person answers"),
        (len(kept["test"]), "judge the product"),
    ):
        if not left:
            raise DataError(
                f"No row is left to {what}: the parts learnt from all of them.",
                fix="give rows that took no part in training or validation of a part.",
            )
    return replace(
        rows,
        train=kept["train"],
        validation=kept["validation"],
        test=kept["test"],
        changes=(*rows.changes, *gone),
    )


def _dropped(examples: Examples, row: int, part: str) -> Change:
    file, line = str(examples.extra[FILE][row]), int(examples.extra[ROW][row])
    text = excerpt(shown(examples.texts[row]))
    return Change(file, line, "dropped", _SEEN, f"by {part}", text)
