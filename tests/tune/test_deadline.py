"""A fit that the clock cuts: what it leaves, and what later runs make of it."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sartor.core.events import Event, Note, StageProgress, silent
from sartor.core.protocols import Fitted
from sartor.core.types import Backbone, Candidate
from sartor.core.workspace import Run
from sartor.tune import loop
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.recipe import Halts, never
from tests.tune.killed import NoFeatures, hashes, reviews, tiny_backbone

TRAIN, HELD = reviews(64, 1), reviews(24, 2)
SETTINGS = {"epochs": 3, "lr": 1e-3, "batch_rows": 16, "patience": 99, "average": "ema"}
OPTIONS = TuneOptions(max_length=64, scored_train_rows=8)


class Killed(Exception):
    """What a kill looks like from inside."""


class Clock:
    """Stands for the loop's clock: the deadline passes after so many steps."""

    def __init__(self) -> None:
        self.steps = 0

    def emit(self, stop_at: int, also: Callable[[Event], None] = silent) -> Callable[[Event], None]:
        def watch(event: Event) -> None:
            also(event)
            if isinstance(event, StageProgress):
                self.steps += event.done >= stop_at

        return watch

    def monotonic(self) -> float:
        return float(self.steps)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    fake = SimpleNamespace(monotonic=found.monotonic, perf_counter=time.perf_counter)
    monkeypatch.setattr(loop, "time", fake)
    return found


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


class Shop:
    """A workspace with runs, each of which remembers its facts."""

    def __init__(self, folder: Path, backbone: Backbone) -> None:
        self.folder, self.backbone = folder, backbone

    def run(self, number: int) -> Run:
        folder = self.folder / "runs" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        return Run(number, folder)

    def fit(
        self,
        run: int,
        emit: Callable[[Event], None] = silent,
        deadline: float = float("inf"),
        halts: Halts = never,
        **settings: Any,
    ) -> Fitted:
        options = replace(OPTIONS, deadline=deadline, facts=self.run(run))
        tuner = Tuner(
            {"tiny": self.backbone},
            lambda _: NoFeatures(),
            self.folder / "fits",
            ["great", "other"],
            options,
        )
        candidate = Candidate("tiny", "0" * 64, "full", SETTINGS | settings, seed=1)
        return tuner(candidate, TRAIN, HELD, emit, halts)


@pytest.fixture
def shop(tmp_path: Path, backbone: Backbone) -> Shop:
    return Shop(tmp_path / "shop", backbone)


@pytest.fixture
def whole(tmp_path: Path, backbone: Backbone) -> dict[str, str]:
    """Hashes of the fit that no clock cut."""
    return hashes(Shop(tmp_path / "other", backbone).fit(1).folder)


def test_a_cut_fit_ends_at_its_step_with_evaluated_weights(shop: Shop, clock: Clock):
    fitted = shop.fit(1, clock.emit(stop_at=5), deadline=1.0)

    assert fitted.cut == 5
    assert fitted.history[-1]["step"] == 5
    assert fitted.folder.name == "cut-00000005"
    assert shop.run(1).recall(next(iter(json.loads(_facts(shop, 1))))) == {"cut": 5}


def test_the_run_that_was_cut_finds_its_result_again(shop: Shop, clock: Clock):
    first = shop.fit(1, clock.emit(stop_at=5), deadline=1.0)
    events: list[Event] = []

    again = shop.fit(1, events.append)

    assert again.folder == first.folder
    assert not [e for e in events if isinstance(e, StageProgress)]


def test_a_run_with_more_time_goes_on_to_the_whole_fit(
    shop: Shop, clock: Clock, whole: dict[str, str]
):
    cut = shop.fit(1, clock.emit(stop_at=5), deadline=1.0)
    events: list[Event] = []

    fitted = shop.fit(2, events.append)

    assert fitted.cut is None
    assert [e.text for e in events if isinstance(e, Note)] == ["Resuming at step 5 of 12."]
    assert hashes(fitted.folder) == whole
    assert hashes(cut.folder) != whole
    assert shop.fit(1).folder == cut.folder, "the first run keeps what it judged"


def test_a_second_budget_cuts_further_on(shop: Shop, clock: Clock):
    shop.fit(1, clock.emit(stop_at=5), deadline=1.0)
    clock.steps = 0

    further = shop.fit(2, clock.emit(stop_at=8), deadline=1.0)

    assert further.cut == 8


@pytest.mark.parametrize("instant", ["before the fact", "after the fact", "at the result"])
def test_a_cut_fit_that_is_killed_ends_with_the_same_bytes(
    shop: Shop,
    tmp_path: Path,
    backbone: Backbone,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    instant: str,
):
    straight = Shop(tmp_path / "straight", backbone).fit(1, clock.emit(5), deadline=1.0)
    clock.steps = 0

    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        if instant == "at the result":
            patch.setattr("sartor.tune.fit.write_fitted", die)
        elif instant == "before the fact":
            patch.setattr(Run, "fact", die)
        else:
            keep = Run.fact
            patch.setattr(Run, "fact", lambda *a: (keep(*a), die()))
        with pytest.raises(Killed):
            shop.fit(1, clock.emit(stop_at=5), deadline=1.0)
    # The clock has not passed when the process begins again.
    again_at = 1.0 if instant == "before the fact" else 1e9

    fitted = shop.fit(1, deadline=again_at)

    assert fitted.cut == 5
    assert hashes(fitted.folder) == hashes(straight.folder)
    assert fitted.history == straight.history


def test_a_cut_that_other_runs_have_overtaken_is_found_from_the_start(shop: Shop, clock: Clock):
    first = hashes(shop.fit(1, clock.emit(stop_at=5), deadline=1.0).folder)
    folder = shop.fit(1).folder
    clock.steps = 0
    shop.fit(2, clock.emit(stop_at=8), deadline=1.0)
    clock.steps = 0
    shop.fit(3, clock.emit(stop_at=11), deadline=1.0)
    (folder / "model.safetensors").write_bytes(b"damaged")

    again = shop.fit(1)

    assert again.cut == 5
    assert hashes(again.folder) == first


def test_a_whole_fit_is_whole_though_the_time_is_over(shop: Shop, whole: dict[str, str]):
    fitted = shop.fit(1)
    (fitted.folder / "model.safetensors").write_bytes(b"damaged")

    again = shop.fit(1, deadline=0.0)

    assert again.cut is None
    assert hashes(again.folder) == whole


def test_a_fit_that_is_not_worth_its_end_is_cut_where_it_was_evaluated(
    shop: Shop, whole: dict[str, str]
):
    asked: list[float] = []

    def hopeless(share: float, loss: float) -> bool:
        asked.append(share)
        return share >= 0.5

    fitted = shop.fit(1, halts=hopeless)

    assert fitted.pruned
    assert fitted.cut == 6
    assert asked == [2 / 12, 4 / 12, 6 / 12]
    assert fitted.history[-1]["share"] == 0.5
    assert json.loads(_facts(shop, 1)) == {
        next(iter(json.loads(_facts(shop, 1)))): {"cut": 6, "pruned": True}
    }
    again = shop.fit(1, halts=lambda share, loss: False)
    assert (again.cut, again.pruned, again.folder) == (6, True, fitted.folder)
    events: list[Event] = []
    other = shop.fit(2, events.append)
    assert (other.cut, other.pruned) == (None, False)
    assert [e.text for e in events if isinstance(e, Note)] == ["Resuming at step 6 of 12."]
    assert hashes(other.folder) == whole, "another run goes on from there"
    assert not shop.fit(2, halts=lambda share, loss: True).pruned, "what is whole stays whole"


@pytest.mark.parametrize("at", [3, 5, 6])
def test_a_fit_that_was_killed_before_it_was_given_up_ends_at_the_same_step(
    shop: Shop, tmp_path: Path, backbone: Backbone, at: int
):
    def hopeless(share: float, loss: float) -> bool:
        return share >= 0.5

    straight = Shop(tmp_path / "straight", backbone).fit(1, halts=hopeless)

    def die(event: Event) -> None:
        if isinstance(event, StageProgress) and event.done == at:
            raise Killed

    with pytest.raises(Killed):
        shop.fit(1, die, halts=hopeless)
    fitted = shop.fit(1, halts=hopeless)
    assert (fitted.cut, fitted.pruned) == (6, True)
    assert hashes(fitted.folder) == hashes(straight.folder)
    (fitted.folder / "model.safetensors").write_bytes(b"damaged")
    assert hashes(shop.fit(1).folder) == hashes(straight.folder), "the fact is enough"


def _facts(shop: Shop, run: int) -> str:
    return (shop.run(run).folder / "facts.json").read_text()
