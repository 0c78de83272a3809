"""What a run may spend, and candidates that cannot be fitted."""

import json
from dataclasses import replace
from pathlib import Path

from sartor import pipeline
from sartor.core.errors import SettingError
from sartor.core.events import silent
from sartor.search.fitting import fit_group
from sartor.search.ladder import Scored
from sartor.tune.fit import TuneOptions, Tuner
from tests.stories.shop import NEED, Here


def test_rungs_that_the_memory_does_not_hold_are_skipped_and_said_so(new_shop: Path, here: Here):
    need = NEED.replace("0.80", "0.999") + "budget: {memory_gb: 0.1}\n"
    (new_shop / "need.yaml").write_text(need)
    said = here("run", "need.yaml")
    assert said.status == 2
    assert "No candidate could be fitted" in said.err
    for rung in ("head", "lora", "full"):
        assert f"{rung} skipped: needs at least 500 MB of 100" in said.err


def test_a_budget_too_small_skips_the_dear_rungs(new_shop: Path, here: Here):
    # Ten seconds go to the export, 2.4 remain: enough for heads, whose low guess is 1.5.
    need = NEED.replace("0.80", "0.999") + "budget: {minutes: 0.207}\n"
    (new_shop / "need.yaml").write_text(need)
    said = here("run", "need.yaml", "--json")
    assert said.status == 1, said.err
    assert "not reached within the budget" in said.err
    report = json.loads(here("report", "--json").out)
    states = {c["rung"]: (c["state"], c["why"]) for c in report["candidates"]}
    assert states["head"] == ("tried", "")
    for rung in ("lora", "full"):
        state, why = states[rung]
        assert state == "skipped"
        assert "of the budget are left" in why
    assert any("--method lora" in step["command"] for step in report["next_steps"])


def test_a_head_that_cannot_be_fitted_does_not_end_those_it_shares_its_work_with(new_shop: Path):
    ready = pipeline.plan(new_shop / "need.yaml", workspace=new_shop)
    tuner = Tuner(
        ready.backbones,
        lambda backbone: ready.encoders[backbone.name],
        new_shop / "fits",
        ready.setting.held.outputs,
        TuneOptions(max_length=next(iter(ready.encoders.values())).max_length),
    )
    sound = ready.setting.rungs[0].candidates[0]
    broken = replace(sound, settings={"layers": [-9], "C": 1.0})
    first, second = fit_group(tuner, [broken, sound], ready.setting.rows, silent)
    assert isinstance(first, SettingError)
    assert isinstance(second, Scored)
    assert second.validation_logits.shape == (60, 2)
