"""A bundle that holds bundles: they lie in it as they were, and nothing in it can be changed."""

import shutil
from pathlib import Path

import pytest

from sartor.bundle import Bundle, open_bundle
from sartor.bundle.manifest import MANIFEST, in_a_part, may_hold
from sartor.core.errors import BundleError
from tests.composed import desk


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return desk(tmp_path)


def test_the_parts_lie_inside_unchanged(bundle: Bundle, tmp_path: Path):
    for name, place in (("intent", "one"), ("answers", "two")):
        alone = open_bundle(tmp_path / place / "bundle")
        inside = bundle.part(name)
        assert inside.manifest == alone.manifest
        assert open_bundle(inside.folder).manifest == alone.manifest
        for file in alone.names:
            assert (inside.folder / file).read_bytes() == (alone.folder / file).read_bytes()
    files = [path for path in bundle.folder.rglob("*") if path.is_file()]
    assert bundle.size_mb == sum(path.stat().st_size for path in files) / 1e6
    assert set(bundle.names) == {p.relative_to(bundle.folder).as_posix() for p in files}


def test_the_parts_decide_the_id_and_their_verdicts_do_not(bundle: Bundle):
    decision = dict(bundle.manifest.decision)
    decision["parts"] = {**decision["parts"], "answers": {"bundle": "0" * 64}}
    other = bundle.manifest.model_copy(update={"decision": decision})
    assert other.content_id() != bundle.manifest.content_id()
    assert not any(e.content for name, e in bundle.manifest.files.items() if in_a_part(name))


@pytest.mark.parametrize("file", ["model.onnx", MANIFEST, "README.md"])
def test_a_part_that_was_changed_is_refused(bundle: Bundle, file: str):
    place = bundle.folder / "parts" / "intent" / file
    place.write_bytes(place.read_bytes() + b" ")
    with pytest.raises(BundleError, match=f"intent/{file}"):
        open_bundle(bundle.folder)


def test_what_is_added_or_missing_is_refused(bundle: Bundle, tmp_path: Path):
    parts = bundle.folder / "parts"
    (parts / "intent" / "more").mkdir()
    with pytest.raises(BundleError, match="parts/intent/more"):
        open_bundle(bundle.folder)
    (parts / "intent" / "more").rmdir()
    (parts / "third").mkdir()
    with pytest.raises(BundleError, match="parts/third"):
        open_bundle(bundle.folder)
    (parts / "third").rmdir()
    assert open_bundle(bundle.folder)
    moved = tmp_path / "elsewhere"
    shutil.move(parts / "answers", moved)
    with pytest.raises(BundleError, match="lacks 'parts/answers"):
        open_bundle(bundle.folder)
    (parts / "answers").symlink_to(moved)
    with pytest.raises(BundleError, match="parts/answers"):
        open_bundle(bundle.folder)


@pytest.mark.parametrize(
    "name",
    ["parts/../x", "parts/a/../x", "parts/a", "other/a/b", "parts/a/b/c", "/parts/a/b", "parts//b"],
)
def test_a_name_that_leads_elsewhere_is_no_part(name: str):
    assert not may_hold(name)
    assert may_hold("parts/a/manifest.json")


def test_a_signature_covers_the_parts(bundle: Bundle, tmp_path: Path):
    pytest.importorskip("cryptography", reason="needs sartor[sign]")
    from sartor.bundle import keys, sign_bundle, signing

    private = tmp_path / "team.pem"
    public = keys.make_keys(private)
    sign_bundle(bundle.folder, private)
    assert open_bundle(bundle.folder, verify_key=public).manifest == bundle.manifest
    signed = (bundle.folder / "model.sig").read_bytes()
    files = dict.fromkeys([*bundle.manifest.files, MANIFEST], "0" * 64)
    with pytest.raises(BundleError, match="differs from what was signed"):
        signing.check(signed, files, bundle.folder, public)
    del files["parts/intent/model.onnx"]
    with pytest.raises(BundleError, match=r"lacks 'parts/intent/model\.onnx'"):
        signing.check(signed, files, bundle.folder, public)
