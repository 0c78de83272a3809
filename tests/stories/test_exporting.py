"""`sartor bundle export`: from a bundle back to weights that others can go on with."""

import json
from pathlib import Path

import numpy as np
import pytest

from sartor.bundle import open_bundle
from sartor.core.errors import ModelError, SettingError
from sartor.core.workspace import Workspace
from sartor.search.exporting import export_pretrained
from sartor.serve.runtime import start
from sartor.tasks.text_classification.pretrained import logits_of
from sartor.tasks.text_classification.spec import softmax
from tests.stories.conftest import Finished
from tests.stories.shop import Here, reviews

TEXTS = [text for text, _ in reviews(50, seed=9)]


def test_an_exported_bundle_answers_as_the_bundle_and_says_its_rule(shop: Finished, tmp_path: Path):
    bundle = open_bundle(shop.bundle)
    found = export_pretrained(shop.bundle, tmp_path / "out", Workspace.open(shop.folder))
    ours = softmax(start(bundle).logits(TEXTS))
    theirs = softmax(logits_of(tmp_path / "out", TEXTS))
    assert np.abs(ours - theirs).max() < 0.1  # the bundle is in 8 bits
    assert found.difference < 0.1
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{bundle.manifest.decision['temperature']:.6g}" in card
    assert "accuracy >= 0.80" in card
    assert "sartor.load" not in card


def test_the_command_names_the_libraries(shop: Finished, tmp_path: Path, here: Here):
    said = here("bundle", "export", shop.bundle, "--transformers", tmp_path / "out", "--json")
    assert said.status == 0, said.err
    assert set(json.loads(said.out)) == {"folder", "sentence_transformers", "difference"}


def test_a_fit_that_is_gone_or_anothers_is_refused(shop: Finished, tmp_path: Path):
    place = Workspace.open(shop.folder)
    fit = place.folder / open_bundle(shop.bundle).manifest.lineage["fit"]
    with pytest.raises(ModelError, match="is not in"):
        export_pretrained(shop.bundle, tmp_path / "out", Workspace.open(tmp_path / "elsewhere"))
    (fit / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"is damaged: model\.safetensors"):
        export_pretrained(shop.bundle, tmp_path / "out", place)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(shop: Finished, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(SettingError, match="holds something already"):
        export_pretrained(shop.bundle, tmp_path, Workspace.open(shop.folder))
