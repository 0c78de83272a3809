"""Where no candidate reaches the need alone: joined ones, from the need to an answer."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from sartor import pipeline
from sartor.bundle import open_bundle
from sartor.core.protocols import Floats
from sartor.search import joining, mixed
from sartor.search.assess import Held
from sartor.search.ladder import Climb
from sartor.search.mixed import Terms
from sartor.search.pool import Allowed, Labels, Mixture
from sartor.serve import runtime
from tests.stories.shop import NEED, Here, bundle_files

HARD = NEED.replace("0.80", "0.999").replace("./tiny]", "./tiny], methods: [head, full]")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> list[Climb]:
    """Joins the best candidate of every encoder, better or not: what is told here is the rest."""
    kept: list[Climb] = []

    def choose(stack: Floats, truth: Labels, allowed: Allowed) -> Mixture:
        places: list[int] = []
        for i in range(len(stack)):
            pair = [np.corrcoef(stack[i].ravel(), stack[p].ravel())[0, 1] for p in places]
            if (
                all(c < 0.999 for c in pair)
                and len(places) < 3
                and allowed(frozenset({*places, i}))
            ):
                places.append(i)
        weights = np.isin(np.arange(len(stack)), places) / len(places)
        return Mixture(weights, np.ones(len(stack)))

    def join(climb: Climb, held: Held, terms: Terms) -> Climb:
        kept.append(joining.join(climb, held, terms))
        return kept[-1]

    monkeypatch.setattr(mixed, "CLEARLY", -1.0)
    monkeypatch.setattr(mixed, "choose", choose)
    monkeypatch.setattr(joining, "cascade", lambda *_: None)
    monkeypatch.setattr(joining, "stack", lambda *_: None)
    monkeypatch.setattr(pipeline, "join", join)
    return kept


def test_an_ensemble_is_bundled_judged_and_served_as_one_model(
    new_shop: Path, here: Here, eager: list[Climb]
):
    (new_shop / "need.yaml").write_text(HARD)
    said = here("run", "need.yaml", "--json")
    assert said.status == 1, said.err
    (climb,) = eager
    best = climb.best
    assert best is not None
    assert best.parts is not None
    assert best.scored is not None
    assert len(best.parts.members) > 1

    bundle = open_bundle(new_shop / json.loads(said.out)["bundle"])
    lineage = bundle.manifest.lineage
    assert lineage["method"] == best.parts.kind
    assert [m["factor"] for m in lineage["members"]] == [f for f, _ in best.parts.members]
    ready = pipeline.plan(new_shop / "need.yaml", workspace=new_shop)
    served = runtime.load(bundle.folder, unreleased="allow")
    texts = list(ready.setting.rows.validation.inputs["text"])
    found, wanted = served.logits(texts), best.scored.validation_logits
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99
    graph = onnx.load(bundle.path("model.onnx")).graph
    assert {v.name for v in graph.input} == {"input_ids", "attention_mask"}
    assert [v.name for v in graph.output] == ["logits"]

    report = json.loads(here("report", "--json").out)
    assert [c["rung"] for c in report["candidates"] if c["chosen"]] == [best.rung]
    parity = {a["name"]: a["agreement"] for a in report["artefacts"]}
    assert parity["onnx"] > 0.95
    assert "optimise_graph+int8_rows" in parity

    before = bundle_files(bundle.folder)
    here("run", "need.yaml")
    assert bundle_files(bundle.folder) == before
    assert list((new_shop / ".sartor" / "bundles").iterdir()) == [bundle.folder]


def test_a_need_that_wants_no_ensemble_gets_none(new_shop: Path, here: Here, eager: list[Climb]):
    only_heads = HARD.replace("head, full]", "head], ensemble: false")
    (new_shop / "need.yaml").write_text(only_heads)
    assert here("run", "need.yaml").status == 1
    assert eager == []


@pytest.mark.slow
def test_an_ensemble_too_large_for_the_need_gives_way(
    new_shop: Path, here: Here, eager: list[Climb], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mixed, "_has_room", lambda *_: True)
    need = HARD.replace("size_mb <= 5", "size_mb <= 0.075").replace("[head, full]", "[full]")
    (new_shop / "need.yaml").write_text(need)
    said = here("run", "need.yaml", "--json")
    assert said.status == 1, said.err
    bundle = open_bundle(new_shop / json.loads(said.out)["bundle"])
    assert bundle.manifest.lineage["method"] == "full"
    assert "costs too much" in said.err
