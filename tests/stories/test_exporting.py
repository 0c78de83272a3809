"""`sartor bundle export`: from a bundle back to weights that others can go on with."""

import json
from pathlib import Path

import numpy as np
import pytest

import sartor
from sartor.bundle import Bundle, Manifest, open_bundle, write_bundle
from sartor.core.errors import ModelError, SettingError
from sartor.core.workspace import Workspace
from sartor.search.exporting import export_pretrained
from sartor.serve.runtime import start
from sartor.shrink.stocks.classifier import logits_of
from sartor.tasks._decision.logits import softmax
from tests.stories.shop import Here, copy_of, open_shop, reviews

TEXTS = [text for text, _ in reviews(50, seed=9)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose run ended with a frozen head: its folder."""
    folder = open_shop(tmp_path_factory.mktemp("shop"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SARTOR_HOME", str(tmp_path_factory.mktemp("home")))
        sartor.run(folder / "need.yaml", methods=["head"], workspace=folder)
    return folder


@pytest.fixture
def shop(made: Path, tmp_path: Path) -> Path:
    return copy_of(made, tmp_path / "shop")


@pytest.fixture
def bundle(shop: Path) -> Bundle:
    (found,) = (shop / ".sartor" / "bundles").iterdir()
    return open_bundle(found)


def test_an_exported_bundle_answers_as_the_bundle_and_says_its_rule(
    shop: Path, bundle: Bundle, tmp_path: Path
):
    found = export_pretrained(bundle.folder, tmp_path / "out", Workspace.open(shop))
    temperature = bundle.manifest.decision["temperature"]
    ours = softmax(start(bundle).logits(TEXTS) / temperature)
    theirs = softmax(logits_of(tmp_path / "out", TEXTS) / temperature)
    assert (ours.argmax(1) != ours[0].argmax()).any(), "all texts get one answer: nothing is shown"
    assert np.abs(ours - theirs).max() < 0.1  # the bundle is in 8 bits
    assert found.difference < 0.1
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{bundle.manifest.decision['temperature']:.6g}" in card
    assert "accuracy >= 0.80" in card
    assert "sartor.load" not in card


def test_the_command_says_which_libraries_load_it(bundle: Bundle, tmp_path: Path, here: Here):
    said = here("bundle", "export", bundle.folder, "--transformers", tmp_path / "out", "--json")
    assert said.status == 0, said.err
    assert set(json.loads(said.out)) == {"folder", "sentence_transformers", "difference"}
    again = here("bundle", "export", bundle.folder, "--transformers", tmp_path / "out")
    assert again.status == 2
    assert "holds something already" in again.err


def test_the_folder_that_one_stands_in_may_be_the_one(
    shop: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_pretrained(bundle.folder, Path("."), Workspace.open(shop))
    assert {"README.md", "config.json"} <= {path.name for path in Path(".").iterdir()}


def test_what_a_killed_export_left_is_swept_by_the_next(shop: Path, bundle: Bundle, tmp_path: Path):
    left = tmp_path / ".out.a1b2c3d4"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    mine = tmp_path / ".out.notes"
    mine.mkdir()
    said: list[str] = []
    export_pretrained(
        bundle.folder,
        tmp_path / "out",
        Workspace.open(shop),
        lambda event: said.append(type(event).__name__),
    )
    assert not left.exists()
    assert mine.exists()
    assert said == ["StageStarted", *["StageProgress"] * 3, "StageDone"]


def test_a_fit_that_is_gone_or_damaged_is_refused(shop: Path, bundle: Bundle, tmp_path: Path):
    place = Workspace.open(shop)
    with pytest.raises(ModelError, match="is not in"):
        export_pretrained(bundle.folder, tmp_path / "out", Workspace.open(tmp_path / "elsewhere"))
    fit = place.folder / bundle.manifest.lineage["fit"]
    (fit / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"is damaged: model\.safetensors"):
        export_pretrained(bundle.folder, tmp_path / "out", place)
    assert not (tmp_path / "out").exists()


def test_a_fit_that_answers_otherwise_is_refused(shop: Path, bundle: Bundle, tmp_path: Path):
    # A manifest may be edited and sealed again: what decides is how the weights answer.
    turned = bundle.manifest.model_copy(update={"outputs": bundle.manifest.outputs[::-1]})
    names = [name for name, entry in bundle.manifest.files.items() if entry.content]
    other = tmp_path / "other.onnx"
    _negate(bundle.path("model.onnx"), other)
    content = {name: bundle.path(name) for name in names} | {"model.onnx": other}
    need = bundle.path("need.yaml").read_text()
    forged = write_bundle(tmp_path / "forged", _blank(turned), content, need)
    with pytest.raises(ModelError, match="does not answer as"):
        export_pretrained(forged.folder, tmp_path / "out", Workspace.open(shop))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("lineage", "what"),
    [
        ({}, "does not say which fit"),
        ({"fit": "../../etc"}, "does not say which fit"),
        ({"fit": "/etc/passwd"}, "does not say which fit"),
        ({"fit": "fits/../../x"}, "does not say which fit"),
        ({"fit": "fits/a/fitted"}, "is not in"),
        ({"members": []}, "made of several models"),
    ],
)
def test_a_lineage_that_leads_nowhere_is_refused(
    shop: Path, bundle: Bundle, tmp_path: Path, lineage: dict, what: str
):
    manifest = _blank(bundle.manifest.model_copy(update={"lineage": lineage}))
    names = [name for name, entry in bundle.manifest.files.items() if entry.content]
    content = {name: bundle.path(name) for name in names}
    changed = write_bundle(tmp_path / "changed", manifest, content, "name: reviews\n")
    with pytest.raises(ModelError, match=what):
        export_pretrained(changed.folder, tmp_path / "out", Workspace.open(shop))


def test_a_folder_that_holds_something_is_left_alone(shop: Path, bundle: Bundle, tmp_path: Path):
    with pytest.raises(SettingError, match="holds something already"):
        export_pretrained(bundle.folder, shop, Workspace.open(shop))


def _blank(manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"id": "", "files": {}, "seal": ""})


def _negate(graph: Path, target: Path) -> None:
    """The same graph, with its logits turned round."""
    import onnx
    from onnx import helper

    model = onnx.load(graph)
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["turned" if name == output.name else name for name in node.output]
    model.graph.node.append(helper.make_node("Neg", ["turned"], [output.name]))
    onnx.save(model, target)
