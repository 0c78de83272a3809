"""Addresses, and the commands that take them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sartor.bundle import Bundle
from sartor.cli.app import app
from sartor.core.errors import MissingExtra, TransferError, UnknownName
from sartor.ship.transfer import store_of


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
