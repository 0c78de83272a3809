"""The order of the stages. No other file knows it.

    read → clean → split → plan → climb → shrink → bundle → judge (once) → report

Training and validation rows decide everything; the test rows are answered once, by the bundle,
through the serving runtime, and the run ends there whatever they say.
"""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sartor.bundle import record_verdicts
from sartor.core.errors import Interrupted, WorkspaceError
from sartor.core.events import Emit, Note, StageDone, StageStarted, silent
from sartor.core.store import Store
from sartor.core.workspace import Run, Workspace
from sartor.data.changes import write_changes
from sartor.judge.ledger import Ledger
from sartor.judge.verdicts import judge, priced_anew
from sartor.need.file import parse_need
from sartor.need.verdict import Verdict, overall
from sartor.search import begun
from sartor.search.answering import Answering
from sartor.search.asking import check_key
from sartor.search.building import Builder, Shipped
from sartor.search.climbing import Clock, Hands, climb_and_search
from sartor.search.composing import Composer, ready_to_compose
from sartor.search.documents import beside_plainest, with_documents
from sartor.search.executing import DEFAULT, Executor, find_executor
from sartor.search.fitting import heads_on
from sartor.search.forecast import Forecast
from sartor.search.foresight import described, foresee, more_labels
from sartor.search.joining import join
from sartor.search.judging import roles_of, row_set
from sartor.search.ladder import NOTHING_TRIED, Climb, nothing_fitted
from sartor.search.means import limits_of, terms_of, tuner_of
from sartor.search.outcome import Outcome, Setting, describe
from sartor.search.parts import composes
from sartor.search.pretraining import adapter
from sartor.search.product import Workshop
from sartor.search.reusing import Reusing
from sartor.search.setup import Desk, Ready, make_ready
from sartor.search.smaller import smaller
from sartor.search.sources import NeedSource, name_of, read_need
from sartor.search.turns import turn
from sartor.search.unlabelled import Lessons
from sartor.search.writing import Press, climb_to_write, ready_to_write, writes
from sartor.serve.runtime import cores


def run(
    need: NeedSource,
    *,
    data: object | None = None,
    methods: Sequence[str] | None = None,
    workspace: str | Path = ".",
    emit: Emit = silent,
    on: str = DEFAULT,
) -> Outcome:
    """Take a need to its verdict.

    Args:
        need: See `NeedSource`.
        data: Rows held in Python (pandas, polars, lists, …) instead of the need's `data.train`.
        methods: Tuning methods to climb, instead of the need's `prefer.methods`.
        workspace: Folder that holds `.sartor/`.
        emit: Told of progress.
        on: Where fits are made; see `find_executor`.

    Raises:
        SartorError: If the need, the data, the workspace or the executor cannot be used.
        Interrupted: On Ctrl-C; its fix is the command that resumes.
    """
    found, text, root = read_need(need)
    find_executor(on)
    place = Workspace.open(workspace)
    asked = begun.kept(text, root, name_of(need), methods=methods, held=data is not None, on=on)
    return _carry_out(place, begun.begin(place, asked, found.name), asked, data, emit)


def shrink(
    bundle: str | Path,
    to: Sequence[str],
    *,
    by: Sequence[str] = (),
    need: str | Path | None = None,
    workspace: str | Path = ".",
    emit: Emit = silent,
) -> Outcome:
    """Make a bundle smaller or faster, and judge what it became.

    Args:
        bundle: Its folder; see `search.smaller` for this and the next three.
        to: Criteria.
        by: Compressors, or empty.
        need: Need file, or None.
        workspace: Folder that holds `.sartor/`.
        emit: Told of progress.

    Raises:
        SartorError: If the bundle, the criteria, the need or the data cannot be used.
        Interrupted: On Ctrl-C; its fix is the command that resumes.
    """
    place = Workspace.open(workspace)
    asked = smaller(Path(bundle), to, place, None if need is None else Path(need), by)
    told = begun.kept(asked.text, asked.root, asked.file)
    return _carry_out(place, begun.begin(place, told, asked.name), told, None, emit)


def resume(
    number: int | None = None,
    *,
    workspace: str | Path = ".",
    emit: Emit = silent,
    on: str | None = None,
) -> Outcome:
    """Finish a run that was stopped; what it had finished is found again, not redone.

    Args:
        number: Of the run; the newest when None.
        workspace: Folder that holds `.sartor/`.
        emit: Told of progress.
        on: Where fits are made now; where the run began when None.

    Raises:
        WorkspaceError: If there is no such run, another process is at it, or it never began.
        DataError: If the data is not what the run began with.
    """
    place = Workspace.open(workspace)
    here = place.run(number)
    again = "start again with `sartor run`; what was finished is found again, not redone."
    if not (here.folder / "run.json").exists():
        raise WorkspaceError(f"Run {here.number} was stopped before it began.", fix=again)
    kept = here.read_json("need.json")
    if kept["held"]:
        raise WorkspaceError(
            f"Run {here.number} read rows held in Python, which are gone.",
            fix="call `sartor.run` again with the same rows; what was finished is found again.",
        )
    kept = {"on": DEFAULT, **kept} if on is None else {**kept, "on": on}
    return _carry_out(place, here, kept, None, emit)


def plan(
    need: NeedSource,
    *,
    data: object | None = None,
    workspace: str | Path = ".",
    emit: Emit = silent,
) -> Ready:
    """Read, clean, split and price the ladder; nothing is fitted and no split is remembered."""
    found, _, root = read_need(need)
    place = Workspace.open(workspace)
    found = with_documents(found, name_of(need), root, data)
    with Store.open(place.store) as store:
        desk = Desk(place, store, found, name_of(need), root, lambda _, find: find(), emit)
        if composes(found.task):
            return ready_to_compose(desk, data)[0]
        return ready_to_write(desk, data) if writes(found.task) else make_ready(desk, data)


def _now() -> datetime:
    return datetime.now(UTC)


def _carry_out(
    place: Workspace, here: Run, kept: Mapping[str, Any], data: object | None, emit: Emit
) -> Outcome:
    need = parse_need(kept["text"], kept["file"], roles_of)
    if kept["methods"]:
        prefer = need.prefer.model_copy(update={"methods": kept["methods"]})
        need = need.model_copy(update={"prefer": prefer})
    executor = find_executor(kept["on"])
    try:
        with _alone(here), Store.open(place.store) as store:
            root = Path(kept["root"])
            need = with_documents(need, kept["file"], root, data)
            desk = Desk(place, store, need, kept["file"], root, here.fact, emit)
            # The store keeps the history of all workspaces that share it; folders are numbered.
            entry = here.fact("store", lambda: store.add_run(need.name, kept["text"], need.seed))
            if (here.folder / "result.json").exists():
                outcome = Outcome.of_json(here.read_json("result.json"))
            else:
                outcome = _Stages(desk, here, kept, executor).go(data)
            store.finish_run(int(entry), outcome.state, outcome.as_json())
            return outcome
    except (KeyboardInterrupt, Interrupted):  # the latter of the run of a product's part
        command = ["sartor", "resume", str(here.number)]
        if (root := place.folder.parent).resolve() != Path.cwd():
            command += ["--workspace", str(root)]
        raise Interrupted(
            f"Run {here.number} was stopped; what it had finished is kept.",
            fix=f"go on with `{shlex.join(command)}`.",
        ) from None


def _alone(here: Run) -> AbstractContextManager[None]:
    def refuse() -> None:
        raise WorkspaceError(
            f"Another process is at run {here.number}.",
            fix="wait for it, or start a run of your own with `sartor run`.",
        )

    return turn(here.folder / "lock", refuse)


class _Stages:
    """One run, stage after stage."""

    def __init__(self, desk: Desk, here: Run, kept: Mapping[str, Any], executor: Executor) -> None:
        self.desk, self.here, self.text = desk, here, str(kept["text"])
        self.executor, self.on = executor, str(kept["on"])
        self.place, self.store = desk.place, desk.store
        self.need, self.emit = desk.need, desk.emit
        self.answering = Answering.of_need(desk.need, desk.place, desk.emit)
        self.timing = self.answering.timing(here.fact)
        self.began = time.monotonic()

    def go(self, data: object | None) -> Outcome:
        if writes(self.need.task):
            return self._written(data)
        if composes(self.need.task):
            return self._composed(data)
        asked = self.need.prefer.pretrain != "none"
        check_key(self.need)
        ready = make_ready(self.desk, data, adapter(self.desk, self.here) if asked else None)
        setting = ready.setting
        threads = self._began_with(setting)
        clock = Clock.of(limits_of(self.desk), self.began)
        tuner = tuner_of(self.desk, ready, clock.deadline, self.here)
        conditions = f"this machine, batch 1, {threads} threads"
        reusing = Reusing(ready.formers, setting.held, setting.rows, self.timing, conditions)
        with self.executor.crew(self.place, self.here, self.emit) as crew:
            hands = Hands(tuner, reusing, crew)
            searched = climb_and_search(self.desk, ready, hands, clock, f"run {self.here.number}")
            fits = {"on": self.on, "at_once": crew.workers, "threads": crew.threads or threads}
        workshop = Workshop(
            tuner,
            ready.setting.rows,
            self.place.stage,
            self.emit,
            formers=ready.formers,
            asking=ready.asking,
            few=ready.setting.held.folds is not None,
        )
        climb = searched.climb
        terms = terms_of(self.desk, ready, clock, workshop)
        if self.need.prefer.ensemble:
            climb = join(climb, ready.setting.held, terms)
        if climb.best is None:
            raise nothing_fitted(climb)
        climb, (kept, made, maker) = self._builder(ready, workshop, conditions).build(climb, terms)
        heads = heads_on(tuner, setting.rows)
        return self._ended(
            setting,
            climb,
            (kept.bundle, made, maker.subject),
            lambda verdicts: foresee(setting, climb, verdicts, heads, self.emit),
            {
                "search": searched.as_json(),
                "machine": {"threads": threads, "fits": fits, **asdict(ready.precision)},
            },
        )

    def _written(self, data: object | None) -> Outcome:
        """The same where answers are written: another ladder; nothing is searched or joined."""
        ready = ready_to_write(self.desk, data)
        threads = self._began_with(ready.setting)
        clock = Clock.of(limits_of(self.desk), self.began)
        tuner = tuner_of(self.desk, ready, clock.deadline, self.here)
        climb = climb_to_write(self.desk, ready, tuner, clock)
        shared = {
            "need_text": self.text,
            "scratch": self.here.folder / "artefacts",
            "timing": self.timing,
            "streaming": self.answering.streaming(self.here.fact),
            "conditions": f"this machine, batch 1, {threads} threads",
            "load": self.answering.load,
        }
        kept, made, maker = Press(self.desk, ready, tuner, shared).build(climb)
        fits = {"on": DEFAULT, "at_once": 1, "threads": threads}
        facts = {"machine": {"threads": threads, "fits": fits, **asdict(ready.precision)}}
        shipped = kept.bundle, made, maker.subject
        return self._ended(ready.setting, climb, shipped, lambda _: [], facts)

    def _composed(self, data: object | None) -> Outcome:
        """A product: its parts come first, and nothing is trained but them."""

        def first(need: Path) -> Path:
            return run(need, workspace=self.place.folder.parent, emit=self.emit, on=self.on).bundle

        ready, assembly = ready_to_compose(self.desk, data, first)
        threads = self._began_with(ready.setting)
        scratch, answers = self.here.folder / "artefacts", (self.answering, self.timing)
        composer = Composer(self.desk, assembly, self.text, scratch, threads, *answers)
        facts = {"machine": {"threads": threads, **asdict(ready.precision)}}
        shipped = composer.build(ready.setting)
        return self._ended(ready.setting, NOTHING_TRIED, shipped, lambda _: [], facts)

    def _began_with(self, setting: Setting) -> int:
        """Keep the split and what was dropped; the threads that the run began with."""
        self.store.assign(self.need.name, setting.rows.assignments)
        write_changes(setting.rows.changes, self.here.folder / "changes.jsonl")
        threads = int(self.here.fact("threads", cores))
        if threads != cores():
            self.emit(Note(f"This run began with {threads} threads, not {cores()}.", "warning"))
        return threads

    def _ended(
        self,
        setting: Setting,
        climb: Climb,
        shipped: Shipped,
        foresees: Callable[[Sequence[Verdict]], list[Forecast]],
        facts: Mapping[str, Any],
    ) -> Outcome:
        """Judge what was built, once, and write the run down."""
        bundle, made, _ = shipped
        # One at a time: two runs that end with the same bundle write the same manifest, a look is
        # counted once, and a latency is not that of two bundles at work.
        with turn(self.place.folder / "judging.lock", self._wait):
            verdicts, look, answers = self._judge(setting, shipped)
            costs = setting.costs_of(bundle.folder)
            state = overall(verdicts)
            bundle = record_verdicts(bundle, verdicts, released=state == "met")
        outcome = Outcome(self.here.number, state, bundle.folder, tuple(verdicts))
        foreseen = foresees(verdicts)
        result = describe(
            outcome,
            setting,
            climb=climb,
            artefacts=made,
            answers=answers,
            labels=more_labels(foreseen),
        )
        seconds, price = time.monotonic() - self.began, self.need.budget.money_per_hour
        result |= {
            "need": self.text,
            "started": self.here.read_json("run.json")["started"],
            "finished": _now().isoformat(),
            "seconds": seconds,
            "bundle_id": bundle.manifest.id,
            "cost": {"seconds": seconds, "money": price and price * seconds / 3600},
            "serving_costs": costs,
            "looks": look,
            "labels": [described(each) for each in foreseen],
        }
        result |= facts
        self.here.write_json("result.json", result)
        return outcome

    def _wait(self) -> None:
        self.emit(Note("Waiting for another run of this workspace that is being judged."))

    def _builder(self, ready: Ready, workshop: Workshop, conditions: str) -> Builder:
        return Builder(
            self.desk,
            ready,
            workshop,
            self.text,
            scratch=self.here.folder / "artefacts",
            timing=self.timing,
            conditions=conditions,
            load=self.answering.load,
            lessons=Lessons(self.desk, ready.setting.rows),
        )

    def _judge(
        self, setting: Setting, shipped: Shipped
    ) -> tuple[list[Verdict], int, Sequence[Mapping[str, Any]]]:
        test, (bundle, _, subject_of) = setting.rows.test, shipped
        self.emit(StageStarted("judge", len(test), "rows"))
        subject = subject_of(bundle, test)
        asked = _now()
        look = Ledger(self.store, _now).look(
            row_set(test, self.need),
            bundle.manifest.id,
            self.need.accept,
            lambda number: judge(self.need.accept, subject, look=number, seed=self.need.seed),
        )
        again = f", look {look.number} at them" if look.number > 1 else " never seen before"
        stored = look.time < asked
        how = ", verdicts of the earlier look at the same bundle" if stored else again
        self.emit(StageDone("judge", f"{len(test):,} rows{how}"))
        verdicts = priced_anew(self.need.accept, look.verdicts, subject)
        verdicts = beside_plainest(self.need, setting.held, setting.rows, verdicts)
        return verdicts, look.number, subject.answers


__all__ = ["Outcome", "Ready", "plan", "read_need", "resume", "run", "shrink"]
