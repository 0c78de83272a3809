"""A need that the portfolio does not reach is searched on while the budget lasts, kill or no."""

import json
import shutil
from pathlib import Path

import pytest

from sartor import pipeline
from sartor.core.types import Candidate
from tests.stories.shop import NEED, Here, command, open_shop
from tests.stories.test_killed import resumed_like, run_until

SEARCHED = NEED.replace("0.80", "0.999") + "budget: {minutes: 5}\n"


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose heads were searched to the end."""
    shop = open_shop(tmp_path_factory.mktemp("searched"), SEARCHED)
    assert run_until("never", shop, "head") == 0
    return shop


def result(shop: Path, number: int = 1) -> dict:
    return json.loads((shop / ".sartor" / "runs" / str(number) / "result.json").read_text())


def trials(found: dict) -> list[dict]:
    return [c for c in found["candidates"] if c["trial"] is not None]


def test_trials_follow_the_portfolio_and_are_told_with_what_mattered(searched: Path):
    found = result(searched)
    asked = trials(found)
    assert len(asked) >= 10
    first = [c["trial"] is None for c in found["candidates"] if c["rung"] == "head"]
    assert first == sorted(first, reverse=True)
    assert len({c["settings"]["C"] for c in asked}) > 6
    assert found["search"]["why"] == "the last 10 trials gave no better chance"
    (importance,) = found["search"]["importances"]
    assert importance["rung"] == "head"
    assert sum(importance["shares"].values()) == pytest.approx(1)
    chosen = [c for c in found["candidates"] if c["chosen"]]
    assert len(chosen) == 1


def test_what_was_searched_is_shown_in_words_and_as_json(
    searched: Path, here: Here, monkeypatch: pytest.MonkeyPatch
):
    here.folder = searched
    told = json.loads(here("search", "show", "--json").out)
    found = result(searched)
    rung = told["ladder"][0]
    assert (rung["rung"], rung["backbone"]) == ("head", "./tiny")
    assert rung["candidates"] == sum(c["rung"] == "head" for c in found["candidates"])
    assert rung["trials"] == len(trials(found))
    assert rung["chosen"]
    assert told["ended"] == found["search"]["why"]
    assert told["importances"][0]["shares"] == found["search"]["importances"][0]["shares"]
    assert {o["name"] for o in told["front"]} <= {a["name"] for a in found["artefacts"]}
    assert told["labels"][0]["criterion"] == "accuracy >= 0.999"
    said = here("search", "show")
    assert said.status == 0
    for words in (
        "head, ./tiny ✓",
        "Trials ended: the last 10 trials gave no better",
        " trials): ",
        "further",
    ):
        assert words in said.out
    assert here("search", "show", "7").status == 2


@pytest.mark.parametrize(
    "point",
    ["StageProgress search 4", pytest.param("StageProgress search 12", marks=pytest.mark.slow)],
)
def test_a_search_killed_between_trials_ends_with_the_same_bytes_and_trials(
    searched: Path, tmp_path: Path, point: str
):
    ignore = shutil.ignore_patterns(".sartor")
    shop = Path(shutil.copytree(searched, tmp_path / "shop", ignore=ignore))
    resumed_like(searched, shop, point, "head")

    def told(found: dict) -> list[tuple]:
        return [(c["label"], c["state"], c["scores"]) for c in trials(found)]

    assert told(result(shop)) == told(result(searched))


@pytest.mark.slow
def test_the_next_run_of_the_same_need_begins_with_what_did_best(
    searched: Path, tmp_path: Path, here: Here
):
    shop = Path(shutil.copytree(searched, tmp_path / "shop"))
    said = here("run", "need.yaml", "--method", "head", "--json")
    assert said.status == 1, said.err
    first, second = result(shop), result(shop, 2)
    known = {c["settings"]["C"] for c in first["candidates"] if "C" in c["settings"]}
    begun = [c["settings"]["C"] for c in trials(second)]
    assert set(begun[:3]) <= known, "the best of the run before come first"
    assert not set(begun[4:]) <= known, "then new ones are drawn"
    assert len(list((shop / ".sartor" / "studies").glob("*.journal"))) == 1


@pytest.mark.slow
def test_a_damaged_journal_is_put_aside_and_the_search_goes_on(searched: Path, tmp_path: Path):
    shop = Path(shutil.copytree(searched, tmp_path / "shop"))
    (journal,) = (shop / ".sartor" / "studies").glob("*.journal")
    journal.write_bytes(b"garbage\n" + journal.read_bytes())
    said = command("run", "need.yaml", "--method", "head", "--json", cwd=shop)
    assert said.status == 1, said.err
    assert "put aside" in said.err
    assert journal.with_suffix(".damaged").exists()
    assert len(trials(result(shop, 2))) >= 10


def test_without_a_budget_only_the_portfolio_is_tried(new_shop: Path, here: Here):
    (new_shop / "need.yaml").write_text(NEED.replace("0.80", "0.999"))
    assert here("run", "need.yaml", "--method", "head", "--json").status == 1
    assert trials(result(new_shop)) == []
    assert not (new_shop / ".sartor" / "studies").exists()


@pytest.mark.parametrize(("initial", "why"), [(8, "leaves nothing to cut"), (9, "")])
def test_draws_whose_settings_do_not_go_together_are_refused_before_they_are_fitted(
    new_shop: Path, monkeypatch: pytest.MonkeyPatch, initial: int, why: str
):
    monkeypatch.chdir(new_shop)
    ready = pipeline.plan("need.yaml")
    (one,) = ready.backbones.values()
    settings = {"rank": 8, "initial_rank": initial}
    found = ready.ruled_out(Candidate(one.name, one.sha256, "adalora", settings, 0))
    assert why in found
    assert bool(found) == bool(why)
