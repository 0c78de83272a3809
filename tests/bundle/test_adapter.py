"""An adapter comes back as it was written, or is refused by name; nobody gets another's."""

import json
import multiprocessing
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.bundle.adapter import (
    ADAPTER,
    Adapter,
    adapter_folder,
    adapter_version,
    delete_adapter,
    read_adapter,
    stored_adapters,
    write_adapter,
)
from sartor.bundle.base import Base, base_head, read_base, verified_base, write_base
from sartor.bundle.manifest import entry_of
from sartor.bundle.tensors import pack_tensors
from sartor.core.errors import BundleError, UnknownName

BUNDLE, OTHER, SOURCE = "a" * 64, "b" * 64, "c" * 64
GRAPH = b"a graph"
HEAD = {"head.weight": np.ones((2, 3), np.float32), "head.bias": np.zeros(2, np.float32)}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    packed = pack_tensors(HEAD)
    base = Base(
        bundle=BUNDLE,
        source=SOURCE,
        graph=entry_of(GRAPH),
        outputs=2,
        features=3,
        head=entry_of(packed),
        rank=4,
        linears={"layer.0": (5, 6), "layer.1": (6, 5)},
    )
    write_base(tmp_path / "root", base, GRAPH, packed)
    return tmp_path / "root"


def head(value: float = 1.0) -> Adapter:
    tensors = {
        "head.weight": np.full((2, 3), value, np.float32),
        "head.bias": np.full(2, -value, np.float32),
    }
    return Adapter(BUNDLE, "head", tensors, {"personal": value, "rows": 40})


def lora(rank: int = 2) -> Adapter:
    tensors = {"layer.1.A": np.ones((rank, 6)), "layer.1.B": np.ones((5, rank))}
    return Adapter(BUNDLE, "lora", {n: t.astype(np.float32) for n, t in tensors.items()})


@pytest.mark.parametrize("adapter", [head(), lora(), lora(4)], ids=["head", "lora", "full rank"])
def test_it_comes_back_as_it_was_written(root: Path, adapter: Adapter):
    folder = write_adapter(root, "acme", "ann", adapter)
    found = read_adapter(root, "acme", "ann")
    assert (found.base, found.kind, found.created) == (adapter.base, adapter.kind, adapter.created)
    assert found.verdict == adapter.verdict
    assert set(found.tensors) == set(adapter.tensors)
    for name, array in adapter.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], array)
    assert len(list(folder.iterdir())) == 2


@given(tenant=NAMES | st.none(), user=NAMES)
def test_no_name_leads_out_of_the_root(tmp_path_factory, tenant: str | None, user: str):
    root = tmp_path_factory.getbasetemp() / "any"
    folder = adapter_folder(root, tenant, user)
    assert folder.parent.parent == root
    assert ".." not in folder.parts
    assert folder.parent.name != "base"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((None, "ann"), ("None", "ann")),
        (("acme", "ann"), ("Acme", "ann")),
        (("acme", "ann"), ("acme", "Ann")),
        (("a", "b/c"), ("a/b", "c")),
        (("../acme", "ann"), ("acme", "ann")),
    ],
)
def test_two_names_never_share_a_folder(root: Path, one, other):
    write_adapter(root, *one, head(1.0))
    with pytest.raises(UnknownName):
        read_adapter(root, *other)
    write_adapter(root, *other, head(2.0))
    assert read_adapter(root, *one).verdict["personal"] == 1.0
    assert read_adapter(root, *other).verdict["personal"] == 2.0


def test_a_new_one_takes_the_place_of_the_old(root: Path):
    folder = write_adapter(root, None, "ann", head(1.0))
    before = adapter_version(root, None, "ann")
    (folder / f".{ADAPTER}.abcdefgh").write_text("what a kill left")
    write_adapter(root, None, "ann", lora())
    assert adapter_version(root, None, "ann") != before
    assert read_adapter(root, None, "ann").kind == "lora"
    assert len(list(folder.iterdir())) == 2


def _write_often(root: Path, times: int) -> None:
    for value in range(times):
        write_adapter(root, None, "ann", head(float(value)))


def test_a_reader_never_meets_half_of_two_versions(root: Path):
    write_adapter(root, None, "ann", head(0.0))
    writers = [threading.Thread(target=_write_often, args=(root, 12)) for _ in range(2)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        found = read_adapter(root, None, "ann")
        (value,) = {float(v) for v in found.tensors["head.weight"].ravel()}
        assert found.verdict["personal"] == value == -found.tensors["head.bias"][0]
        seen.add(value)
    assert len(seen) > 1


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_killed_writer_leaves_the_old_one_or_the_new_one(root: Path):
    write_adapter(root, None, "ann", head(-1.0))
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        process = context.Process(target=_write_often, args=(root, 10_000))
        process.start()
        process.join(0.05)
        process.kill()
        process.join()
        found = read_adapter(root, None, "ann")
        assert found.verdict["personal"] == found.tensors["head.weight"][0, 0]
    assert len(list(write_adapter(root, None, "ann", head()).iterdir())) == 2


def test_what_is_deleted_is_gone_and_the_others_stay(root: Path):
    for user in ("ann", "bob"):
        write_adapter(root, "acme", user, head())
    write_adapter(root, None, "ann", head())
    assert delete_adapter(root, "acme", "ann")
    assert not adapter_folder(root, "acme", "ann").exists()
    with pytest.raises(UnknownName, match="'ann'"):
        read_adapter(root, "acme", "ann")
    assert not delete_adapter(root, "acme", "ann")
    assert not delete_adapter(root / "nowhere", "acme", "ann")
    assert {(m.tenant, m.user) for m in stored_adapters(root)} == {("acme", "bob"), (None, "ann")}
    assert delete_adapter(root, "acme", "bob")
    assert not adapter_folder(root, "acme", "bob").parent.exists()


def test_an_unknown_user_and_another_tenants_are_refused_in_the_same_words(root: Path):
    write_adapter(root, "acme", "ann", head())
    said = set()
    for tenant in (None, "globex"):
        with pytest.raises(UnknownName) as caught:
            read_adapter(root, tenant, "ann")
        said.add(str(caught.value))
    with pytest.raises(UnknownName) as caught:
        read_adapter(root / "nowhere", None, "ann", read_base(root))
    assert said == {str(caught.value)}


def test_a_folder_in_another_users_place_is_refused_by_name(root: Path):
    theirs = write_adapter(root, None, "bob", head(2.0))
    mine = write_adapter(root, None, "ann", head(1.0))
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    with pytest.raises(BundleError, match="'bob', not of 'ann'"):
        read_adapter(root, None, "ann")


def test_numbers_of_another_adapter_are_refused(root: Path):
    theirs = write_adapter(root, None, "bob", head(2.0))
    mine = write_adapter(root, None, "ann", head(1.0))
    (numbers,) = mine.glob("*.safetensors")
    (others,) = theirs.glob("*.safetensors")
    numbers.write_bytes(others.read_bytes())
    with pytest.raises(BundleError, match="SHA-256"):
        read_adapter(root, None, "ann")
    numbers.unlink()
    with pytest.raises(BundleError, match="lacks"):
        read_adapter(root, None, "ann")


def test_an_adapter_of_another_bundle_is_refused_by_its_id(root: Path):
    with pytest.raises(BundleError, match=OTHER[:12]):
        write_adapter(root, None, "ann", replace(head(), base=OTHER))
    write_adapter(root, None, "ann", head())
    other = read_base(root).model_copy(update={"bundle": OTHER})
    with pytest.raises(BundleError, match=f"{BUNDLE[:12]}, not {OTHER[:12]}"):
        read_adapter(root, None, "ann", other)


def changed(adapter: Adapter, **tensors: np.ndarray | None) -> Adapter:
    every = {**adapter.tensors, **{n.replace("__", "."): t for n, t in tensors.items()}}
    return replace(adapter, tensors={n: t for n, t in every.items() if t is not None})


ONE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (changed(head(), head__bias=None), "does not fit"),
        (changed(head(), head__weight=np.ones((3, 2), np.float32)), r"\(3, 2\)"),
        (changed(head(), more=ONE), "more"),
        (changed(head(), head__bias=np.full(2, np.nan, np.float32)), "NaN"),
        (changed(lora(), layer__1__B=None), "pairs"),
        (changed(lora(), layer__1__A=np.ones((3, 6), np.float32)), "layer.1"),
        (changed(lora(5), more=None), "rank up to 4"),
        (changed(lora(), layer__2__A=ONE, layer__2__B=ONE), "layer.2"),
        (changed(lora(), layer__1__A=ONE[0]), "layer.1"),
        (replace(lora(), tensors={}), "no layer"),
        (replace(head(), verdict={"rows": [1]}), "verdict"),
    ],
)
def test_what_does_not_fit_the_base_is_not_written(root: Path, adapter: Adapter, said: str):
    with pytest.raises(BundleError, match=said):
        write_adapter(root, None, "ann", adapter)
    assert adapter_version(root, None, "ann") is None


@pytest.mark.parametrize("user", ["", "x" * 201, "half \ud800"])
def test_a_name_that_cannot_be_kept_is_refused(root: Path, user: str):
    with pytest.raises(BundleError, match="cannot be written"):
        write_adapter(root, None, user, head())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format 2"),
        ({"odd": 1}, "odd"),
        ({"user": 3}, "user"),
        ({"tensors": {"sha256": "../../etc/passwd", "bytes": 1}}, "sha256"),
    ],
)
def test_an_edited_manifest_is_refused(root: Path, change: dict, said: str):
    folder = write_adapter(root, None, "ann", head())
    found = json.loads((folder / ADAPTER).read_text())
    (folder / ADAPTER).write_text(json.dumps(found | change))
    with pytest.raises(BundleError, match=said):
        read_adapter(root, None, "ann")


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 9, (1 << 60).to_bytes(8, "little") + b"{}"])
def test_numbers_that_are_no_safetensors_are_refused(root: Path, data: bytes):
    folder = write_adapter(root, None, "ann", head())
    found = json.loads((folder / ADAPTER).read_text())
    entry = entry_of(data)
    found["tensors"] = entry.model_dump()
    (folder / ADAPTER).write_text(json.dumps(found))
    (folder / f"{entry.sha256}.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match="not a safetensors file"):
        read_adapter(root, None, "ann")


def test_links_and_large_files_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_adapter(root, None, "ann", head())
    monkeypatch.setattr("sartor.bundle.adapter.MAX_ADAPTER_BYTES", 10)
    with pytest.raises(BundleError, match="larger"):
        read_adapter(root, None, "ann")
    with pytest.raises(BundleError, match="would not be read again"):
        write_adapter(root, None, "ben", head())
    monkeypatch.undo()
    assert not adapter_folder(root, None, "ben").exists()
    (numbers,) = folder.glob("*.safetensors")
    numbers.rename(root / "elsewhere")
    numbers.symlink_to(root / "elsewhere")
    with pytest.raises(BundleError, match="plain file"):
        read_adapter(root, None, "ann")
    numbers.unlink()
    os.mkfifo(numbers)
    with pytest.raises(BundleError, match="plain file"):
        read_adapter(root, None, "ann")


def test_a_base_is_of_one_bundle_and_one_graph(root: Path):
    assert verified_base(root, BUNDLE, SOURCE)[1].read_bytes() == GRAPH
    np.testing.assert_array_equal(base_head(root)["head.weight"], HEAD["head.weight"])
    for pair in ((OTHER, SOURCE), (BUNDLE, OTHER)):
        with pytest.raises(BundleError, match="belong to the bundle"):
            verified_base(root, *pair)
    (root / "base" / "head.safetensors").write_bytes(pack_tensors({"head.bias": ONE}))
    with pytest.raises(BundleError, match="head"):
        base_head(root)
    (root / "base" / "model.onnx").write_bytes(b"another")
    with pytest.raises(BundleError, match=r"model\.onnx is not the graph"):
        verified_base(root, BUNDLE, SOURCE)
    shutil.rmtree(root / "base")
    with pytest.raises(BundleError, match="no base"):
        write_adapter(root, None, "ann", head())
