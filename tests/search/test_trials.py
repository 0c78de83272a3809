"""Beyond the portfolio: where trials go, when they end, and that a killed search ends the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sartor.core.errors import Diverged
from sartor.core.events import CandidateTried, Event, Note, StageDone
from sartor.core.types import Candidate
from sartor.search.estimates import Estimate, Range
from sartor.search.fronts import value_of
from sartor.search.ladder import ENOUGH, Assessment, Climb, Limits, Rung, Scored, Tried, best_of
from sartor.search.pruning import Bar
from sartor.search.space import Space
from sartor.search.study import Study
from sartor.search.trials import PART, Searched, Searcher
from sartor.tasks._decision.logits import refuse_broken
from sartor.tune.api import Real

NONE = np.zeros((1, 2), np.float32)
PATIENCE = Limits(None, None, lambda _, find: find()).patience
SPACES = {
    "head": Space("text_classification", "head", {"C": Real(1e-4, 10.0, log=True)}),
    "lora": Space("text_classification", "lora", {"lr": Real(1e-4, 5e-3, log=True)}),
}


class Killed(BaseException):
    """Stands for a kill: nothing that runs catches it."""


class Lab:
    """Candidates whose chance follows from their settings; a clock that fits move."""

    def __init__(
        self,
        place: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        seconds: float | None = 100.0,
        chances: Callable[[Candidate], float] = lambda c: 0.3,
        fit_seconds: float = 1.0,
        rows: int = 1000,
    ) -> None:
        self.place, self.chances, self.fit_seconds = place, chances, fit_seconds
        self.losses: Callable[[Candidate], np.ndarray | None] = lambda _: None
        self.patience = PATIENCE
        self.encoding = 0.0
        self.now, self.facts, self.events = 0.0, dict[str, Any](), list[Event]()
        self.fitted: list[tuple[Candidate, float]] = []
        self.fail: Callable[[int], Exception | None] = lambda _: None
        self.seconds, self.rows, self.workers = seconds, rows, 1
        self.at_once: list[int] = []
        self.bars: list[int] = []
        self.ruled_out: Callable[[Candidate], str] = lambda _: ""
        self.ends: Callable[[Candidate], Scored | None] = lambda _: None
        monkeypatch.setattr("sartor.search.trials.time.monotonic", lambda: self.now)

    def fit(
        self, groups: Sequence[Sequence[Candidate]], share: float, bar: Bar
    ) -> list[list[Scored | Exception]]:
        self.at_once.append(len(groups))
        self.bars.append(len(bar.curves))
        return [self.fit_group(group, share) for group in groups]

    def fit_group(self, group: Sequence[Candidate], share: float) -> list[Scored | Exception]:
        found: list[Scored | Exception] = []
        for candidate in group:
            self.now += self.fit_seconds * share
            self.fitted.append((candidate, share))
            error = self.fail(len(self.fitted))
            if isinstance(error, Killed):
                raise error
            whole = self.ends(candidate) or Scored(NONE, NONE, self.fit_seconds * share)
            found.append(error or whole)
        return found

    def assess(self, candidate: Candidate, _: Scored) -> Assessment:
        chance = self.chances(candidate)
        loss = abs(np.log10(candidate.settings.get("lr", candidate.settings.get("C", 1))) + 3)
        rows = self.losses(candidate)
        mean = float(loss) if rows is None else float(rows.mean())
        return Assessment({}, {"accuracy >= 0.8": chance}, chance, mean, rows)

    def rung(self, name: str, settings: Sequence[Mapping[str, Any]], *, together: bool) -> Rung:
        estimate = Estimate(Range(self.fit_seconds, 3), Range(100, 200), Range(1, 2))
        candidates = tuple(Candidate("b", "0", name, s, 0) for s in settings)
        return Rung(name, candidates, together, estimate)

    def rungs(self) -> list[Rung]:
        return [
            self.rung("head", [{"C": 1.0}, {"C": 0.1}], together=True),
            self.rung("lora", [{"lr": 2e-3, "rank": 4}], together=False),
        ]

    def climbed(self, rungs: Sequence[Rung]) -> Climb:
        tried = []
        for rung in rungs:
            for candidate in rung.candidates:
                seconds = self.fit_seconds + self.encoding
                scored = Scored(NONE, NONE, seconds, encoding=self.encoding)
                found = self.assess(candidate, scored)
                tried.append(Tried(rung.name, candidate, "tried", "", seconds, scored, found))
        best = best_of(tried)
        assert best is not None
        assert best.assessment is not None
        return Climb(tuple(tried), best, best.assessment.chance >= ENOUGH)

    def search(self, *, owner: str = "run 1", wanted: Sequence[Mapping[str, Any]] = ()) -> Searched:
        def studies(rung: Rung) -> tuple[Study, Sequence[Mapping[str, Any]]]:
            file = self.place / f"{rung.name}.journal"
            return Study(file, SPACES[rung.name], owner, 0), wanted

        rungs = self.rungs()
        limits = Limits(self.seconds, None, lambda n, find: self.facts.setdefault(n, find()))
        limits = replace(limits, patience=self.patience)
        searcher = Searcher(
            fit=self.fit,
            assess=self.assess,
            studies=studies,
            limits=limits,
            emit=self.events.append,
            rows=self.rows,
            started=self.now,
            workers=self.workers,
            ruled_out=self.ruled_out,
        )
        return searcher.search(self.climbed(rungs), rungs)


def trials(found: Searched) -> list[Tried]:
    return [t for t in found.climb.tried if t.trial is not None]


def names(found: Searched) -> list[tuple[str, str, dict[str, Any], str]]:
    return [(t.rung, t.state, dict(t.candidate.settings), t.why) for t in found.climb.tried]


def test_without_a_budget_the_portfolio_is_all_there_is(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, seconds=None)
    found = lab.search()
    assert (trials(found), lab.fitted, found.why) == ([], [], "")


def test_a_need_that_is_reached_is_not_searched_further(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, chances=lambda c: ENOUGH)
    assert lab.search().climb.reached
    assert lab.fitted == []


def test_trials_stop_when_the_chance_is_enough(tmp_path: Path, monkeypatch: Any):
    lab = Lab(
        tmp_path,
        monkeypatch,
        chances=lambda c: 0.9 if 7e-4 < c.settings.get("lr", 1) < 1.5e-3 else 0.4,
        seconds=1000,
    )
    found = lab.search()
    assert found.climb.reached
    assert found.climb.best is trials(found)[-1]
    assert found.climb.best.candidate.settings["rank"] == 4, "what is not searched stays"
    assert found.why == "enough"
    assert any(isinstance(e, CandidateTried) for e in lab.events)
    assert any(isinstance(e, StageDone) and e.stage == "search" for e in lab.events)


def test_trials_stop_when_the_budget_ends(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, seconds=12.5)
    found = lab.search()
    assert 0 < len(lab.fitted) <= 12
    assert lab.now <= 12.5
    assert "budget ends" in found.why
    assert not found.climb.reached


def test_what_the_ladder_encoded_is_not_counted_again(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, seconds=12.5)
    lab.encoding = 30.0
    assert len(trials(lab.search())) >= 8


def test_a_trial_takes_what_those_of_the_search_took(tmp_path: Path, monkeypatch: Any):
    """The dearest of the ladder would leave no time for any after the first."""
    monkeypatch.setattr(
        Lab, "rungs", lambda self: [self.rung("lora", [{"lr": 2e-3}], together=False)]
    )
    lab = Lab(tmp_path, monkeypatch, seconds=12.5, fit_seconds=10.0)
    climb = lab.climbed

    def climbed(rungs: Sequence[Rung]) -> Climb:
        found = climb(rungs)
        lab.fit_seconds = 1.0
        return found

    monkeypatch.setattr(lab, "climbed", climbed)
    assert len(trials(lab.search())) >= 8


def test_a_trial_whose_answers_are_no_numbers_is_stepped_over(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, seconds=8.0)
    lab.ends = lambda _: Scored(NONE * (np.nan if len(lab.fitted) == 1 else 1), NONE, 1.0)
    assess = lab.assess

    def refusing(candidate: Candidate, scored: Scored) -> Assessment:
        refuse_broken(scored.validation_logits)
        return assess(candidate, scored)

    monkeypatch.setattr(lab, "assess", refusing)
    found = trials(lab.search())
    assert [t.state for t in found][:2] == ["failed", "tried"]
    assert "not numbers" in found[0].why


def test_a_rung_that_stops_improving_gives_way_and_then_it_ends(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, seconds=1e6)
    found = lab.search()
    assert found.why == f"the last {PATIENCE} trials of each rung gave no better chance"
    (ended,) = [e for e in lab.events if isinstance(e, StageDone) and e.stage == "search"]
    assert ended.summary == f"{len(trials(found))} trials · stopped: {found.why}"
    each = {r: [t for t in trials(found) if t.rung == r] for r in ("head", "lora")}
    assert len(each["head"]) >= PATIENCE
    assert len(each["lora"]) >= PATIENCE
    first = trials(found)[0]
    best = best_of(lab.climbed(lab.rungs()).tried)
    assert best is not None
    assert first.rung == best.rung, "the rung that is best so far comes first"


def few_gains(lab: Lab) -> None:
    """Every trial is better than the one before, by less than its rows can tell."""
    noise = np.random.default_rng(0).normal(0, 1, 400)
    known: dict[str, np.ndarray] = {}

    def losses(candidate: Candidate) -> np.ndarray:
        # Its own luck with each row, and a thousandth better.
        turn = len(known)
        luck = 0.3 * np.roll(noise, turn)
        return known.setdefault(candidate.key, 1.0 - 0.001 * turn + luck - luck.mean())

    lab.losses = losses


def test_gains_that_the_rows_cannot_tell_do_not_keep_a_search_going(
    tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setattr(
        Lab, "rungs", lambda self: [self.rung("lora", [{"lr": 2e-3}], together=False)]
    )
    lab = Lab(tmp_path / "a", monkeypatch, seconds=100, chances=lambda _: 0.7)
    few_gains(lab)
    found = lab.search()
    losses = [t.assessment.log_loss for t in trials(found) if t.assessment is not None]
    assert losses == sorted(losses, reverse=True), "each is better than the last"
    assert found.why == f"the last {PATIENCE} trials gave no better chance"
    assert PATIENCE <= len(trials(found)) < 3 * PATIENCE, "though small steps add up to gains"

    patient = Lab(tmp_path / "b", monkeypatch, seconds=100, chances=lambda _: 0.7)
    few_gains(patient)
    patient.patience = 2
    assert len(trials(patient.search())) == 2, "the need says how many"


def test_a_search_that_stopped_stops_again_where_it_is_resumed(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, seconds=1e6, chances=lambda _: 0.7)
    first = lab.search()
    fitted = len(lab.fitted)
    again = lab.search()
    assert names(again) == names(first)
    assert again.why == first.why
    asked = [c.key for c, _ in lab.fitted[fitted:]]
    assert asked == [c.key for c, _ in lab.fitted[:fitted]], "found again, and none is new"


def test_settings_that_did_well_before_are_tried_first(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, seconds=3.0)
    found = lab.search(wanted=[{"lr": 1.23e-3}])
    assert trials(found)[0].candidate.settings["lr"] == 1.23e-3


def test_a_trial_that_fails_is_told_recorded_and_stepped_over(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, seconds=8.0)
    error = Diverged("the loss is not a number.", fix="lower lr.")
    lab.fail = lambda count: error if count == 1 else None
    found = lab.search()
    assert [t.state for t in trials(found)][:2] == ["failed", "tried"]
    assert trials(found)[0].why == "the loss is not a number."
    assert any(isinstance(e, Note) and "not a number" in e.text for e in lab.events)
    study = Study(tmp_path / "lora.journal", SPACES["lora"], "x", 0)
    assert [p.notes["why"] for p in study.trials() if p.state == "failed"] == [
        "the loss is not a number."
    ]


def test_long_fits_are_tried_on_part_of_the_rows_first(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, seconds=2000, fit_seconds=60.0)
    monkeypatch.setattr(
        Lab, "rungs", lambda self: [self.rung("lora", [{"lr": 2e-3}], together=False)]
    )
    found = lab.search()
    pruned = [t for t in trials(found) if t.state == "pruned"]
    whole = [t for t in trials(found) if t.state == "tried"]
    assert pruned
    assert whole
    assert sum(share == PART for _, share in lab.fitted) == len(trials(found))
    assert sum(share == 1.0 for _, share in lab.fitted) == len(whole)
    few = Lab(tmp_path / "few", monkeypatch, seconds=2000, fit_seconds=60.0, rows=200)
    few.search()
    assert {share for _, share in few.fitted} == {1.0}


def history(*losses: float) -> list[dict[str, float]]:
    """Of a fit of four evaluations."""
    return [{"share": (i + 1) / 4, "validation_log_loss": x} for i, x in enumerate(losses)]


def test_a_trial_that_is_given_up_on_its_way_is_pruned_and_its_curve_is_kept(
    tmp_path: Path, monkeypatch: Any
):
    lab = Lab(tmp_path, monkeypatch, seconds=8.5)

    def ends(candidate: Candidate) -> Scored:
        if len(lab.fitted) % 2:
            return Scored(NONE, NONE, 0.5, history(0.9, 0.8), cut=6, pruned=True)
        return Scored(NONE, NONE, 1.0, history(0.9, 0.8, 0.4, 0.3))

    lab.ends = ends
    found = lab.search()
    states = [t.state for t in trials(found) if t.rung == "lora"]
    assert states[:4] == ["pruned", "tried", "pruned", "tried"]
    assert trials(found)[0].why == "worse than most after 50% of its training"
    assert lab.bars[:5] == [0, 0, 1, 1, 2], "whole trials make the bar, and only they"
    past = [p for p in Study(tmp_path / "lora.journal", SPACES["lora"], "x", 0).trials() if p.curve]
    assert [(p.state, len(p.curve)) for p in past[:2]] == [("pruned", 2), ("done", 4)]


def low(candidate: Candidate) -> str:
    """Rules out two thirds of the rates of lora on a log scale."""
    return "too large" if candidate.settings.get("lr", 1) < 1.4e-3 else ""


def test_what_cannot_meet_the_need_is_not_fitted_and_costs_no_patience(
    tmp_path: Path, monkeypatch: Any
):
    lab = Lab(tmp_path, monkeypatch, seconds=1e6)
    monkeypatch.setattr(
        Lab, "rungs", lambda self: [self.rung("lora", [{"lr": 2e-3}], together=False)]
    )
    lab.ruled_out = low
    found = lab.search(wanted=[{"lr": 1e-3}])
    assert not [c for c, _ in lab.fitted if low(c)]
    assert len(trials(found)) >= PATIENCE
    past = Study(tmp_path / "lora.journal", SPACES["lora"], "x", 0).trials()
    refused = [p for p in past if p.notes.get("refused")]
    assert refused
    assert {(p.state, p.notes["why"]) for p in refused} == {("pruned", "too large")}

    # None of the space would do: the search still ends.
    none = Lab(tmp_path / "none", monkeypatch, seconds=3.0)
    none.ruled_out = lambda _: "too large"
    assert "budget ends" in none.search().why


def test_a_killed_search_that_refuses_draws_ends_like_one_that_was_not(
    tmp_path: Path, monkeypatch: Any
):
    whole = Lab(tmp_path / "whole", monkeypatch, seconds=14.0)
    whole.ruled_out = low
    expected = whole.search()
    lab = Lab(tmp_path / "killed", monkeypatch, seconds=14.0)
    lab.ruled_out, lab.facts = low, dict(whole.facts)
    lab.fail = lambda count: Killed() if count == 4 else None  # type: ignore[assignment]
    with pytest.raises(Killed):
        lab.search()
    lab.fail = lambda _: None
    assert names(lab.search()) == names(expected)


@pytest.mark.parametrize("kills", [[1], [3], [6, 9], [1, 2, 3]])
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_that_was_killed_ends_like_one_that_was_not(
    tmp_path: Path, monkeypatch: Any, kills: list[int], long: bool, workers: int
):
    seconds = 60.0 if long else 1.0

    def lab_in(place: str) -> Lab:
        lab = Lab(tmp_path / place, monkeypatch, seconds=14 * seconds, fit_seconds=seconds)
        lab.workers = workers
        return lab

    whole = lab_in("whole")
    expected = whole.search()
    assert len(trials(expected)) > 6
    assert max(whole.at_once) == workers, "the trials of a step are fitted at once"

    lab = lab_in("killed")
    lab.facts = dict(whole.facts)  # what the clock decided is given
    for at in kills:
        lab.fitted.clear()
        lab.fail = lambda count, at=at: Killed() if count == at else None  # type: ignore[assignment]
        with pytest.raises(Killed):
            lab.search()
    lab.fail = lambda _: None
    found = lab.search()
    assert names(found) == names(expected)
    best, other = found.climb.best, expected.climb.best
    assert best is not None
    assert other is not None
    assert best.candidate == other.candidate


def test_values_order_candidates_as_the_best_is_chosen():
    pairs = [(0.5, 0.4), (0.5, 0.2), (0.7, 3.0), (0.0, 0.1), (0.0, 2.0), (0.71, 0.5)]
    ranked = sorted(pairs, key=lambda p: value_of(Assessment({}, {}, *p)))
    assert ranked == [(0.71, 0.5), (0.7, 3.0), (0.5, 0.2), (0.5, 0.4), (0.0, 0.1), (0.0, 2.0)]


def test_what_was_searched_says_which_settings_mattered(tmp_path: Path, monkeypatch: Any):
    lab = Lab(tmp_path, monkeypatch, seconds=1e6)
    found = lab.search()
    assert {i.rung for i in found.importances} == {"head", "lora"}
    assert all(i.trials > PATIENCE and sum(i.shares.values()) > 0.99 for i in found.importances)
