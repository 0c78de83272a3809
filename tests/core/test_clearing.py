"""What can be made again goes, and nothing else."""

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from sartor.core.clearing import clear
from sartor.core.errors import WorkspaceError
from sartor.core.workspace import Workspace


def written(file: Path, size: int = 100, days: float = 0.0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    then = time.time() - days * 86_400
    os.utime(file, (then, then))
    os.utime(file.parent, (then, then))
    return file


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    found = Workspace.open(tmp_path)
    root = found.folder
    written(root / "fits/aaa/fitted/model.safetensors", 1000)
    written(root / "fits/bbb/fitted/model.safetensors", 500, days=9)
    written(root / "stages/artefact/ccc/model.onnx", 300, days=9)
    written(root / "stages/artefact/ccc.json", 10)
    written(root / "activations/aa/x", 70, days=9)
    written(root / "bundles/shop-1/model.onnx")
    manifest = {"lineage": {"fit": "fits/aaa/fitted"}}
    (root / "bundles/shop-1/manifest.json").write_text(json.dumps(manifest))
    for kept in ("runs/1/result.json", "studies/a.journal", "answers/aa/b.json", "store.db"):
        written(root / kept)
    return found


def sizes(place: Workspace, days: float = 0.0, *, remove: bool) -> dict[str, int]:
    return {each.kind: each.bytes for each in clear(place, days, remove=remove) if each.entries}


def test_what_goes_is_told_first(place: Workspace) -> None:
    assert sizes(place, remove=False) == {"fits": 500, "stages": 300, "activations": 70}
    assert (place.folder / "fits/bbb").exists()


def test_the_fit_of_a_bundle_stays(place: Workspace) -> None:
    sizes(place, remove=True)
    root = place.folder
    assert (root / "fits/aaa/fitted/model.safetensors").exists()
    gone = ("fits/bbb", "stages/artefact/ccc", "stages/artefact/ccc.json", "activations")
    assert not any((root / each).exists() for each in gone)
    for kept in ("bundles/shop-1/model.onnx", "runs/1/result.json", "studies/a.journal"):
        assert (root / kept).exists()
    assert (root / "answers/aa/b.json").exists()
    assert (root / "store.db").exists()
    assert sizes(place, remove=True) == {}


def test_what_is_new_stays(place: Workspace) -> None:
    written(place.folder / "fits/ddd/fitted/model.safetensors", 40)
    assert sizes(place, 5, remove=True) == {"fits": 500, "stages": 300, "activations": 70}
    assert (place.folder / "fits/ddd").exists()


def test_nothing_goes_while_a_run_is_at_work(place: Workspace) -> None:
    with (place.folder / "runs/1/lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(WorkspaceError, match="Run 1 is at work"):
            clear(place, remove=True)
        assert sizes(place, remove=False)
    assert (place.folder / "fits/bbb").exists()


def test_a_link_is_not_followed(place: Workspace, tmp_path: Path) -> None:
    other = written(tmp_path / "other/fitted/file").parent.parent
    (place.folder / "fits/link").symlink_to(other)
    clear(place, remove=True)
    assert (other / "fitted/file").exists()


def test_a_damaged_manifest_keeps_nothing_and_breaks_nothing(place: Workspace) -> None:
    for text in ("{", "[]", '{"lineage": {"fit": 3}}', '{"lineage": {"fit": "../../etc"}}'):
        (place.folder / "bundles/shop-1/manifest.json").write_text(text)
        assert sizes(place, remove=False)["fits"] == 1500
