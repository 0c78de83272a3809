"""A registry that wants to know who asks, sends readers on, and has faults."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sartor.bundle import Bundle
from sartor.core.errors import SettingError, TransferError
from sartor.ship.transfer import pull, push, store_of
from tests.ship.stores import servers

SECRET = "hunter2hunter2"


@pytest.fixture
def held() -> Iterator[tuple[str, servers.Kept]]:
    """(address, what the registry holds)."""
    with servers.registry() as (url, kept):
        yield f"oci://{url.removeprefix('http://')}/shop/reviews:1", kept


@pytest.mark.parametrize(
    "address",
    [
        "oci://host",
        "oci://host/name",
        "oci://host/Name:1",
        "oci://host/../name:1",
        "oci://host/name:",
        "oci://host/name@sha256:12",
        "oci://host/name:1?x=y",
    ],
)
def test_what_is_no_repository_and_tag_is_refused(address: str):
    with pytest.raises(SettingError, match="names no repository and tag"):
        store_of(address)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(SettingError) as caught:
        store_of(f"oci://ana:{SECRET}@host/name:1")
    assert SECRET not in str(caught.value)


def test_an_account_from_the_environment_is_told_to_the_token_service_alone(
    held: tuple[str, servers.Kept],
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    address, kept = held
    kept.password = SECRET
    with pytest.raises(TransferError, match="SARTOR_OCI_PASSWORD hold are not set"):
        push(bundle.folder, address)
    monkeypatch.setenv("SARTOR_OCI_USER", "ana")
    monkeypatch.setenv("SARTOR_OCI_PASSWORD", "wrong")
    with pytest.raises(TransferError, match="is not enough") as caught:
        push(bundle.folder, address)
    assert "wrong" not in str(caught.value)
    monkeypatch.setenv("SARTOR_OCI_PASSWORD", SECRET)
    kept.seen.clear()
    kept.asked.clear()
    push(bundle.folder, address)
    pull(address, tmp_path / "got")
    told = {path: who for path, who in zip(kept.asked, kept.seen, strict=True) if who}
    assert [path for path, who in told.items() if who.startswith("Basic")] == ["GET /token"]


def test_who_asks_is_not_told_to_the_host_that_blobs_are_read_from(
    held: tuple[str, servers.Kept],
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    address, kept = held
    monkeypatch.setenv("SARTOR_OCI_USER", "ana")
    monkeypatch.setenv("SARTOR_OCI_PASSWORD", SECRET)
    kept.password = SECRET
    push(bundle.folder, address)
    with servers.registry() as (url, other):
        other.blobs, kept.elsewhere = kept.blobs, url
        pull(address, tmp_path / "got")
    assert len(other.asked) == 5
    assert set(other.seen) == {None}


def test_a_digest_pins_the_bundle_whatever_the_tag_says(
    held: tuple[str, servers.Kept], bundle: Bundle, tmp_path: Path
):
    address, kept = held
    pinned = push(bundle.folder, address).address
    assert "@sha256:" in pinned
    forged = json.loads(kept.lists["1"]) | {"annotations": {"x": "y"}}
    kept.lists[pinned.partition("@")[2]] = json.dumps(forged).encode()
    with pytest.raises(TransferError, match="another manifest"):
        pull(pinned, tmp_path / "got")
    pull(address, tmp_path / "got")
    with pytest.raises(SettingError, match="cannot be written to"):
        push(bundle.folder, pinned)


@pytest.mark.parametrize(
    ("manifest", "what"),
    [
        (b"{", "is no bundle"),
        (b'{"manifests": []}', "layers: Field required"),
        (b'{"layers": [{"digest": "md5:12", "size": 1}]}', "digest"),
        (b'{"layers": []}', "lists no manifest.json"),
        (b" " * 4_000_001, "longer than 4 MB"),
    ],
)
def test_a_manifest_that_is_no_bundles_is_refused(
    held: tuple[str, servers.Kept], tmp_path: Path, manifest: bytes, what: str
):
    address, kept = held
    kept.lists["1"] = manifest
    with pytest.raises(TransferError, match=what):
        pull(address, tmp_path / "got")


@pytest.mark.parametrize(
    ("status", "what"),
    [(403, r"refuses to send .* \(403\)"), (404, "has no repository"), (503, "answered 503")],
)
def test_a_registry_that_does_not_take_a_file_is_named(
    held: tuple[str, servers.Kept], bundle: Bundle, status: int, what: str
):
    address, kept = held
    kept.fault = lambda method, path: status if method == "POST" else None
    with pytest.raises(TransferError, match=what):
        push(bundle.folder, address)
    kept.fault = lambda method, path: None
    assert push(bundle.folder, address).sent == 5


def test_what_was_sent_before_a_fault_is_not_sent_again(
    held: tuple[str, servers.Kept], bundle: Bundle
):
    address, kept = held
    kept.fault = lambda method, path: 500 if len(kept.blobs) == 3 and method == "PUT" else None
    with pytest.raises(TransferError, match="answered 500"):
        push(bundle.folder, address)
    assert kept.lists == {}
    kept.fault = lambda method, path: None
    done = push(bundle.folder, address)
    assert (done.sent, done.there) == (2, 3)


def test_a_pull_that_fails_is_not_told_that_it_goes_on(
    held: tuple[str, servers.Kept], bundle: Bundle, tmp_path: Path
):
    address, kept = held
    push(bundle.folder, address)
    asked: list[str] = []

    def once(method: str, path: str) -> int | None:
        asked.append(path)
        return 500 if len(asked) == 4 else None

    kept.fault = once
    with pytest.raises(TransferError, match="answered 500") as caught:
        pull(address, tmp_path / "got")
    assert "a pull begins anew" in caught.value.fix
    first = [path for path in asked if "/blobs/" in path]
    asked[:] = [""] * 4
    pull(address, tmp_path / "got")
    assert set(first) < set(asked), "what was fetched is fetched again"


def test_a_host_that_is_not_there_is_named(bundle: Bundle):
    with pytest.raises(TransferError, match=r"registry\.invalid cannot be reached"):
        push(bundle.folder, "oci://registry.invalid/name:1")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_asked_unless_it_is_not_for_that_host(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    with servers.registry() as (url, proxy):  # what it is asked tells; it can connect nobody
        monkeypatch.setenv(variable, url)
        for act in (
            lambda: push(bundle.folder, "oci://registry.invalid/shop/reviews:1"),
            lambda: pull("oci://registry.invalid/shop/reviews:1", tmp_path / "got"),
        ):
            proxy.connects.clear()
            with pytest.raises(TransferError, match=r"registry\.invalid cannot be reached"):
                act()
            assert set(proxy.connects) == {"registry.invalid:443"}
        proxy.connects.clear()
        monkeypatch.setenv("NO_PROXY", "registry.invalid")
        with pytest.raises(TransferError, match="cannot be reached"):
            push(bundle.folder, "oci://registry.invalid/shop/reviews:1")
        assert not proxy.connects


def test_no_proxy_is_asked_for_a_registry_on_this_machine(
    held: tuple[str, servers.Kept], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert push(bundle.folder, held[0]).sent == 5


def test_a_connection_that_does_not_come_about_is_tried_again(
    held: tuple[str, servers.Kept], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
):
    connect, refused = socket.create_connection, [0, 1]

    def second(*given: Any, **more: Any) -> socket.socket:
        if refused:
            refused.pop()
            raise ConnectionRefusedError
        return connect(*given, **more)

    monkeypatch.setattr(socket, "create_connection", second)
    assert push(bundle.folder, held[0]).sent == 5
    assert not refused


@pytest.mark.parametrize("proxy", ["ftp://proxy:1", "socks5://127.0.0.1:9", "http://a b:x"])
def test_a_proxy_that_cannot_be_used_is_told(proxy: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(SettingError, match="HTTPS_PROXY"):
        store_of("oci://registry.invalid/shop/reviews:1")
