"""The median rule over evaluations, and what the journal and a fit make of it."""

from pathlib import Path

from sartor.search.pruning import NO_BAR, Bar, curve_of
from sartor.search.space import Space
from sartor.search.study import Study
from sartor.tune.api import Real

CURVES = tuple(((0.25, 0.6 + i / 100), (0.5, 0.4 + i / 100), (1.0, 0.5)) for i in range(5))


def test_a_fit_that_is_worse_than_the_median_at_its_share_ends():
    bar = Bar(CURVES)
    assert bar.halts(0.25, 0.63)
    assert not bar.halts(0.25, 0.62)
    assert bar.halts(0.5, 0.43), "the same loss that was enough earlier"
    assert not bar.halts(0.5, 0.42)
    assert not bar.halts(0.9, 0.42), "the best so far counts, not the last"
    assert bar.halts(0.9, 0.43)


def test_nothing_ends_too_early_or_for_want_of_others():
    assert not Bar(CURVES).halts(0.24, 99.0)
    assert not Bar(CURVES[:3]).halts(0.5, 99.0)
    late = tuple(((0.8, 0.1),) for _ in range(9))
    assert not Bar(late).halts(0.5, 99.0), "none of them had been looked at by then"
    assert not NO_BAR.halts(0.5, 99.0)


def test_a_share_that_the_journal_rounded_is_still_the_same():
    curves = tuple(((0.667, 0.1 + i / 100),) for i in range(4))
    assert Bar(curves).halts(2 / 3, 0.5)


def test_a_curve_is_the_shares_and_losses_of_the_evaluations():
    step = {"step": 4, "share": 0.5, "train_loss": 1.0, "validation_log_loss": 0.25}
    assert curve_of([step]) == [(0.5, 0.25)]
    assert curve_of([]) == []


def test_the_journal_holds_curves_and_whole_trials_make_the_bar(tmp_path: Path):
    space = Space("text_classification", "lora", {"lr": Real(1e-4, 5e-3, log=True)})
    study = Study(tmp_path / "s.journal", space, "run 1", 0)
    study.add({"lr": 1e-3}, 0.2, {}, CURVES[0])
    first, second, third = (study.ask() for _ in range(3))
    study.report(first.number, 0.7)
    study.tell(first.number, 0.3, {}, CURVES[1])
    study.prune(second.number, "worse than most", CURVES[2][:1])
    study.tell(third.number, 0.4, {})

    again = Study(tmp_path / "s.journal", space, "run 2", 0)
    assert [p.curve for p in again.trials()] == [CURVES[0], CURVES[1], CURVES[2][:1], ()]
    assert again.trials()[1].partial == 0.7, "what part of the rows gave is kept apart"
    assert len(again.bar().curves) == 2
    again.ask()
