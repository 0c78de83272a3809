"""A bundle and what it must come down to, as a need."""

import json
from pathlib import Path
from typing import Any

import pytest

from sartor.bundle import write_bundle
from sartor.core.errors import SettingError, WorkspaceError
from sartor.core.workspace import Workspace
from sartor.need.grammar import CriterionSyntaxError
from sartor.search.smaller import smaller
from tests.manifests import draft

NEED = """\
name: reviews
task: text_classification
data: {train: rows.csv, text: text, label: label}
accept: [accuracy >= 0.8, size_mb <= 30]
prefer: {methods: [head], pretrain: mlm, backbones: [minilm]}
seed: 3
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    graph = tmp_path / "graph"
    graph.write_bytes(b"graph")
    manifest = draft(
        name="reviews", outputs=["bad", "good"], need={"name": "reviews"}, lineage={"seed": 0}
    )
    return write_bundle(tmp_path / "bundle", manifest, {"model.onnx": graph}, NEED).folder


def begun(place: Workspace, bundle: Path, root: Path, **more: Any) -> None:
    run = place.new_run()
    identity = json.loads((bundle / "manifest.json").read_bytes())["id"]
    run.write_json("result.json", {"bundle_id": identity})
    run.write_json("need.json", {"root": str(root), "held": False, **more})


def test_its_own_criteria_stay_beside_the_new_ones(bundle: Path, tmp_path: Path):
    place = Workspace.open(tmp_path)
    begun(place, bundle, tmp_path / "data")
    found = smaller(bundle, ["size_mb <= 10", "latency_p95_ms <= 5"], place, None)
    asked = json.loads(found.text)
    assert asked["accept"] == ["accuracy >= 0.8", "size_mb <= 10", "latency_p95_ms <= 5"]
    assert asked["seed"] == 3
    assert asked["prefer"] == {
        "backbones": ["minilm"],
        "bundles": [str(bundle.resolve())],
        "methods": ["earlier"],
        "ensemble": False,
    }
    assert (found.name, found.root) == ("reviews", tmp_path / "data")


def test_the_need_file_that_is_named_tells_where_the_data_lies(bundle: Path, tmp_path: Path):
    place = Workspace.open(tmp_path)
    file = tmp_path / "elsewhere" / "need.yaml"
    file.parent.mkdir()
    file.write_text(NEED.replace("0.8", "0.9"))
    found = smaller(bundle, ["size_mb <= 10"], place, file)
    assert (found.root, found.file) == (file.parent, str(file))
    assert json.loads(found.text)["accept"][0] == "accuracy >= 0.9"


def test_a_bundle_of_another_workspace_needs_its_need_file(bundle: Path, tmp_path: Path):
    place = Workspace.open(tmp_path)
    begun(place, bundle, tmp_path, held=True)
    with pytest.raises(WorkspaceError, match="--need"):
        smaller(bundle, ["size_mb <= 10"], place, None)


@pytest.mark.parametrize(
    ("to", "error", "says"),
    [
        ([], SettingError, "size_mb <= 10"),
        (["accuracy >= 0.9"], SettingError, "about the answers"),
        (["size_mb 10"], CriterionSyntaxError, "size_mb"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    bundle: Path, tmp_path: Path, to: list[str], error: type[Exception], says: str
):
    with pytest.raises(error, match=says):
        smaller(bundle, to, Workspace.open(tmp_path), None)


def test_compressors_are_named_with_or_without_criteria(bundle: Path, tmp_path: Path):
    place = Workspace.open(tmp_path)
    begun(place, bundle, tmp_path)
    asked = json.loads(smaller(bundle, ["size_mb <= 9"], place, None, ["int8_static"]).text)
    assert asked["prefer"]["compressors"] == ["int8_static"]
    assert asked["accept"] == ["accuracy >= 0.8", "size_mb <= 9"]
    plain = json.loads(smaller(bundle, [], place, None, ["fp16"]).text)
    assert plain["accept"] == ["accuracy >= 0.8", "size_mb <= 30"]
