"""From the climb to what ships: build the best candidate, and give way where it costs too much."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sartor.bundle import Bundle, Learnt, Manifest
from sartor.core.texts import Text
from sartor.core.types import Examples
from sartor.judge.api import Subject
from sartor.search.artefact import Artefact
from sartor.search.artefacts import Maker
from sartor.search.documents import PASSAGE, Indexing, lists_items
from sartor.search.joining import climb_down, step_back
from sartor.search.ladder import Climb, Tried
from sartor.search.lineage import draft_manifest
from sartor.search.mixed import Terms
from sartor.search.product import Workshop
from sartor.search.recommending import reads_histories
from sartor.search.retraining import Retraining
from sartor.search.setup import Desk, Ready
from sartor.search.time_left import TimeLeft
from sartor.search.unlabelled import Lessons
from sartor.serve.runtime import Runtime

Built = tuple[Artefact, list[Artefact], Maker]
"""The artefact that would ship, all that were made, and what made them."""
Shipped = tuple[Bundle, Sequence[Artefact], Callable[[Bundle, Examples], Subject]]
"""The bundle that would ship, the artefacts that were made, and what the bundle answers on rows."""


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes bundles of a run's candidates.

    Args:
        desk: What the run works with.
        ready: Rows by role, and earlier bundles.
        workshop: A candidate to its graph.
        text: The need, as the user wrote it.
        scratch: Folder for artefacts that are being compared.
        timing: See `artefacts.Maker`.
        conditions: What the timing holds for.
        load: A bundle's folder to what answers for it.
        lessons: What smaller models learn from.
    """

    desk: Desk
    ready: Ready
    workshop: Workshop
    text: str
    scratch: Path
    timing: Callable[[Bundle, Sequence[Text]], NDArray[np.float64]]
    conditions: str
    load: Callable[[Path], Runtime]
    lessons: Lessons

    def build(self, climb: Climb, terms: Terms) -> tuple[Climb, Built]:
        """What ships, and the climb that ends with it.

        A joined candidate that costs too much gives way to the best single one, that one, where it
        is too slow, to a cascade, and a cascade that is too slow all the same to it again.

        Args:
            climb: Ended, with a best candidate.
            terms: What joining may use and spend.
        """
        assert climb.best is not None
        built = self._made(climb.best)

        def back(climb: Climb) -> Climb | None:
            return step_back(climb, built[0].verdicts, self.desk.emit)

        def down(climb: Climb) -> Climb | None:
            kept, _, maker = built
            holds = partial(maker.holds, kept)
            return climb_down(climb, kept.verdicts, holds, self.ready.setting.held, terms)

        for give_way in (back, down, back) if self.desk.need.prefer.ensemble else ():
            if cheaper := give_way(climb):
                climb = cheaper
                assert climb.best is not None
                built = self._made(climb.best)
        return climb, built

    def _indexing(self, manifest: Manifest) -> Indexing | None:
        """What puts documents beside the graph, where answers are documents."""
        need = self.desk.need
        if not lists_items(need.task) or not need.data.label_descriptions:
            return None
        passage = None
        if not reads_histories(need.task):
            passage = str(manifest.lineage.get(PASSAGE, ""))
        told, stage = need.data.label_descriptions, self.workshop.stage
        # An earlier bundle's outputs stand in their own order.
        words = {name: told[name] for name in manifest.outputs}
        return Indexing(words, passage, manifest, self.text, stage, self.scratch)

    def _students(self, manifest: Manifest) -> tuple[Examples, Retraining]:
        """What smaller models learn from, and what trains them."""
        train, validation = self.lessons.train, self.ready.setting.rows.validation
        read, seed = manifest.preprocess, self.desk.need.seed
        tuner, emit = self.workshop.tuner, self.desk.emit
        again = Retraining(tuner, train, validation, read.prefix, read.max_length, seed, emit)
        return train, again

    def _made(self, best: Tried) -> Built:
        assert best.assessment is not None
        assert best.scored is not None
        setting, workshop = self.ready.setting, self.workshop
        product = workshop.product(best)
        held = setting.held.after(best)
        fitted, chose = setting.rows.train.ids, setting.rows.validation.ids
        on_all = workshop.on_all(best)
        learnt = Learnt.of((*fitted, *chose)) if on_all else Learnt.of(fitted, chose)
        former = self.ready.formers.get(best.candidate.key)
        if former is not None:
            held, learnt = former.shipping(held)
        manifest = draft_manifest(self.desk.need, self.ready, best)
        indexing = self._indexing(manifest)
        maker = Maker(
            held=held,
            train=setting.rows.train,
            manifest=manifest,
            need_text=self.text,
            scratch=self.scratch,
            bundles=self.desk.place.bundles,
            timing=self.timing,
            conditions=self.conditions,
            learnt=learnt,
            recipe=best.assessment if on_all else None,
            earlier=former.bundle if former else None,
            load=self.load,
            time_left=TimeLeft.of(
                self.desk.fact, workshop.tuner.options.deadline, self.desk.need.budget.minutes
            ),
            beside=(lambda content: content) if indexing is None else indexing,
            students=lambda: self._students(manifest),
            named=self.desk.need.prefer.compressors or (),
        )
        logits = workshop.logits(best)
        kept, made = maker.make(
            product,
            None
            if logits is None
            else setting.held.task.decode(
                logits,
                setting.held.outputs,
                best.assessment.decision,
                setting.rows.validation.texts,
            ),
            lambda name, build: workshop.artefact(product, name, build, self.lessons.sources),
            self.desk.emit,
        )
        return kept, made, maker
