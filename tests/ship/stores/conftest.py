"""Places to push to: a folder, a bucket, a registry, and real servers where there are any."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sartor.bundle import Bundle, write_bundle
from tests.bundle.test_folder import draft
from tests.ship.stores import servers


@dataclass(frozen=True)
class Place:
    """Where a test pushes.

    Args:
        address: As a user writes it.
        spoil: Puts other content in the place of a blob, by its SHA-256.
    """

    address: str
    spoil: Callable[[str, bytes], object]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make(tmp_path / "reviews", bytes(range(256)) * 40)


def make(folder: Path, graph: bytes) -> Bundle:
    sources = folder.with_name(f"{folder.name} sources")
    sources.mkdir()
    (sources / "graph").write_bytes(graph)
    (sources / "pieces").write_text("{}")
    content = {"model.onnx": sources / "graph", "tokenizer.json": sources / "pieces"}
    return write_bundle(folder, draft(), content, "name: reviews\n")


@pytest.fixture(autouse=True)
def nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "SARTOR_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@contextmanager
def a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    folder = tmp_path / "share" / "reviews"
    yield Place(str(folder), lambda sha, data: (folder / "blobs" / sha).write_bytes(data))


@contextmanager
def a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    pytest.importorskip("boto3", reason="needs sartor[s3]")
    with servers.bucket() as (url, kept):
        asked_as(monkeypatch, url)
        yield Place(
            "s3://models/team/reviews",
            lambda sha, data: kept.blobs.update({f"team/reviews/blobs/{sha}": data}),
        )


@contextmanager
def a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with servers.registry() as (url, kept):
        yield Place(
            f"oci://{url.removeprefix('http://')}/shop/reviews:1",
            lambda sha, data: kept.blobs.update({f"sha256:{sha}": data}),
        )


@contextmanager
def moto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    server: Any = pytest.importorskip("moto.server", reason="needs moto[server]")
    import boto3

    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        asked_as(monkeypatch, f"http://{host}:{port}")
        httpx.post(f"http://{host}:{port}/moto-api/reset")  # what it holds is the process's
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        yield Place(
            "s3://models/reviews",
            lambda sha, data: client.put_object(
                Bucket="models", Key=f"reviews/blobs/{sha}", Body=data
            ),
        )
    finally:
        running.stop()


@contextmanager
def docker_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if (program := shutil.which("docker-registry")) is None:
        pytest.skip("needs docker-registry (Debian has a package of that name)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root, config = tmp_path / "registry", tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with subprocess.Popen(
        [program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _until_up(f"http://127.0.0.1:{port}/v2/", process)

            def spoil(sha: str, data: bytes) -> None:
                place = root / "docker/registry/v2/blobs/sha256" / sha[:2] / sha / "data"
                place.write_bytes(data)

            yield Place(f"oci://127.0.0.1:{port}/shop/reviews:1", spoil)
        finally:
            process.kill()


def _until_up(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(url)
        except httpx.ConnectError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"docker-registry did not answer at {url}")


def asked_as(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTTESTTESTTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-somebody")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(params=[a_folder, a_bucket, a_registry, moto, docker_registry])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Each kind of place in turn; a real server that is not there is skipped."""
    with request.param(tmp_path, monkeypatch) as found:
        yield found
