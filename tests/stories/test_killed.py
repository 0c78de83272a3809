"""A run that is killed anywhere ends, once resumed, with the bytes of one that was not."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stories.conftest import Finished
from tests.stories.shop import Here, bundle_files, command, environment, open_shop, start

# What this machine measured is given, so that two runs can be compared at all; then the process
# ends itself, as the kernel would end it, at the event that the first argument names.
_KILLED = """
import os, shutil, signal, sys
from dataclasses import asdict
from sartor import pipeline
point, facts, methods = sys.argv[1], sys.argv[2], list(filter(None, sys.argv[3].split(","))) or None
def emit(event):
    place = ".sartor/runs/1/facts.json"
    if facts and not os.path.exists(place + ".given"):
        shutil.copy(facts, place)
        open(place + ".given", "w").close()
    done = getattr(event, "done", "")
    if point == " ".join(filter(None, (type(event).__name__, event_stage(event), str(done)))):
        os.kill(os.getpid(), signal.SIGKILL)
def event_stage(event):
    return getattr(event, "stage", "")
pipeline.run("need.yaml", methods=methods, emit=emit)
"""


def run_until(point: str, shop: Path, methods: str, facts: Path | str = "") -> int:
    ran = subprocess.run(
        [sys.executable, "-c", _KILLED, point, str(facts), methods],
        cwd=shop,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode in (0, -signal.SIGKILL), ran.stderr
    return ran.returncode


def only_bundle(shop: Path) -> Path:
    (found,) = (shop / ".sartor" / "bundles").iterdir()
    return found


def resumed_like(whole: Path, shop: Path, point: str, methods: str) -> None:
    facts = whole / ".sartor" / "runs" / "1" / "facts.json"
    assert run_until(point, shop, methods, facts) == -signal.SIGKILL, f"never came to {point}"
    said = command("resume", "--json", cwd=shop)
    assert said.status in (0, 1), said.err
    assert json.loads(said.out)["run"] == 1
    mine, theirs = only_bundle(shop), only_bundle(whole)
    assert mine.name == theirs.name
    assert bundle_files(mine) == bundle_files(theirs)
    assert not (shop / ".sartor" / "runs" / "1" / "artefacts").exists()


def same_shop(whole: Path, folder: Path) -> Path:
    """A shop without a workspace."""
    return Path(shutil.copytree(whole, folder, ignore=shutil.ignore_patterns(".sartor")))


@pytest.mark.slow
def test_a_run_killed_between_two_artefacts_ends_with_the_same_bytes(
    finished: Finished, tmp_path: Path
):
    shop = same_shop(finished.folder, tmp_path / "shop")
    resumed_like(finished.folder, shop, "StageProgress shrink 1", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        "StageStarted read",
        "StageDone encode",
        "CandidateTried",
        "StageStarted shrink",
        "StageDone shrink",
        "StageStarted judge",
        "StageDone judge",
    ],
)
def test_a_head_killed_at_any_stage_ends_with_the_same_bytes(
    finished: Finished, tmp_path: Path, point: str
):
    shop = same_shop(finished.folder, tmp_path / "shop")
    resumed_like(finished.folder, shop, point, "")


@pytest.fixture(scope="session")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose run climbed LoRA to its end."""
    shop = open_shop(tmp_path_factory.mktemp("lora"))
    assert run_until("never", shop, "lora") == 0
    return shop


@pytest.mark.slow
@pytest.mark.parametrize("point", ["StageProgress tune 1", "StageProgress tune 11"])
def test_a_fit_killed_at_a_step_ends_with_the_same_bytes(lora: Path, tmp_path: Path, point: str):
    resumed_like(lora, same_shop(lora, tmp_path / "shop"), point, "lora")


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_run_that_is_asked_to_stop_exits_130_and_says_how_to_resume(
    new_shop: Path, number: signal.Signals
):
    process = start("run", "need.yaml", "--method", "full", cwd=new_shop)
    facts = new_shop / ".sartor" / "runs" / "1" / "facts.json"
    while process.poll() is None and not (facts.exists() and "budget" in facts.read_text()):
        time.sleep(0.05)
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), errors
    assert "go on with `sartor resume 1`" in errors
    assert "Traceback" not in errors


def test_a_run_that_never_began_is_not_resumed(new_shop: Path, here: Here):
    (new_shop / ".sartor" / "runs" / "1").mkdir(parents=True)
    said = here("resume")
    assert (said.status, said.out) == (2, "")
    assert "stopped before it began" in said.err
