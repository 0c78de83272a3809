"""Fits as tasks on a real Ray of this machine, with two workers of one thread."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sartor import pipeline
from sartor.core.errors import WorkerDied
from sartor.core.events import Event, Note, silent
from sartor.core.types import Candidate
from sartor.core.workspace import Workspace
from sartor.search.executors import _parcel
from sartor.search.executors.ray import Ray, RayCrew
from sartor.search.fitting import Bench, fit_group
from sartor.search.folds import deal
from sartor.search.ladder import Scored
from sartor.tune.fit import TuneOptions, Tuner
from tests.stories.shop import SARTOR, bundle_files, command, environment, open_shop
from tests.stories.test_killed import only_bundle, same_shop
from tests.stories.test_search import SEARCHED, result, trials

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
RAY = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}

# The facts of another run are given, so that the two can be compared; then the process ends itself
# at the event that the first argument names.
_RUN = """
import os, shutil, signal, sys
from sartor import pipeline
point, facts, on = sys.argv[1:]
def emit(event):
    place = ".sartor/runs/1/facts.json"
    if facts and not os.path.exists(place + ".given"):
        shutil.copy(facts, place)
        open(place + ".given", "w").close()
    parts = type(event).__name__, getattr(event, "stage", ""), str(getattr(event, "done", ""))
    if point == " ".join(filter(None, parts)):
        os.kill(os.getpid(), signal.SIGKILL)
pipeline.run("need.yaml", methods=["head"], emit=emit, on=on)
"""


def run(shop: Path, on: str, *, point: str = "never", facts: Path | str = "") -> int:
    ran = subprocess.run(
        [sys.executable, "-c", _RUN, point, str(facts), on],
        cwd=shop,
        env=environment(**RAY),
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ran.returncode in (0, -signal.SIGKILL), ran.stderr
    assert ran.stdout == ""
    return ran.returncode


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose heads were searched to the end on Ray."""
    shop = open_shop(tmp_path_factory.mktemp("on-ray"), SEARCHED)
    assert run(shop, "ray") == 0
    return shop


def facts_of(shop: Path) -> Path:
    return shop / ".sartor" / "runs" / "1" / "facts.json"


def told(shop: Path) -> list[tuple[str, str, Any]]:
    return [(c["label"], c["state"], c["scores"]) for c in trials(result(shop))]


def same_end(one: Path, other: Path) -> None:
    assert told(one) == told(other)
    mine, theirs = only_bundle(one), only_bundle(other)
    assert mine.name == theirs.name
    assert bundle_files(mine) == bundle_files(theirs)


def test_a_search_on_ray_ends_like_one_in_this_process(searched: Path, tmp_path: Path):
    facts = json.loads(facts_of(searched).read_text())
    threads, workers = facts["ray"]["threads"], facts["ray"]["workers"]
    assert threads == 1
    assert workers >= 1
    fits = result(searched)["machine"]["fits"]
    assert fits == {"on": "ray", "at_once": workers, "threads": threads}
    assert facts["search 0"]["count"] == 4 * workers
    assert len(told(searched)) >= 20
    assert not (facts_of(searched).parent / "shared").exists()
    shop = same_shop(searched, tmp_path / "shop")
    assert run(shop, "local", facts=facts_of(searched)) == 0
    same_end(shop, searched)


def test_a_search_on_ray_that_was_killed_ends_with_the_same_bytes_and_trials(
    searched: Path, tmp_path: Path
):
    shop = same_shop(searched, tmp_path / "shop")
    asked = sum(
        found["count"]
        for name, found in json.loads(facts_of(searched).read_text()).items()
        if name in ("search 0", "search 1")
    )
    ended = run(shop, "ray", point=f"StageProgress search {asked}", facts=facts_of(searched))
    assert ended == -signal.SIGKILL
    said = command("resume", "--json", cwd=shop, **RAY)
    assert said.status == 1, said.err
    assert "Ray tasks" in said.err, "it is resumed where it began"
    same_end(shop, searched)


def dying(parcel: Any, order: Any) -> Any:
    """Ends its own process at one setting, as the kernel does where memory is short."""
    if any(candidate.settings["C"] == 7.0 for candidate in order.group):
        os.kill(os.getpid(), signal.SIGKILL)
    return _parcel.fit_order(parcel, order)


@pytest.fixture
def crew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[RayCrew, Bench, list[Event]]]:
    shop = open_shop(tmp_path / "shop")
    monkeypatch.chdir(shop)
    for name, value in environment(**RAY).items():  # a worker imports this file
        monkeypatch.setenv(name, value)
    ready, events = pipeline.plan("need.yaml"), list[Event]()
    place = Workspace.open()
    here = place.new_run()
    rows = ready.setting.rows
    tuner = Tuner(
        ready.backbones,
        lambda backbone: ready.encoders[backbone.name],
        place.folder / "fits",
        ready.setting.held.outputs,
        TuneOptions(max_length=256, facts=here),
    )
    monkeypatch.setattr("sartor.search.executors.ray.fit_order", dying)
    with Ray().crew(place, here, events.append) as found:
        yield found, Bench(tuner, rows.train, rows.validation), events


def test_a_worker_that_dies_is_that_candidates_failure_once_and_for_the_run(
    crew: tuple[RayCrew, Bench, list[Event]], monkeypatch: pytest.MonkeyPatch
):
    workers, bench, events = crew
    (backbone,) = bench.tuner.backbones.values()
    heads = [
        Candidate(backbone.name, backbone.sha256, "head", {"C": c}, 0) for c in (1.0, 7.0, 0.1)
    ]
    ((first, second, third),) = workers.fit(bench, [heads])
    assert isinstance(first, Scored)
    assert isinstance(third, Scored)
    assert isinstance(second, WorkerDied)
    assert "died" in second.what
    assert any(isinstance(e, Note) and "one by one" in e.text for e in events)
    # What another try would give is not asked: this run has met that end.
    monkeypatch.setattr("sartor.search.executors.ray.fit_order", _parcel.fit_order)
    ((again,),) = workers.fit(bench, [[heads[1]]])
    assert isinstance(again, WorkerDied)


def test_a_second_look_on_ray_is_by_folds_as_it_is_in_this_process(
    crew: tuple[RayCrew, Bench, list[Event]],
):
    workers, bench, _ = crew
    (backbone,) = bench.tuner.backbones.values()
    head = Candidate(backbone.name, backbone.sha256, "head", {"C": 1.0}, 0)
    ((first,),) = workers.fit(bench, [[head]])
    assert isinstance(first, Scored)
    assert first.folds is None, "the climb's parcel has none"
    folded = replace(bench, folds=deal(bench.train))
    assert folded.folds is not None
    ((found,),) = workers.fit(folded, [[head]])
    (expected,) = fit_group(folded, [head], silent)
    assert isinstance(found, Scored)
    assert isinstance(expected, Scored)
    assert found.folds is not None
    assert expected.folds is not None
    np.testing.assert_allclose(found.folds, expected.folds, atol=1e-4)


def test_a_run_on_ray_that_is_asked_to_stop_says_how_to_resume(tmp_path: Path):
    shop = open_shop(tmp_path / "shop")
    process = subprocess.Popen(
        [*SARTOR, "run", "need.yaml", "--method", "full", "--on", "ray"],
        cwd=shop,
        env=environment(**RAY),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    seen = ""
    while "Ray tasks" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, ""), errors
    assert "go on with `sartor resume 1`" in errors
    facts = json.loads((shop / ".sartor" / "runs" / "1" / "facts.json").read_text())
    assert not [name for name in facts if name.startswith("lost")]
    shutil.rmtree(shop)
