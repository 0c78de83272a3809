"""Smaller because the need asks for it: within a run, and a bundle that is there already."""

import json

import pytest

from sartor.bundle import open_bundle
from sartor.serve import runtime
from sartor.shrink.api import COMPRESSORS
from tests.stories.conftest import Finished
from tests.stories.shop import NEED, Here, bundle_files, refused, reviews, write_csv


def sizes(here: Here) -> dict[str, float]:
    """Form to MB, as the report has it."""
    return {a["name"]: a["size_mb"] for a in json.loads(here("report", "--json").out)["artefacts"]}


def test_a_bundle_is_made_smaller_and_judged_anew(shop: Finished, here: Here):
    before, files = open_bundle(shop.bundle), bundle_files(shop.bundle)
    asked = round(0.93 * before.size_mb, 4)

    said = here("shrink", shop.bundle, "--to", f"size_mb <= {asked}", "--json")

    found = json.loads(said.out)
    after = open_bundle(shop.folder / found["bundle"])
    size = next(v for v in found["verdicts"] if v["criterion"].startswith("size_mb"))
    assert (size["criterion"], size["state"]) == (f"size_mb <= {asked}", "met")
    assert after.size_mb <= asked
    assert bundle_files(before.folder) == files, "the old one stays"
    assert after.folder != before.folder
    assert after.manifest.lineage["backbone_sha256"] == before.manifest.lineage["backbone_sha256"]
    told = json.loads(here("report", "--json").out)
    assert [c["rung"] for c in told["candidates"]] == ["earlier"]
    assert told["looks"] == 2, "the test rows were looked at once more"
    # What was said of it is what it answers.
    assert runtime.load(after.folder, unreleased="allow").predict(["a good order"])[0]["best"]


def test_a_bundle_that_is_small_enough_ships_as_it_was(shop: Finished, here: Here):
    before = open_bundle(shop.bundle)
    said = here("shrink", shop.bundle, "--to", f"size_mb <= {before.size_mb + 1:.3f}", "--json")
    after = open_bundle(shop.folder / json.loads(said.out)["bundle"])
    assert after.manifest.id == before.manifest.id
    assert list(sizes(here)) == [before.manifest.lineage["artefact"]]


def test_a_run_goes_on_from_int8_only_where_the_need_asks_for_less(shop: Finished, here: Here):
    plain = NEED.replace("[./tiny]", "[./tiny], methods: [head]")
    (shop.folder / "plain.yaml").write_text(plain)
    here("run", "plain.yaml")
    first = sizes(here)
    assert list(first) == ["onnx", "optimise_graph+int8_rows"]

    asked = round(0.93 * min(first.values()), 4)
    smaller = plain.replace("size_mb <= 5", f"size_mb <= {asked}")
    (shop.folder / "smaller.yaml").write_text(smaller)
    here("run", "smaller.yaml")

    further = sizes(here)
    assert any("trim_vocabulary" in name for name in further)
    assert min(further.values()) <= asked


def test_smaller_models_learn_from_texts_without_a_label(shop: Finished, here: Here):
    write_csv(shop.folder / "more.csv", reviews(60, seed=9))
    plain = NEED.replace("[./tiny]", "[./tiny], methods: [head]")
    need = plain.replace("  label: label\n", "  label: label\n  unlabelled: more.csv\n")
    (shop.folder / "taught.yaml").write_text(need.replace("size_mb <= 5", "size_mb <= 0.02"))

    said = here("run", "taught.yaml", "--json")

    assert said.status in (0, 1), said.err
    assert "unlabelled texts for smaller models to learn from" in said.err
    assert said.err.count("smaller models to learn from") == 1, "they are read once"
    taught = {name for name in COMPRESSORS.names() if COMPRESSORS.get(name).trains}
    assert any(taught & set(name.split("+")) for name in sizes(here))
    (shop.folder / "more.csv").unlink()
    refused(here("plan", "taught.yaml"), "more.csv")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "how small or how fast"),
        (("--to", "accuracy >= 0.9"), "about the answers"),
        (("--to", "size_mb <= 0.0001", "--need", "none.yaml"), "none.yaml"),
    ],
)
def test_what_cannot_be_asked_of_a_bundle_is_told(
    shop: Finished, here: Here, words: tuple[str, ...], says: str
):
    refused(here("shrink", shop.bundle, *words), says)
