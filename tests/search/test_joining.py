"""Soups and ensembles after the climb: taken where they pay, and nowhere else."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from sartor.core.errors import Diverged
from sartor.core.events import CandidateTried, Event, Note
from sartor.core.protocols import Floats
from sartor.core.types import Backbone, Candidate, Examples
from sartor.need.grammar import parse_criterion
from sartor.need.verdict import Verdict
from sartor.search.assess import Held
from sartor.search.cascading import Latencies
from sartor.search.folds import Folds
from sartor.search.joining import climb_down, join, step_back
from sartor.search.ladder import Climb, Scored, Tried, best_of
from sartor.search.mixed import MEMBERS, Terms
from sartor.tasks import TASKS
from sartor.tune.soup import Soup

ROWS = 300
TRUTH = np.arange(ROWS) % 2
BACKBONES = {
    name: Backbone(name, "folder", "", name * 4, "MIT", ("en",), 20_000_000, 6, 384)
    for name in "abc"
}


def held(*criteria: str) -> Held:
    labels = tuple("no" if t == 0 else "yes" for t in TRUTH)
    texts = tuple(map(str, range(ROWS)))
    return Held(
        TASKS.get("text_classification")(),
        ("no", "yes"),
        Examples(texts, {"text": texts}, labels),
        tuple(parse_criterion(c) for c in criteria),
        1000,
    )


def knows(*thirds: int, seed: int = 0, sure: float = 3.0) -> Floats:
    """Logits that know the rows of some thirds, and guess without conviction on the others."""
    draw = np.random.default_rng(seed)
    margin = draw.normal(0, 0.5, ROWS)
    known = np.isin(np.arange(ROWS) // 2 % 3, thirds)
    margin[known] = (2 * TRUTH[known] - 1) * sure
    return np.stack([-margin / 2, margin / 2], axis=1).astype(np.float32)


def tried(logits: Floats, among: Held, name: str = "a", method: str = "head", n: int = 0) -> Tried:
    candidate = Candidate(name, name * 4, method, {"n": n}, 0)
    scored = Scored(logits, logits[:10], 1.0)
    return Tried(method, candidate, "tried", "", 1.0, scored, among.assess(candidate, scored))


def climbed(*found: Tried) -> Climb:
    best = best_of(found)
    assert best is not None
    assert best.assessment is not None
    return Climb(found, best, best.assessment.chance >= 0.8)


class Shop:
    """Terms that keep what they were told."""

    def __init__(self, *, soup: Soup | None = None, rich: bool = True, strangers: str = "") -> None:
        self.events: list[Event] = []
        self.offered: list[list[Tried]] = []
        self.soup, self.rich, self.strangers = soup, rich, strangers
        self.refit: Callable[[Candidate], Scored | Exception] | None = None

    def terms(self) -> Terms:
        return Terms(
            BACKBONES,
            lambda c: f"other {c.backbone}" if c.backbone in self.strangers else "same",
            self.taste,
            self.refit,
            lambda c: c.settings.get("cost", 1.0),
            lambda *_: self.rich,
            self.events.append,
        )

    def taste(self, offered: list[Tried]) -> Soup:
        self.offered.append(offered)
        assert self.soup is not None
        return self.soup


def complementary(among: Held, *names: str) -> list[Tried]:
    return [tried(knows(i, seed=i), among, name, n=i) for i, name in enumerate(names or "aaa")]


def chance(found: Tried | None) -> float:
    assert found is not None
    assert found.assessment is not None
    return found.assessment.chance


def test_members_that_know_different_rows_meet_a_need_that_none_meets_alone():
    among, shop = held("accuracy >= 0.9"), Shop()
    alone = climbed(*complementary(among))
    assert chance(alone.best) < 0.05
    found = join(alone, among, shop.terms())
    assert found.reached
    assert found.best is not None
    assert found.best is found.tried[-1]
    assert found.best.parts is not None
    assert {t.candidate.settings["n"] for _, t in found.best.parts.members} == {0, 1, 2}
    assert found.best.scored is not None
    by_hand = sum(f * t.scored.validation_logits for f, t in found.best.parts.members if t.scored)
    np.testing.assert_allclose(found.best.scored.validation_logits, by_hand, rtol=1e-5, atol=1e-6)
    assert any(isinstance(e, CandidateTried) and "1 encoder" in e.label for e in shop.events)


def test_an_earlier_bundle_is_in_no_soup_and_no_ensemble():
    among, shop = held("accuracy >= 0.9"), Shop()
    there = tried(knows(0, 1), among, "a", "earlier")
    found = join(climbed(there, *complementary(among)), among, shop.terms())
    assert found.best is not None
    assert found.best.parts is not None
    assert there not in [t for _, t in found.best.parts.members]
    assert not shop.offered
    alone = climbed(there)
    assert join(alone, among, shop.terms()).best is there


def test_where_one_candidate_suffices_nothing_is_joined():
    among = held("accuracy >= 0.9")
    alone = climbed(tried(knows(0, 1, 2), among), *complementary(among))
    assert join(alone, among, Shop().terms()) is alone


def test_an_ensemble_that_is_not_clearly_better_is_shown_and_not_taken():
    among, shop = held("accuracy >= 0.999"), Shop()
    alone = climbed(*(tried(knows(0, seed=i), among, n=i) for i in range(3)))
    found = join(alone, among, shop.terms())
    assert found.best is alone.best
    made = [t for t in found.tried if t.parts]
    assert {t.rung for t in made} == {"ensemble", "stack"}
    assert all("not clearly better" in t.why for t in made)
    assert any(isinstance(e, Note) and "not taken" in e.text for e in shop.events)


def test_an_ensemble_is_held_against_what_choosing_one_is_worth_not_against_the_luckiest():
    among, shop = held("accuracy >= 0.74"), Shop()
    shared = np.random.default_rng(0).normal(0, 1, ROWS)

    def alike(seed: int) -> Floats:
        """What all know, with noise of its own, of which the mean has less."""
        margin = (2 * TRUTH - 1) * 0.6 + shared
        margin = margin + np.random.default_rng(seed).normal(0, 0.7, ROWS)
        return np.stack([-margin / 2, margin / 2], axis=1).astype(np.float32)

    alone = climbed(*(tried(alike(i + 1), among, n=i) for i in range(12)))
    found = join(alone, among, shop.terms())
    made = next(t for t in found.tried if t.rung == "ensemble")
    assert found.best is made
    assert chance(made) < chance(alone.best) + 0.1, "the luckiest of twelve looks as good"


def test_the_luck_of_weights_chosen_on_few_rows_is_no_chance_of_an_ensemble():
    among = held("accuracy >= 0.52")
    alone = climbed(*(tried(knows(seed=i), among, n=i) for i in range(20)))
    found = join(alone, among, Shop().terms())
    made = next(t for t in found.tried if t.rung == "ensemble")
    assert made.scored is not None
    by_luck = among.assess(made.candidate, made.scored)
    assert by_luck.chance > 0.4, "the weights fit the rows they were chosen on"
    assert chance(made) < 0.2
    assert found.best is alone.best


@pytest.mark.parametrize(("bound", "encoders"), [("40", 2), ("20", 1), ("200", 3)])
def test_a_criterion_of_size_bounds_the_encoders_of_an_ensemble(bound: str, encoders: int):
    among = held("accuracy >= 0.9", f"size_mb <= {bound}")
    alone = climbed(*complementary(among, "a", "b", "c"))
    found = join(alone, among, Shop().terms())
    made = [t for t in found.tried if t.rung == "ensemble"]
    names = {t.candidate.backbone for m in made if m.parts for _, t in m.parts.members}
    assert len(names) == (0 if encoders == 1 else encoders)


def test_no_ensemble_has_more_than_a_handful_of_members():
    among = held("accuracy >= 0.9")
    # Each of eight fits knows its own eighth of the rows: more members would always help.
    rows = np.arange(ROWS) // 2 % 8
    fits = []
    for i in range(8):
        logits = knows(seed=i)
        logits[rows == i] = knows(0, 1, 2)[rows == i]
        fits.append(tried(logits, among, "a", "lora", i))
    kept = Soup((0,), fits[0].scored.validation_logits, fits[0].scored.train_logits)
    found = join(climbed(*fits), among, Shop(soup=kept).terms())
    assert found.tried[-1].parts is not None
    assert len(found.tried[-1].parts.members) == MEMBERS


def test_candidates_that_read_texts_otherwise_are_left_out():
    among = held("accuracy >= 0.9")
    alone = climbed(*complementary(among, "a", "b", "c"))
    found = join(alone, among, Shop(strangers="abc").terms())
    assert found.tried == alone.tried


def test_logits_that_are_not_numbers_are_left_out():
    among = held("accuracy >= 0.9")
    broken = tried(knows(0), among, n=9)
    nan = np.full((ROWS, 2), np.nan, np.float32)
    broken = replace(broken, scored=Scored(nan, nan[:10], 1.0))
    found = join(climbed(broken, *complementary(among)), among, Shop().terms())
    assert found.best is not None
    assert found.best.parts is not None
    assert all(t is not broken for _, t in found.best.parts.members)


def test_a_budget_that_is_spent_buys_no_ensemble():
    among = held("accuracy >= 0.9")
    alone = climbed(*complementary(among))
    assert join(alone, among, Shop(rich=False).terms()).tried == alone.tried


def test_an_ensemble_whose_artefact_costs_too_much_gives_way_to_the_best_single():
    among, shop = held("accuracy >= 0.9"), Shop()
    alone = climbed(*complementary(among))
    found = join(alone, among, shop.terms())
    slow = Verdict("latency_p95_ms <= 20", 31.0, 30.0, 33.0, 6, "unmet")
    back = step_back(found, [slow], shop.events.append)
    assert back is not None
    assert back.best is alone.best
    assert not back.reached
    assert back.tried[-1].why == "latency_p95_ms <= 20 is unmet: 31"

    fine = Verdict("latency_p95_ms <= 20", 11.0, 10.0, 13.0, 6, "met")
    assert step_back(found, [fine], shop.events.append) is None
    assert step_back(alone, [slow], shop.events.append) is None, "a single one has no other to give"


SLOW = Verdict("latency_p50_ms <= 5", 9.0, 8.0, 10.0, 6, "unmet")


def priced(found: Tried, cost: float) -> Tried:
    settings = {**found.candidate.settings, "cost": cost}
    return replace(found, candidate=replace(found.candidate, settings=settings))


def cheap_and_dear(among: Held) -> tuple[Tried, Tried]:
    """One that knows two thirds of the rows and is unsure of the others, and one that knows all."""
    cheap = priced(tried(knows(0, 1), among, n=1), 1.0)
    return cheap, priced(tried(knows(0, 1, 2, sure=2.0), among, n=2), 10.0)


def half_may_climb(change: Callable[[Latencies], Latencies]) -> bool:
    return bool(np.percentile(change(np.full((6, 100), 9.0)), 50) <= 5)


def test_a_candidate_too_slow_for_the_need_answers_what_a_fast_one_is_unsure_of():
    among, shop = held("accuracy >= 0.9", "latency_p50_ms <= 5"), Shop()
    cheap, dear = cheap_and_dear(among)
    found = climb_down(climbed(cheap, dear), [SLOW], half_may_climb, among, shop.terms())
    assert found is not None
    assert found.reached
    assert found.best is not None
    assert found.best is found.tried[-1]
    assert found.best.parts is not None
    assert found.best.parts.kind == "cascade"
    assert [t for _, t in found.best.parts.members] == [cheap, dear]
    # A third of the rows is what the cheap one does not know, less what chance leaves of it.
    assert 0.2 < found.best.candidate.settings["climbing"] <= 0.4
    assert found.best.scored is not None
    right = found.best.scored.validation_logits.argmax(1) == TRUTH
    assert right.mean() > 0.95
    assert chance(found.best) > chance(cheap) + 0.5
    slow = Verdict("latency_p50_ms <= 5", 6.0, 5.5, 6.5, 6, "unmet")
    back = step_back(found, [slow], shop.events.append)
    assert back is not None
    assert back.best is dear


@pytest.mark.parametrize("why", ["fast", "too large", "none may climb", "no cheap one", "poor"])
def test_there_is_no_cascade_where_it_would_not_pay(why: str):
    among = held("accuracy >= 0.9", "latency_p50_ms <= 5")
    cheap, dear = cheap_and_dear(among)
    large = Verdict("size_mb <= 5", 9.0, 9.0, 9.0, 0, "unmet")
    verdicts = {"fast": [replace(SLOW, state="met")], "too large": [SLOW, large]}.get(why, [SLOW])
    holds = half_may_climb if why != "none may climb" else lambda _: False
    climb = climbed(priced(cheap, 9.0) if why == "no cheap one" else cheap, dear)
    terms = Shop(rich=why != "poor").terms()
    assert climb_down(climb, verdicts, holds, among, terms) is None


def test_no_cascade_is_taken_that_does_no_better_than_its_cheap_member():
    among, shop = held("accuracy >= 0.9"), Shop()
    cheap, _ = cheap_and_dear(among)
    dear = priced(tried(knows(0, 1, seed=1, sure=4.0), among, n=2), 10.0)
    assert climb_down(climbed(cheap, dear), [SLOW], half_may_climb, among, shop.terms()) is None


def test_a_cascade_is_joined_where_adding_logits_would_drown_the_sure_one():
    among, shop = held("accuracy >= 0.9"), Shop()
    # Where the cheap one is sure it is right, and the dear one as surely wrong.
    dear_logits = knows(0, 2, seed=1, sure=9.0)
    wrong = np.arange(ROWS) // 2 % 3 == 1
    dear_logits[wrong] = -knows(1, sure=9.0)[wrong]
    cheap = priced(tried(knows(1, sure=4.0), among, n=1), 1.0)
    dear = priced(tried(dear_logits, among, n=2), 10.0)
    found = join(climbed(cheap, dear), among, shop.terms())
    assert found.reached
    assert found.best is not None
    assert found.best.rung == "cascade"
    assert any(isinstance(e, CandidateTried) and "rows climb" in e.label for e in shop.events)


def test_a_member_that_leans_is_stacked_where_no_weight_would_mend_it():
    among, shop = held("accuracy >= 0.9"), Shop()
    leaning = knows(0, 1, sure=2.0) + np.array([5.0, 0.0], np.float32)
    alone = climbed(tried(leaning, among, n=1), tried(knows(2, seed=1), among, n=2))
    assert chance(alone.best) < 0.05
    found = join(alone, among, shop.terms())
    assert found.reached
    assert found.best is not None
    assert found.best.rung == "stack"
    assert found.best.parts is not None
    assert found.best.scored is not None
    by_hand = np.array(found.best.parts.bias) + sum(
        t.scored.validation_logits @ np.array(m).T for m, t in found.best.parts.members if t.scored
    )
    np.testing.assert_allclose(found.best.scored.validation_logits, by_hand, atol=1e-4)


def test_where_validation_rows_are_few_the_folds_choose_and_judge_too():
    few, whole = 20, held("accuracy >= 0.9")
    train = whole.validation.take(range(few, ROWS))
    among = replace(
        whole,
        validation=whole.validation.take(range(few)),
        folds=Folds(train, np.arange(len(train)) % 5),
    )

    def by_folds(logits: Floats, n: int) -> Tried:
        candidate = Candidate("a", "aaaa", "head", {"n": n}, 0)
        scored = Scored(logits[:few], logits[few:] * 9, 1.0, folds=logits[few:])
        said = among.assess(candidate, scored)
        return Tried("head", candidate, "tried", "", 1.0, scored, said)

    fits = [by_folds(knows(i, seed=i), i) for i in range(3)]
    without = tried(knows(0, 1)[:few], among, n=9, method="lora")
    found = join(climbed(without, *fits), among, Shop().terms())
    made = next(t for t in found.tried if t.rung == "ensemble")
    assert not made.why
    assert made.parts is not None
    assert {t.candidate.settings["n"] for _, t in made.parts.members} == {0, 1, 2}
    assert made.scored is not None
    assert made.scored.folds is not None
    assert made.scored.folds.shape == (len(train), 2)
    assert made.scored.validation_logits.shape == (few, 2)


def soups_of(shop: Shop) -> Sequence[set[int]]:
    return [{t.candidate.settings["n"] for t in group} for group in shop.offered]


def test_fits_of_one_start_are_offered_to_a_soup_the_best_first():
    among = held("accuracy >= 0.9")
    good = knows(0, 1, seed=3)
    shop = Shop(soup=Soup((0, 2), knows(0, 1, 2), knows(0, 1, 2)[:10]))
    fits = [
        tried(knows(0, seed=1), among, "a", "lora", 1),
        tried(good, among, "a", "lora", 2),
        tried(knows(0, seed=3), among, "a", "full", 3),
        tried(knows(0, seed=4), among, "b", "lora", 4),
        tried(knows(0, seed=5), among, "a", "head", 5),
    ]
    found = join(climbed(*fits), among, shop.terms())
    assert soups_of(shop) == [{1, 2, 3}], "neither the head nor the lone fit of another backbone"
    assert shop.offered[0][0].candidate.settings["n"] == 2
    assert found.reached
    assert found.best is not None
    assert found.best.rung == "soup"
    assert found.best.parts is not None
    assert [share for share, _ in found.best.parts.members] == [1.0, 0.0, 1.0]
    assert len(found.tried) == len(fits) + 1, "the soup reaches the need: no ensemble is made"


def reseeding(shop: Shop) -> list[int]:
    """The seeds under which the shop fitted something again; every fit knows other rows."""
    seeds: list[int] = []

    def refit(candidate: Candidate) -> Scored:
        seeds.append(candidate.seed)
        logits = knows(candidate.seed, seed=candidate.seed)
        return Scored(logits, logits[:10], 1.0)

    shop.refit = refit
    return seeds


def test_the_best_fit_is_fitted_again_under_other_seeds_which_may_join_it():
    among = held("accuracy >= 0.9")
    shop = Shop(soup=Soup((0,), knows(0), knows(0)[:10]))
    seeds = reseeding(shop)
    found = join(climbed(tried(knows(0), among, "a", "lora")), among, shop.terms())
    assert seeds == [1, 2]
    again = [t for t in found.tried if "again" in t.why]
    assert [(t.rung, t.candidate.seed) for t in again] == [("lora", 1), ("lora", 2)]
    assert len(shop.offered[0]) == 3, "a soup may take them too"
    assert found.reached
    assert found.best is not None
    assert found.best.parts is not None
    assert {t.candidate.seed for _, t in found.best.parts.members} == {0, 1, 2}


@pytest.mark.parametrize("why", ["head", "poor", "no budget", "reached"])
def test_nothing_is_fitted_again_where_that_would_be_vain(why: str):
    among = held("accuracy >= 0.9")
    shop = Shop(soup=Soup((0,), knows(0), knows(0)[:10]), rich=why != "poor")
    seeds = reseeding(shop)
    if why == "no budget":
        shop.refit = None
    best = tried(knows(*range(3 if why == "reached" else 2)), among, "a", "lora")
    if why == "head":
        best = tried(knows(0, 1), among, "a", "head")
    found = join(climbed(best), among, shop.terms())
    assert seeds == []
    assert all(t.candidate.seed == 0 for t in found.tried)


def test_a_seed_that_diverges_ends_the_fitting_again():
    among = held("accuracy >= 0.9")
    shop = Shop()
    shop.refit = lambda _: Diverged("It diverged.", fix="learn slower.")
    found = join(climbed(tried(knows(0), among, "a", "lora")), among, shop.terms())
    assert [t.why for t in found.tried if t.state == "failed"] == ["It diverged."]


def test_a_soup_of_one_is_no_candidate():
    among = held("accuracy >= 0.9")
    shop = Shop(soup=Soup((0,), knows(0), knows(0)[:10]))
    fits = [tried(knows(0, seed=1), among, "a", "lora", i) for i in (1, 2)]
    found = join(climbed(*fits), among, shop.terms())
    assert all(t.rung != "soup" for t in found.tried)
