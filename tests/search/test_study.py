"""The journal: whole after a kill, shared by several, and the same draws whoever reads it."""

import json
import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sartor.core.errors import WorkspaceError
from sartor.search.space import Space
from sartor.search.study import Study
from sartor.tune.api import METHODS, Choice, Real, Whole

SPACE = Space(
    "text_classification",
    "lora",
    {
        "rank": Whole(2, 64, log=True),
        "lr": Real(1e-4, 5e-3, log=True),
        "layers": Choice(([-1], [-2, -1])),
    },
)


def open_study(file: Path, owner: str = "run 1", seed: int = 0) -> Study:
    return Study(file / "s.journal", SPACE, owner, seed)


def loss(settings: Mapping[str, Any]) -> float:
    return abs(settings["lr"] - 1e-3) * 1000 + (settings["layers"] == [-1]) * 0.3


def run(study: Study, count: int) -> list[dict[str, Any]]:
    asked = []
    for _ in range(count):
        trial = study.ask()
        asked.append(dict(trial.settings))
        study.tell(trial.number, loss(trial.settings), {})
    return asked


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_says_a_space_that_holds_what_is_drawn_from_it(name: str, tmp_path: Path):
    space = Space.of("text_classification", name)
    if not space.dimensions:
        pytest.skip("nothing to search")
    study = Study(tmp_path / "s.journal", space, "run 1", 0)
    for _ in range(6):
        trial = study.ask()
        assert set(trial.settings) == set(space.dimensions)
        assert space.settings(space.params(trial.settings) or {}, {}) == trial.settings
        study.tell(trial.number, 0.5, {})


def test_settings_outside_the_space_say_nothing_of_it():
    assert SPACE.params({"rank": 8, "lr": 1e-3}) == {"rank": 8, "lr": 1e-3, "layers": "[-1]"}
    assert SPACE.params({"rank": 1}) is None
    assert SPACE.params({"layers": [-3]}) is None
    assert SPACE.settings({"layers": "[-2, -1]", "gone": 1}, {"where": "*"}) == {
        "layers": [-2, -1],
        "where": "*",
    }


def test_a_study_of_a_narrower_space_goes_on_in_a_wider_one(tmp_path: Path):
    narrow = Space("text_classification", "adalora", {"initial_rank": Whole(17, 32)})
    before = Study(tmp_path / "s.journal", narrow, "run 1", 0)
    trial = before.ask()
    before.tell(trial.number, 0.5, {})
    space = Space.of("text_classification", "adalora")
    study = Study(tmp_path / "s.journal", space, "run 2", 0)
    study.add(METHODS.get("adalora").portfolio()[0], 0.4, {})  # type: ignore[attr-defined]
    assert [p.state for p in study.trials()] == ["done", "done"]
    assert study.trials()[0].settings == trial.settings
    for _ in range(6):
        asked = study.ask()
        assert set(asked.settings) == set(space.dimensions)
        study.tell(asked.number, 0.5, {})


def test_draws_depend_on_the_journal_and_the_seed_alone(tmp_path: Path):
    whole = run(open_study(tmp_path / "a"), 12)
    again = [s for _ in range(12) for s in run(open_study(tmp_path / "b"), 1)]
    other = run(open_study(tmp_path / "c", seed=1), 12)
    assert again == whole
    assert other != whole


def test_the_search_finds_better_settings_than_its_start(tmp_path: Path):
    losses = [loss(s) for s in run(open_study(tmp_path), 40)]
    assert min(losses[20:]) < 0.5 * min(losses[:4])


def test_wanted_settings_come_first_and_once(tmp_path: Path):
    study = open_study(tmp_path)
    wanted = [{"rank": 8, "lr": 1e-3}, {"rank": 1, "lr": 1e-3}, {"rank": 4, "lr": 2e-3}]
    first, second, third = (study.ask(wanted) for _ in range(3))
    assert first.settings == {"rank": 8, "lr": 1e-3, "layers": [-1]}
    assert second.settings["rank"] == 4, "rank 1 is outside the space"
    assert third.settings not in (first.settings, second.settings)


def test_what_was_tried_before_counts_once_and_guides_the_draws(tmp_path: Path):
    study = open_study(tmp_path)
    for _ in range(2):
        study.add({"rank": 8, "lr": 1e-3}, 0.2, {"rung": "lora"})
        study.add({"rank": 4, "lr": 2e-3}, None, {"why": "out of memory"})
    assert [(p.state, p.value) for p in study.trials()] == [("done", 0.2), ("failed", None)]
    assert study.trials()[1].notes["why"] == "out of memory"


def test_a_failed_trial_is_not_drawn_again_for_ever(tmp_path: Path):
    study = open_study(tmp_path)
    drawn = []
    for _ in range(5):
        trial = study.ask()
        drawn.append(trial.settings["lr"])
        study.fail(trial.number, "the loss is not a number")
    assert len(set(drawn)) == 5
    assert {p.notes["why"] for p in study.mine()} == {"the loss is not a number"}


def _killed_in_the_middle(place: Path, trials: int) -> None:
    study = open_study(place)
    run(study, trials)
    study.ask()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("before", [0, 5])
def test_a_killed_owner_goes_on_where_it_was_and_draws_as_if_nothing_had_been(
    tmp_path: Path, before: int
):
    whole = run(open_study(tmp_path / "whole"), 9)
    place = tmp_path / "killed"
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_killed_in_the_middle, args=(place, before))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    study = open_study(place)
    assert [p.state for p in study.trials()] == ["done"] * before + ["running"]
    other = open_study(place, owner="run 2")
    assert other.recover() == 0, "what another owner began is left alone"
    assert study.recover() == 1
    assert [p.state for p in study.trials()] == ["done"] * before + ["stopped"]
    assert run(study, 9 - before) == whole[before:]
    assert [dict(p.settings) for p in study.mine()] == whole


def test_a_line_that_a_kill_left_unfinished_is_cut_off(tmp_path: Path):
    whole = run(open_study(tmp_path / "whole"), 6)
    run(open_study(tmp_path), 4)
    with (tmp_path / "s.journal").open("ab") as file:
        file.write(b'{"op_code": 4, "worker_id": "half a li')
    assert run(open_study(tmp_path), 2) == whole[4:]


def test_a_damaged_journal_is_refused_with_its_name(tmp_path: Path):
    run(open_study(tmp_path), 2)
    file = tmp_path / "s.journal"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], b"garbage\n", *lines[2:]]))
    with pytest.raises(WorkspaceError, match=r"s\.journal is damaged"):
        open_study(tmp_path)


def _share(place: Path, owner: str, count: int) -> None:
    run(open_study(place, owner=owner), count)


def test_processes_share_one_study_and_lose_nothing(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    owners = ["run 1", "run 2"]
    workers = [context.Process(target=_share, args=(tmp_path, owner, 8)) for owner in owners]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    trials = open_study(tmp_path).trials()
    assert [p.number for p in trials] == list(range(16))
    assert {owner: sum(p.owner == owner for p in trials) for owner in owners} == dict.fromkeys(
        owners, 8
    )
    assert {p.state for p in trials} == {"done"}


def test_only_the_best_third_on_part_of_the_rows_goes_on(tmp_path: Path):
    study = open_study(tmp_path)
    goes: list[bool] = []
    for value in (0.5, 0.6, 0.4, 0.55, 0.45, 0.3):
        trial = study.ask()
        goes.append(study.report(trial.number, value))
        if goes[-1]:
            study.tell(trial.number, value - 0.1, {})
        else:
            study.prune(trial.number, "worse on a third of the rows")
    assert goes == [True, False, True, False, True, True]
    assert [p.state for p in study.mine()] == [("done" if g else "pruned") for g in goes]


def test_the_setting_that_decides_is_the_most_important(tmp_path: Path):
    study = open_study(tmp_path)
    assert study.importances() == {}
    run(study, 30)
    found = study.importances()
    assert set(found) == set(SPACE.dimensions)
    assert max(found, key=lambda name: found[name]) == "lr"
    assert sum(found.values()) == pytest.approx(1)


def test_the_journal_is_text_that_holds_no_path(tmp_path: Path):
    run(open_study(tmp_path), 2)
    content = (tmp_path / "s.journal").read_text("ascii")
    assert str(tmp_path) not in content
    assert all(isinstance(json.loads(line), dict) for line in content.splitlines())
