"""Two processes on one workspace share what is done and corrupt nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sartor.bundle import open_bundle
from sartor.core.store import Store
from sartor.search.turns import turn
from tests.stories.conftest import Finished
from tests.stories.shop import Here, refused, start


def race(shop: Path) -> list[dict[str, Any]]:
    racers = [start("run", "need.yaml", "--json", cwd=shop) for _ in range(2)]
    said = [racer.communicate(timeout=240) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0], said
    (bundle,) = (shop / ".sartor" / "bundles").iterdir()
    found = open_bundle(bundle)
    assert found.manifest.released
    with Store.open(f"sqlite:///{shop / '.sartor' / 'store.db'}") as store:
        assert len(store.looks(found.manifest.lineage["test_rows"])) == 1
        assert {run.state for run in store.runs()} == {"met"}
    return [json.loads(out) for out, _ in said]


@pytest.mark.slow
def test_two_first_runs_at_once_end_with_one_bundle_and_one_look(new_shop: Path):
    first, second = race(new_shop)
    assert {first["run"], second["run"]} == {1, 2}
    assert first["verdicts"] == second["verdicts"]


def test_two_runs_at_once_on_what_is_cached_publish_the_same_bundle(shop: Finished):
    for bundle in (shop.folder / ".sartor" / "bundles").iterdir():
        shutil.rmtree(bundle)
    first, second = race(shop.folder)
    assert {first["run"], second["run"]} == {2, 3}
    assert first["bundle"] == second["bundle"]


def test_a_run_that_another_process_is_at_is_not_resumed(shop: Finished, here: Here):
    with turn(shop.folder / ".sartor" / "runs" / "1" / "lock", lambda: None):
        refused(here("resume", "1"), "Another process is at run 1")
    assert here("resume", "1").status == 0
