"""Buckets: what is wrong with the address, the account or the network is said in words."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sartor.bundle import Bundle
from sartor.core.errors import SettingError, TransferError
from sartor.ship.transfer import pull, push, store_of
from tests.ship.stores import servers
from tests.ship.stores.conftest import asked_as

pytest.importorskip("boto3", reason="needs sartor[s3]")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.Kept]:
    with servers.bucket() as (url, found):
        asked_as(monkeypatch, url)
        yield found


@pytest.mark.parametrize("address", ["s3://", "s3://b", "s3://models/", "s3://models/a/../b"])
def test_what_is_no_bucket_and_prefix_is_refused(address: str):
    with pytest.raises(SettingError, match="no bucket and prefix"):
        store_of(address)


def test_a_bucket_that_is_not_there_is_named(kept: servers.Kept, bundle: Bundle, tmp_path: Path):
    with pytest.raises(TransferError, match="There is no bucket 'others'"):
        push(bundle.folder, "s3://others/reviews")
    with pytest.raises(TransferError, match="There is no bucket 'others'"):
        pull("s3://others/reviews", tmp_path / "got")


def test_a_refusal_names_the_variables_and_not_what_they_hold(kept: servers.Kept, bundle: Bundle):
    kept.fault = lambda method, path: 403
    with pytest.raises(TransferError, match="refuses to send") as caught:
        push(bundle.folder, "s3://models/reviews")
    said = f"{caught.value} {caught.value.__cause__} {caught.value.__suppress_context__}"
    assert "AWS_SECRET_ACCESS_KEY" in said
    assert "a-secret" not in said
    assert "AKIATEST" not in said


def test_without_an_account_the_variables_are_named(
    kept: servers.Kept, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(TransferError, match="nothing says who asks"):
        push(bundle.folder, "s3://models/reviews")


def test_a_server_that_is_not_there_is_told(bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    asked_as(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(TransferError, match="cannot be reached"):
        push(bundle.folder, "s3://models/reviews")


def test_a_list_that_was_written_last_is_the_only_way_in(kept: servers.Kept, bundle: Bundle):
    kept.fault = lambda method, path: 400 if path.endswith("index.json") else None
    with pytest.raises(TransferError, match="could not publish"):
        push(bundle.folder, "s3://models/reviews")
    assert not any(key.endswith("index.json") for key in kept.blobs)
    kept.fault = lambda method, path: None
    assert push(bundle.folder, "s3://models/reviews").sent == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_PROFILE", "typo"),
        ("AWS_ENDPOINT_URL", "minio:9000"),
        ("AWS_ENDPOINT_URL", "http://"),
        ("AWS_REGION", "no such region"),
    ],
)
def test_an_environment_that_cannot_be_used_is_told_by_its_variable(
    kept: servers.Kept,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
):
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", value if variable == "AWS_REGION" else "us-east-1")
    with pytest.raises(TransferError, match=variable):
        push(bundle.folder, "s3://models/reviews")
    with pytest.raises(TransferError, match=variable):
        pull("s3://models/reviews", tmp_path / "got")


def test_content_of_the_right_size_that_is_not_what_was_sent_is_sent_again(
    kept: servers.Kept, bundle: Bundle, tmp_path: Path
):
    push(bundle.folder, "s3://models/reviews")
    assert push(bundle.folder, "s3://models/reviews").sent == 0
    key = next(key for key, data in kept.blobs.items() if len(data) == 256 * 40)
    kept.blobs[key] = bytes(256 * 40)
    with pytest.raises(TransferError, match=r"model\.onnx"):
        pull("s3://models/reviews", tmp_path / "got")
    assert push(bundle.folder, "s3://models/reviews").sent == 1
    assert pull("s3://models/reviews", tmp_path / "got").manifest == bundle.manifest
