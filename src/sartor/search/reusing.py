"""What earlier bundles say of this need's validation rows, through the serving runtime.

Size and time of a bundle can be measured before anything is spent, so they are: a bundle that would
miss them in the end must not end the climb. Timing takes seconds, so only one that is good enough
otherwise is timed.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sartor.bundle import Bundle
from sartor.core.errors import BundleError
from sartor.core.likelihood import fitting
from sartor.core.texts import Text
from sartor.core.types import Candidate
from sartor.data.prepare import Prepared
from sartor.judge.verdicts import judge
from sartor.search.assess import Held, of_the_artefact, timed
from sartor.search.earlier import Former
from sartor.search.ladder import ENOUGH, Assessment, Scored
from sartor.serve import runtime

Timing = Callable[[Bundle, Sequence[Text]], NDArray[np.float64]]
"""A bundle and texts to latencies (processes, requests) in milliseconds; recorded once a run."""


@dataclass(frozen=True, slots=True)
class Reusing:
    """Stands in for the fit where there is nothing to fit.

    Args:
        formers: By the candidate's key.
        held: What assessments share.
        rows: By role.
        timing: See `Timing`.
        conditions: What the timing holds for.
    """

    formers: Mapping[str, Former]
    held: Held
    rows: Prepared
    timing: Timing
    conditions: str

    def score(self, candidate: Candidate) -> Scored | Exception:
        """The bundle's logits, in the order of this need's outputs; or why it does not answer."""
        began = time.monotonic()
        bundle = self.formers[candidate.key].bundle
        try:
            served = runtime.load(bundle.folder, unreleased="allow", verify_key="")
            logits = served.logits(self.rows.validation.texts)
        except BundleError as error:
            return error
        if not np.isfinite(logits).all():
            return BundleError(
                f"{bundle.folder} gives outputs that are not numbers.", fix="leave it out."
            )
        order = [served.outputs.index(name) for name in self.held.outputs]
        # Which training rows it has learnt from differs from row to row: none of them is scored.
        train = np.full((len(self.rows.train), *logits.shape[1:]), np.nan, np.float32)
        known = fitting(logits[..., order], self.held.truth)
        return Scored(known, train, time.monotonic() - began)

    def assess(self, candidate: Candidate, scored: Scored) -> Assessment:
        """As any candidate is assessed, with the size and the latency that it has."""
        held, bundle = self.held, self.formers[candidate.key].bundle
        plain = held.assess(candidate, scored)
        own = [criterion for criterion in held.criteria if of_the_artefact(criterion)]
        if not own:
            return plain
        texts = list(self.rows.validation.texts)
        subject = held.measured(
            self.rows.validation,
            held.task.decode(scored.validation_logits, held.outputs, plain.decision, texts),
            str(bundle.folder),
            lambda: self.timing(bundle, texts),
            self.conditions,
        )
        known = judge([c for c in own if not timed(c)], subject, seed=held.seed)
        found = held.assess(candidate, scored, known)
        clocked = [criterion for criterion in own if timed(criterion)]
        if not clocked or found.chance < ENOUGH:
            return found
        known = [*known, *judge(clocked, subject, seed=held.seed)]
        return held.assess(candidate, scored, known)
