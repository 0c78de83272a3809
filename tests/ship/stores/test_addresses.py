"""Addresses, and the commands that take them."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sartor.bundle import Bundle, open_bundle
from sartor.cli.app import app
from sartor.core.errors import MissingExtra, TransferError, UnknownName
from sartor.ship.stores import Item
from sartor.ship.transfer import pull, push, store_of


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["bundle", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_the_commands_push_and_pull(bundle: Bundle, tmp_path: Path):
    share = f"file://{tmp_path}/share"
    assert json.loads(run("push", str(bundle.folder), share, "--json"))["sent"] == 5
    assert run("push", str(bundle.folder), share, "--quiet") == f"{tmp_path}/share\n"
    assert run("pull", share, str(tmp_path / "got")) == f"{tmp_path}/got\n"
    said = json.loads(run("pull", share, str(tmp_path / "again"), "--json"))
    assert said == {
        "bundle": str(tmp_path / "again"),
        "id": bundle.manifest.id,
        "released": False,
    }


def test_a_pull_fills_the_folder_that_one_stands_in(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    push(bundle.folder, f"{tmp_path}/share")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run("pull", f"{tmp_path}/share", ".") == ".\n"
    assert open_bundle(tmp_path / "here").manifest == bundle.manifest
    assert Path("manifest.json").exists()


def test_another_scheme_is_refused_with_those_there_are():
    with pytest.raises(UnknownName, match="No kind of address is called 'gs'"):
        store_of("gs://bucket/prefix")


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    import sys

    from sartor.ship.stores import STORES

    monkeypatch.delitem(STORES._found, "s3", raising=False)
    monkeypatch.delitem(sys.modules, "sartor.ship.stores.s3", raising=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"need boto3.*\n.*sartor\[s3\]"):
        store_of("s3://models/reviews")


@pytest.mark.parametrize("listing", [b"{", b"[]", b'{"format": 2, "files": []}', b" " * 8_000_001])
def test_a_shared_folder_with_another_index_is_refused(tmp_path: Path, listing: bytes):
    (tmp_path / "index.json").write_bytes(listing)
    with pytest.raises(TransferError, match=r"index\.json"):
        store_of(str(tmp_path)).listed()


def test_content_that_was_damaged_in_a_shared_folder_is_sent_again(bundle: Bundle, tmp_path: Path):
    push(bundle.folder, str(tmp_path / "share"))
    largest = max((tmp_path / "share" / "blobs").iterdir(), key=lambda p: p.stat().st_size)
    largest.write_bytes(bytes(largest.stat().st_size))
    with pytest.raises(TransferError, match="not what was listed"):
        pull(str(tmp_path / "share"), tmp_path / "got")
    assert push(bundle.folder, str(tmp_path / "share")).sent == 1
    assert pull(str(tmp_path / "share"), tmp_path / "got").manifest == bundle.manifest


def test_what_a_killed_push_left_in_a_shared_folder_goes_when_it_is_a_day_old(
    bundle: Bundle, tmp_path: Path
):
    blobs = tmp_path / "share" / "blobs"
    blobs.mkdir(parents=True)
    old, new = blobs / ".part.old", blobs / ".part.new"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    push(bundle.folder, str(tmp_path / "share"))
    assert not old.exists()
    assert new.exists(), "somebody may be writing it"
    assert len(list(blobs.iterdir())) == 5 + 1


def test_a_file_that_is_not_what_it_was_is_not_kept_under_its_old_name(tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"after")
    item = Item("model.onnx", hashlib.sha256(b"then.").hexdigest(), 5)
    with pytest.raises(TransferError, match="changed while it was sent"):
        store_of(str(tmp_path / "share")).send(item, tmp_path / "model.onnx")
    assert not list((tmp_path / "share" / "blobs").iterdir())
