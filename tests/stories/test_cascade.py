"""A candidate that is good enough and too slow: from the need to a served cascade."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from sartor import pipeline
from sartor.bundle import open_bundle
from sartor.core.types import Candidate
from sartor.search import means
from sartor.serve import runtime, timing
from sartor.serve.timing import Load
from sartor.tune.fit import TuneOptions, Tuner
from tests.stories.shop import NEED, Here, bundle_files

SLOW, FAST = 10.0, 1.0
"""Milliseconds that a head, which does better here, and a fine-tuned encoder are said to take. What
they take on this machine would be another test each day."""


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What a request costs is read off the bundle, plus what `extra` says of a cascade."""
    said = {"extra": 0.0}

    def measure(folder: Path, texts: Sequence[str], load: Load) -> np.ndarray:
        lineage = open_bundle(folder).manifest.lineage
        if lineage["method"] != "cascade":
            each = SLOW if lineage["method"] == "head" else FAST
            return np.full((load.processes, load.requests), each)
        climbs = np.arange(load.requests) < lineage["settings"]["climbing"] * load.requests
        row = FAST + SLOW * climbs + said["extra"]
        return np.tile(row, (load.processes, 1))

    def costs(*_: object):
        return lambda c: SLOW if c.method == "head" else FAST

    monkeypatch.setattr(timing, "measure", measure)
    monkeypatch.setattr(means, "costs", costs)
    monkeypatch.setattr(pipeline, "join", lambda climb, *_: climb)
    monkeypatch.setattr("sartor.search.mixed.CLEARLY", -1.0)
    return said


HASTY = (
    NEED.replace("0.80", "0.999")
    .replace("  - size_mb <= 5\n", "  - latency_p50_ms <= 5\n")
    .replace("./tiny]", "./tiny], methods: [head, full]")
)


def test_a_slow_candidate_ships_behind_a_fast_one_as_one_model(
    new_shop: Path, here: Here, timed: dict[str, float]
):
    (new_shop / "need.yaml").write_text(HASTY)
    said = here("run", "need.yaml", "--json")
    assert said.status == 1, said.err
    result = json.loads(said.out)
    assert {v["criterion"]: v["state"] for v in result["verdicts"]}["latency_p50_ms <= 5"] == "met"

    bundle = open_bundle(new_shop / result["bundle"])
    lineage = bundle.manifest.lineage
    assert lineage["method"] == "cascade"
    cheap, dear = lineage["members"]
    assert (cheap["method"], dear["method"]) == ("full", "head")
    threshold, share = cheap["climbs_below"], lineage["settings"]["climbing"]
    assert 0 < share < 0.5

    # Row by row, what the members answer alone.
    served = runtime.load(bundle.folder, unreleased="allow")
    ready = pipeline.plan(new_shop / "need.yaml", workspace=new_shop)
    rows = ready.setting.rows
    tuner = Tuner(
        ready.backbones,
        lambda b: ready.encoders[b.name],
        new_shop / ".sartor" / "fits",
        ready.setting.held.outputs,
        TuneOptions(bf16=ready.precision.dtype == "bfloat16"),
    )
    logits = [
        m["factor"]
        * tuner(
            Candidate(m["backbone"], m["backbone_sha256"], m["method"], m["settings"], m["seed"]),
            rows.train,
            rows.validation,
            lambda _: None,
        ).validation_logits
        for m in (cheap, dear)
    ]
    p = np.exp(logits[0] - logits[0].max(1, keepdims=True))
    climbs = (p / p.sum(1, keepdims=True)).max(1) < threshold
    assert climbs.mean() == pytest.approx(share, abs=1e-3)
    wanted = np.where(climbs[:, None], logits[1], logits[0])
    found = served.logits(list(rows.validation.inputs["text"]))
    alike = np.isclose(found, wanted, rtol=0.1, atol=0.2).all(1)
    assert alike.mean() > 0.9, "but for what int8 rounds"
    assert "If" in {n.op_type for n in onnx.load(bundle.path("model.onnx")).graph.node}

    (answer,) = served.predict(["this was a good order"])
    assert answer["best"] in ("good", "bad")
    report = json.loads(here("report", "--json").out)
    (chosen,) = [c for c in report["candidates"] if c["chosen"]]
    assert chosen["rung"] == "cascade"
    assert f"climbing={share}" in chosen["label"]

    before = bundle_files(bundle.folder)
    here("run", "need.yaml")
    assert bundle_files(bundle.folder) == before


@pytest.mark.slow
def test_a_cascade_that_is_too_slow_all_the_same_gives_way(
    new_shop: Path, here: Here, timed: dict[str, float]
):
    timed["extra"] = 5.0
    (new_shop / "need.yaml").write_text(HASTY)
    said = here("run", "need.yaml", "--json")
    assert "The cascade costs too much" in said.err
    bundle = open_bundle(new_shop / json.loads(said.out)["bundle"])
    assert bundle.manifest.lineage["method"] == "head"
