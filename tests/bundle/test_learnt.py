"""A bundle knows the rows it learnt from, in few bytes, and refuses a list that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.bundle import Learnt, open_bundle, write_bundle
from sartor.bundle.learnt import MOST, pack, unpack
from sartor.core.errors import BundleError
from sartor.core.hashing import mark
from tests.manifests import draft

IDS = st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), unique=True, max_size=50)


@given(IDS, IDS)
def test_what_was_learnt_is_found_again_and_nothing_else(learnt, others):
    found = unpack(pack(map(mark, learnt)), b"", "learnt.bin")
    fresh = [name for name in others if name not in learnt]
    rows = [*learnt, *fresh]
    assert [rows[i] for i in found.fresh(rows)] == fresh
    assert found.whole
    assert pack(map(mark, learnt)) == pack(map(mark, reversed(learnt)))


@given(IDS, IDS, IDS)
def test_rows_that_only_chose_are_told_from_those_that_were_fitted_on(fitted, chose, further):
    found = Learnt.of(fitted, chose).choosing(further)
    rows = [*fitted, *chose, *further]
    assert found.fresh(rows) == []
    assert {rows[i] for i in found.unfitted(rows)} == {*chose, *further} - set(fitted)


def test_of_too_many_rows_a_fair_sample_is_kept(monkeypatch):
    monkeypatch.setattr("sartor.bundle.learnt.MOST", 100)
    ids = [f"row {number}" for number in range(1_000)]
    data = pack(map(mark, ids))
    found = unpack(data, b"", "learnt.bin")
    assert len(data) == 800
    assert not found.whole
    kept = sorted(set(range(1_000)) - set(found.fresh(ids)))
    assert len(kept) == 100
    assert 300 < sum(kept) / 100 < 700, "not the first ones"


@pytest.mark.parametrize("data", [b"x" * 7, b"x" * (8 * MOST + 8)])
def test_a_list_that_is_none_is_refused(data):
    with pytest.raises(BundleError, match="no list of at most"):
        unpack(data, b"", "learnt.bin")
    with pytest.raises(BundleError, match="no list of at most"):
        unpack(b"", data, "learnt.bin")


def test_the_rows_are_verified_with_the_bundle_and_lie_outside_its_id(tmp_path):
    (tmp_path / "model").write_bytes(b"graph")

    def written(place, learnt):
        manifest = draft(name="reviews", outputs=["a", "b"])
        content = {"model.onnx": tmp_path / "model"}
        return write_bundle(tmp_path / place, manifest, content, "", learnt)

    plain, told = written("plain", None), written("told", Learnt.of(["one", "two"], ["four"]))
    assert plain.manifest.id == told.manifest.id
    assert plain.learnt() is None
    found = open_bundle(told.folder).learnt()
    assert found is not None
    assert found == Learnt.of(["one", "two"], ["four"])
    assert found.fresh(["one", "three", "four"]) == [1]
    assert found.unfitted(["one", "three", "four"]) == [1, 2]
    (told.folder / "learnt.bin").write_bytes(pack(map(mark, ["one", "three", "four"])))
    with pytest.raises(BundleError, match=r"learnt\.bin differs"):
        open_bundle(told.folder)
