"""What a run may spend, and candidates that cannot be fitted."""

import json
import re
import time
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from sartor import pipeline
from sartor.core.errors import SettingError
from sartor.core.events import silent
from sartor.search import ladder
from sartor.search.fitting import Bench, fit_group
from sartor.search.ladder import Scored
from sartor.tune import loop
from sartor.tune.fit import TuneOptions, Tuner
from tests.stories.shop import NEED, Here, reviews, write_csv


def test_rungs_that_the_memory_does_not_hold_are_skipped_and_said_so(new_shop: Path, here: Here):
    need = NEED.replace("0.80", "0.999") + "budget: {memory_gb: 0.1}\n"
    (new_shop / "need.yaml").write_text(need)
    said = here("run", "need.yaml")
    assert said.status == 2
    assert "No candidate could be fitted" in said.err
    for rung in ("head", "lora", "full"):
        assert f"{rung} skipped: needs at least 500 MB of 100" in said.err


def test_a_budget_too_small_skips_the_dear_rungs(
    new_shop: Path, here: Here, monkeypatch: pytest.MonkeyPatch
):
    # No time passes while it climbs, however busy the machine.
    monkeypatch.setattr(ladder, "time", SimpleNamespace(monotonic=cache(time.monotonic)))
    # Ten seconds go to the export, 2.4 remain: enough for heads, whose low guess is 1.5. A tenth of
    # the labels is wrong, so that no number of trials of a head reaches the need.
    other = {"good": "bad", "bad": "good"}
    rows = [(t, other[la] if i % 10 == 0 else la) for i, (t, la) in enumerate(reviews(400))]
    write_csv(new_shop / "reviews.csv", rows)
    need = NEED.replace("0.80", "0.999") + "budget: {minutes: 0.207}\n"
    (new_shop / "need.yaml").write_text(need)
    said = here("run", "need.yaml", "--json")
    assert said.status == 1, said.err
    assert "not reached within the budget" in said.err
    report = json.loads(here("report", "--json").out)
    states = {c["rung"]: (c["state"], c["why"]) for c in report["candidates"]}
    assert states["head"] == ("tried", "")
    for rung in ("top_layers", "lora", "full"):
        state, why = states[rung]
        assert state == "skipped"
        assert "of the budget are left" in why
    assert any("--method top_layers" in step["command"] for step in report["next_steps"])


def test_a_head_that_cannot_be_fitted_does_not_end_those_it_shares_its_work_with(new_shop: Path):
    ready = pipeline.plan(new_shop / "need.yaml", workspace=new_shop)
    tuner = Tuner(
        ready.backbones,
        lambda backbone: ready.encoders[backbone.name],
        new_shop / "fits",
        ready.setting.held.outputs,
        TuneOptions(max_length=next(iter(ready.encoders.values())).max_length),
    )
    sound = next(r for r in ready.setting.rungs if r.name == "head").candidates[0]
    broken = replace(sound, settings={"layers": [-9], "C": 1.0})
    rows = ready.setting.rows
    first, second = fit_group(Bench(tuner, rows.train, rows.validation), [broken, sound], silent)
    assert isinstance(first, SettingError)
    assert isinstance(second, Scored)
    assert second.validation_logits.shape == (60, 2)


@pytest.mark.slow
def test_a_fit_that_meets_the_end_of_the_budget_is_cut_and_a_later_run_goes_on_from_there(
    new_shop: Path, here: Here, monkeypatch: pytest.MonkeyPatch
):
    need = NEED.replace("0.80", "0.999") + "budget: {minutes: 10}\n"
    (new_shop / "need.yaml").write_text(need)
    looks = count()
    # An hour passes at some step of the first fit.
    late = SimpleNamespace(
        monotonic=lambda: time.monotonic() + 3600 * (next(looks) > 12),
        perf_counter=time.perf_counter,
    )
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", late)
        said = here("run", "need.yaml", "--method", "full", "--json")
    assert said.status == 1, said.err
    (first, *_) = json.loads(here("report", "--json").out)["candidates"]
    assert first["state"] == "tried"
    assert re.fullmatch(r"cut by the budget after \d+ steps", first["why"])
    assert first["why"] in said.err
    assert "not reached within the budget" in said.err

    (new_shop / "need.yaml").write_text(NEED.replace("0.80", "0.999"))
    more = here("run", "need.yaml", "--method", "full", "--json")

    steps = first["why"].split()[-2]
    assert f"Resuming at step {steps} of" in more.err
    (again, *_) = json.loads(here("report", "--json").out)["candidates"]
    assert again["why"] == ""
    assert again["label"] == first["label"]
    assert again["history"][-1]["step"] > int(steps)
