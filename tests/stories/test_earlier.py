"""A user's earlier bundles: tried before anything is trained, and only where that is evidence."""

import json
from pathlib import Path
from typing import Any

import pytest

from sartor.bundle import Learnt, open_bundle, write_bundle
from tests.stories.conftest import Finished
from tests.stories.shop import Here, bundle_files, refused, reviews, write_csv
from tests.stories.test_killed import run_until

OTHER = """name: tickets
task: text_classification
data:
  train: other.csv
  text: text
  label: label
  labels: [good, bad]
accept:
  - accuracy >= 0.80
  - size_mb <= 5
"""


def other_need(shop: Finished, more: str = "prefer: {backbones: [./tiny]}\n") -> None:
    """Another need of the same shop, with rows that the first one has not met."""
    write_csv(shop.folder / "other.csv", reviews(400, seed=7))
    (shop.folder / "other.yaml").write_text(OTHER + more)


def reported(here: Here) -> dict[str, Any]:
    return json.loads(here("report", "--json").out)


def chosen(here: Here) -> str:
    (found,) = [c["rung"] for c in reported(here)["candidates"] if c["chosen"]]
    return found


def test_what_met_the_need_is_found_again_and_nothing_is_trained(shop: Finished, here: Here):
    before, files = shop.bundle, bundle_files(shop.bundle)
    plan = json.loads(here("plan", "need.yaml", "--json").out)["plan"]
    assert (plan[0]["rung"], plan[0]["label"]) == ("earlier", before.name)

    said = here("run", "need.yaml")

    assert said.status == 0
    assert "nothing is trained" in said.err
    found = reported(here)
    assert [c["rung"] for c in found["candidates"]] == ["earlier"]
    assert (found["looks"], found["gap"].get("train")) == (1, None)
    assert shop.bundle == before, "another bundle was made of the same one"
    assert bundle_files(before) == files


def test_another_needs_bundle_is_judged_and_shipped_under_this_one(shop: Finished, here: Here):
    first = open_bundle(shop.bundle)
    other_need(shop)
    assert here("run", "other.yaml", "--json").status == 0
    assert chosen(here) == "earlier"
    made = open_bundle(shop.folder / reported(here)["bundle"])
    told, before = made.manifest, first.manifest
    assert (told.name, told.released) == ("tickets", True)
    assert told.outputs == before.outputs == ["bad", "good"], "the graph's order stays"
    for name in ("model.onnx", "tokenizer.json"):
        assert told.files[name].sha256 == before.files[name].sha256
    assert told.decision != before.decision, "settled on this need's rows"
    assert told.lineage["earlier"] == {"id": before.id, "name": "reviews"}
    assert told.lineage["train_rows"] == before.lineage["train_rows"]
    assert told.lineage["artefact"] == before.lineage["artefact"]
    known, now = first.learnt(), made.learnt()
    assert known is not None
    assert now is not None
    assert now.marks > known.marks
    assert now.marks - now.chose == known.marks - known.chose


def test_nobody_is_kept_from_training(shop: Finished, here: Here):
    assert here("run", "need.yaml", "--method", "head", "--json").status == 0
    assert {c["rung"] for c in reported(here)["candidates"]} == {"head"}

    need = shop.folder / "need.yaml"
    text = need.read_text()
    need.write_text(text.replace("[./tiny]}", "[./tiny], bundles: []}"))
    assert here("run", "need.yaml", "--json").status == 0
    assert "earlier" not in {c["rung"] for c in reported(here)["candidates"]}

    need.write_text(text)
    data = shop.folder / "reviews.csv"
    added = [row for row in reviews(460) if f"{row[0]}," not in data.read_text()]
    assert len(added) == 60
    data.write_text(data.read_text() + "".join(f"{t},{label}\n" for t, label in added))
    said = here("run", "need.yaml")
    assert "it wins only where nothing new does" in said.err
    assert chosen(here) != "earlier", "rows were added to be learnt from"
    assert reported(here)["candidates"][0]["rung"] == "earlier", "it was looked at all the same"


def test_one_that_has_seen_the_rows_or_cannot_be_trusted_is_left_out(shop: Finished, here: Here):
    need = (shop.folder / "need.yaml").read_text()
    # Another name draws another split: what was learnt from then would judge now.
    (shop.folder / "again.yaml").write_text(
        need.replace("name: reviews", "name: again") + "seed: 5\n"
    )
    (why,) = json.loads(here("plan", "again.yaml", "--json").out)["left_out"]
    assert why["rung"] == "earlier"
    assert why["label"] == shop.bundle.name
    assert "test rows" in why["why"]

    other_need(shop)
    graph = shop.bundle / "model.onnx"
    data = graph.read_bytes()
    graph.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    said = here("plan", "other.yaml", "--json")
    assert "An earlier bundle is passed over" in said.err
    assert "model.onnx differs" in said.err
    assert json.loads(said.out)["plan"][0]["rung"] != "earlier"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"learnt": None}, "does not say which rows"),
        ({"outputs": ["good", "worse"]}, "other labels: good, worse"),
        ({"lineage": {"backbone_licence": "Secret"}}, "licence Secret"),
    ],
)
def test_a_named_bundle_that_does_not_fit_is_left_out_with_its_reason(
    shop: Finished, here: Here, change: dict[str, Any], reason: str
):
    bundle = open_bundle(shop.bundle)
    learnt = change.pop("learnt", Learnt.of(["row"]))
    content = {n: bundle.path(n) for n in ("model.onnx", "tokenizer.json")}
    manifest = bundle.manifest.model_copy(update=change)
    write_bundle(shop.folder / "strange", manifest, content, "", learnt)
    other_need(shop, "prefer: {backbones: [./tiny], bundles: [strange], licences: [unknown]}\n")

    (why,) = json.loads(here("plan", "other.yaml", "--json").out)["left_out"]
    assert reason in why["why"]


def test_a_named_folder_that_is_not_there_is_a_mistake(shop: Finished, here: Here):
    other_need(shop, "prefer: {backbones: [./tiny], bundles: [./nowhere]}\n")
    refused(here("plan", "other.yaml"), "there is no folder", "nowhere")


def test_only_earlier_bundles_are_tried_where_only_they_are_named(shop: Finished, here: Here):
    other_need(shop)
    assert here("run", "other.yaml", "--method", "earlier", "--json").status == 0
    assert {c["rung"] for c in reported(here)["candidates"]} == {"earlier"}


@pytest.mark.slow
def test_a_killed_run_looks_at_the_bundles_it_looked_at_before(shop: Finished, here: Here):
    other_need(shop)
    need, other = shop.folder / "need.yaml", shop.folder / "other.yaml"
    need.write_text(other.read_text())
    for run in (shop.folder / ".sartor" / "runs").iterdir():
        run.rename(shop.folder / f"run-{run.name}")
    assert run_until("StageStarted shrink", shop.folder, "") < 0
    # What comes meanwhile is not what the run began with.
    bundle = open_bundle(shop.bundle)
    content = {n: bundle.path(n) for n in ("model.onnx", "tokenizer.json")}
    newer = bundle.manifest.model_copy(update={"decision": {"temperature": 2.0}})
    write_bundle(Path(f"{shop.bundle}-2"), newer, content, "", bundle.learnt())
    assert here("resume", "--json").status == 0
    assert [c["label"] for c in reported(here)["candidates"]] == [f"earlier, {bundle.folder.name}"]
