"""What every place keeps: what arrives is what was sent, whole and verified, or nothing."""

import errno
import hashlib
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sartor.bundle import Bundle, open_bundle, record_verdicts
from sartor.bundle.manifest import MANIFEST, SIGNATURE
from sartor.core.errors import BundleError, SettingError, TransferError, WorkspaceError
from sartor.need.verdict import Verdict
from sartor.ship import transfer
from sartor.ship.stores import Item
from sartor.ship.transfer import pull, push, store_of
from tests.ship.stores.conftest import Place, make

FILES = 5
MET = Verdict("accuracy >= 0.8", 0.85, 0.81, 0.89, 200, "met")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sha_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_pulled_is_what_was_pushed(place: Place, bundle: Bundle, tmp_path: Path):
    done = push(bundle.folder, place.address)
    assert (done.sent, done.there) == (FILES, 0)
    found = pull(place.address, tmp_path / "got" / "reviews")
    assert found.manifest == bundle.manifest
    assert contents(tmp_path / "got" / "reviews") == contents(bundle.folder)
    assert [p.name for p in (tmp_path / "got").iterdir()] == ["reviews"]


def test_an_address_that_a_push_gave_pulls_that_bundle(
    place: Place, bundle: Bundle, tmp_path: Path
):
    done = push(bundle.folder, place.address)
    assert pull(done.address, tmp_path / "got").manifest == bundle.manifest


def test_only_what_is_missing_is_sent(place: Place, bundle: Bundle, tmp_path: Path):
    push(bundle.folder, place.address)
    again = push(bundle.folder, place.address)
    assert (again.sent, again.bytes) == (0, 0)
    judged = record_verdicts(bundle, [MET], released=True)
    assert push(bundle.folder, place.address).sent == 2  # manifest and card
    assert pull(place.address, tmp_path / "got").manifest == judged.manifest


def test_a_push_that_was_cut_off_is_not_found_and_goes_on(
    place: Place, bundle: Bundle, tmp_path: Path
):
    graph = bundle.folder / "model.onnx"
    with closing(store_of(place.address)) as store:
        assert store.send(Item("model.onnx", sha_of(graph), graph.stat().st_size), graph)
    with pytest.raises(TransferError):
        pull(place.address, tmp_path / "got")
    assert not (tmp_path / "got").exists()
    assert push(bundle.folder, place.address).sent == FILES - 1
    pull(place.address, tmp_path / "got")


def test_the_old_bundle_is_pulled_until_the_new_one_is_whole(
    place: Place, bundle: Bundle, tmp_path: Path
):
    push(bundle.folder, place.address)
    new = make(tmp_path / "new", b"another graph")
    graph = new.folder / "model.onnx"
    with closing(store_of(place.address)) as store:
        store.send(Item("model.onnx", sha_of(graph), graph.stat().st_size), graph)
    assert pull(place.address, tmp_path / "first").manifest.id == bundle.manifest.id
    push(new.folder, place.address)
    assert pull(place.address, tmp_path / "second").manifest.id == new.manifest.id


@pytest.mark.parametrize(
    "spoilt",
    [lambda data: data[:-1] + b"!", lambda data: data[:-1], lambda data: data + b"!"],
    ids=["changed", "shorter", "longer"],
)
def test_content_that_is_not_what_was_listed_is_refused_by_name(
    place: Place, bundle: Bundle, tmp_path: Path, spoilt: Callable[[bytes], bytes]
):
    push(bundle.folder, place.address)
    graph = bundle.folder / "model.onnx"
    place.spoil(sha_of(graph), spoilt(graph.read_bytes()))
    with pytest.raises(TransferError, match=r"model\.onnx"):
        pull(place.address, tmp_path / "got" / "reviews")
    assert list((tmp_path / "got").iterdir()) == []


def test_content_that_is_gone_is_named(bundle: Bundle, tmp_path: Path):
    push(bundle.folder, f"{tmp_path}/share")
    (tmp_path / "share" / "blobs" / sha_of(bundle.folder / "model.onnx")).unlink()
    with pytest.raises(TransferError, match=r"lists model\.onnx, and .* is gone"):
        pull(f"{tmp_path}/share", tmp_path / "got")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "..", ".hidden", "", "con\n"])
def test_a_name_that_leaves_the_folder_is_refused(
    place: Place, bundle: Bundle, tmp_path: Path, name: str
):
    listed = published(place, bundle, lambda items: [Item(name, items[0].sha256, 1), *items])
    with pytest.raises(TransferError, match="no plain name"):
        pull(place.address, tmp_path / "got")
    assert listed
    assert not (tmp_path / "got").exists()
    assert not (tmp_path / "evil").exists()


def test_a_list_that_no_bundle_has_is_refused(place: Place, bundle: Bundle, tmp_path: Path):
    def lists(change: Callable[[list[Item]], list[Item]], what: str) -> None:
        published(place, bundle, change)
        with pytest.raises((TransferError, BundleError), match=what):
            pull(place.address, tmp_path / "got")
        assert not (tmp_path / "got").exists()

    def named(items: list[Item], name: str) -> Item:
        return next(item for item in items if item.name == name)

    lists(lambda items: [*items, items[0]], "twice")
    lists(lambda items: [i for i in items if i.name != MANIFEST], rf"no {MANIFEST}")
    lists(lambda items: [i for i in items if i.name != "model.onnx"], r"lacks 'model\.onnx'")
    further = lambda items: Item("more.bin", named(items, MANIFEST).sha256, items[-1].bytes)  # noqa: E731
    lists(lambda items: [*items, further(items)], r"'more\.bin', which its manifest does not list")


def test_more_than_is_allowed_is_refused_before_it_is_fetched(
    place: Place, bundle: Bundle, tmp_path: Path
):
    push(bundle.folder, place.address)
    with pytest.raises(TransferError, match="GB are allowed"):
        pull(place.address, tmp_path / "got", most_gb=1e-6)
    assert not (tmp_path / "got").exists()


def test_where_nothing_was_pushed_there_is_nothing(place: Place, tmp_path: Path):
    with pytest.raises(TransferError) as caught:
        pull(place.address, tmp_path / "got")
    assert place.address.rpartition("/")[2].partition(":")[0] in caught.value.what


def test_a_bundle_that_changes_while_it_is_sent_is_not_published(
    place: Place, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def altered(*_: object) -> Bundle:
        record_verdicts(bundle, [MET], released=True)
        return opened(bundle.folder)

    opened = transfer.open_bundle
    calls = iter([opened, altered])
    monkeypatch.setattr(transfer, "open_bundle", lambda *a, **b: next(calls)(*a, **b))
    with pytest.raises(TransferError, match="changed while it was sent"):
        push(bundle.folder, place.address)
    monkeypatch.undo()
    with pytest.raises(TransferError):
        pull(place.address, tmp_path / "got")


def test_a_folder_that_another_pull_filled_meanwhile_keeps_what_it_got(
    place: Place, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    push(bundle.folder, place.address)
    other = make(tmp_path / "other", b"another graph")

    def meanwhile(*_: object) -> None:
        shutil.copytree(other.folder, tmp_path / "got")

    monkeypatch.setattr(transfer, "_room", meanwhile)
    with pytest.raises(SettingError, match="another process"):
        pull(place.address, tmp_path / "got")
    assert open_bundle(tmp_path / "got").manifest == other.manifest


def test_a_pull_that_was_killed_leaves_nothing_that_the_next_does_not_remove(
    bundle: Bundle, tmp_path: Path
):
    push(bundle.folder, str(tmp_path / "share"))
    (tmp_path / "got").mkdir()

    def killed() -> None:
        transfer._room = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        pull(str(tmp_path / "share"), tmp_path / "got" / "reviews")

    process = multiprocessing.get_context("fork").Process(target=killed)
    process.start()
    process.join()
    (left,) = (tmp_path / "got").iterdir()
    assert left.name.startswith(".reviews.")
    mine = tmp_path / "got" / ".reviews.of-mine"
    mine.mkdir()
    pull(str(tmp_path / "share"), tmp_path / "got" / "reviews")
    assert {path.name for path in (tmp_path / "got").iterdir()} == {"reviews", mine.name}


def test_a_disk_that_fills_up_while_pulling_leaves_nothing_and_says_so(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    push(bundle.folder, str(tmp_path / "share"))
    (tmp_path / "got").mkdir()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_receive", full)
    with pytest.raises(WorkspaceError, match="No space left"):
        pull(str(tmp_path / "share"), tmp_path / "got" / "reviews")
    assert not list((tmp_path / "got").iterdir())


def test_a_folder_that_holds_something_is_left_alone(place: Place, bundle: Bundle, tmp_path: Path):
    push(bundle.folder, place.address)
    (tmp_path / "got").mkdir()
    pull(place.address, tmp_path / "got")
    with pytest.raises(SettingError, match="holds something already"):
        pull(place.address, tmp_path / "got")


def test_a_damaged_bundle_is_not_pushed(place: Place, bundle: Bundle, tmp_path: Path):
    (bundle.folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        push(bundle.folder, place.address)


def test_a_signature_arrives_and_a_wanted_one_that_does_not_is_missed(
    place: Place, bundle: Bundle, tmp_path: Path
):
    pytest.importorskip("cryptography", reason="needs sartor[sign]")
    from sartor.bundle import sign_bundle
    from sartor.bundle.keys import make_keys

    private = tmp_path / "team.pem"
    public = str(make_keys(private))
    push(bundle.folder, place.address)
    with pytest.raises(BundleError, match="is not signed"):
        pull(place.address, tmp_path / "unsigned", verify_key=public)
    assert not (tmp_path / "unsigned").exists()
    sign_bundle(bundle.folder, private)
    assert push(bundle.folder, place.address).sent == 1
    pull(place.address, tmp_path / "signed", verify_key=public)
    assert (tmp_path / "signed" / SIGNATURE).exists()
    open_bundle(shutil.copytree(tmp_path / "signed", tmp_path / "copy"), verify_key=public)


def published(
    place: Place, bundle: Bundle, change: Callable[[list[Item]], list[Item]]
) -> list[Item]:
    """The bundle's files there, under a list that was tampered with."""
    push(bundle.folder, place.address)
    with closing(store_of(place.address)) as store:
        changed = change(store.listed())
        store.publish(changed)
    return changed
