"""A bundle knows the rows it learnt from, in few bytes, and refuses a list that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.bundle import Manifest, Preprocess, open_bundle, write_bundle
from sartor.bundle.learnt import MOST, pack, unpack
from sartor.core.errors import BundleError

IDS = st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), unique=True, max_size=50)


@given(IDS, IDS)
def test_what_was_learnt_is_found_again_and_nothing_else(learnt, others):
    found = unpack(pack(learnt), "learnt.bin")
    fresh = [name for name in others if name not in learnt]
    rows = [*learnt, *fresh]
    assert [rows[i] for i in found.fresh(rows)] == fresh
    assert found.whole
    assert pack(learnt) == pack(reversed(learnt))


def test_of_too_many_rows_a_fair_sample_is_kept(monkeypatch):
    monkeypatch.setattr("sartor.bundle.learnt.MOST", 100)
    ids = [f"row {number}" for number in range(1_000)]
    data = pack(ids)
    found = unpack(data, "learnt.bin")
    assert len(data) == 800
    assert not found.whole
    kept = sorted(set(range(1_000)) - set(found.fresh(ids)))
    assert len(kept) == 100
    assert 300 < sum(kept) / 100 < 700, "not the first ones"


@pytest.mark.parametrize("data", [b"x" * 7, b"x" * (8 * MOST + 8)])
def test_a_list_that_is_none_is_refused(data):
    with pytest.raises(BundleError, match="no list of at most"):
        unpack(data, "learnt.bin")


def test_the_rows_are_verified_with_the_bundle_and_lie_outside_its_id(tmp_path):
    (tmp_path / "model").write_bytes(b"graph")

    def written(place, learnt):
        manifest = Manifest(
            format=1,
            id="",
            name="reviews",
            task="text_classification",
            inputs={"text": "text"},
            outputs=["a", "b"],
            decision={},
            preprocess=Preprocess(),
            files={},
            need={},
            lineage={},
        )
        content = {"model.onnx": tmp_path / "model"}
        return write_bundle(tmp_path / place, manifest, content, "", learnt)

    plain, told = written("plain", ()), written("told", ["one", "two"])
    assert plain.manifest.id == told.manifest.id
    assert plain.learnt() is None
    assert open_bundle(told.folder).learnt().fresh(["one", "three"]) == [1]
    (told.folder / "learnt.bin").write_bytes(pack(["one", "three"]))
    with pytest.raises(BundleError, match=r"learnt\.bin differs"):
        open_bundle(told.folder)
