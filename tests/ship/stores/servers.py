"""A bucket and a registry on loopback: as much of either protocol as a bundle needs, and faults.

They stand beside the real ones (moto, docker-registry), which not every machine has.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Kept:
    """What a server holds, and what it was asked.

    Args:
        blobs: By key or digest.
        lists: By tag or digest; a registry's manifests.
        asked: Method and path, in order.
        fault: Asked first; a status that it gives is answered at once.
        password: Of the account "ana"; empty where anybody may ask.
        seen: The authorisation of each request.
        elsewhere: Another host's address that readers of blobs are sent on to.
        connects: What it was to connect to, were it a proxy.
        told: By key, what a bucket's writer said of a blob, and that blob.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    lists: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fault: Callable[[str, str], int | None] = lambda method, path: None
    password: str = ""
    seen: list[str | None] = field(default_factory=list)
    elsewhere: str = ""
    connects: list[str] = field(default_factory=list)
    told: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kept: Kept

    def log_message(self, *args: object) -> None: ...

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" not in (self.headers.get("Content-Encoding") or ""):
            return data
        found = b""
        while data:
            head, _, rest = data.partition(b"\r\n")
            size = int(head.partition(b";")[0], 16)
            if not size:
                break
            found, data = found + rest[:size], rest[size + 2 :]
        return found

    def handle_one(self) -> None:
        kept, path = self.kept, urlsplit(self.path).path
        data = self.body()
        kept.asked.append(f"{self.command} {path}")
        kept.seen.append(self.headers.get("Authorization"))
        if (status := kept.fault(self.command, path)) is not None:
            self.answer(status)
            return
        self.serve(path, data)

    def serve(self, path: str, data: bytes) -> None:
        raise NotImplementedError

    def do_CONNECT(self) -> None:
        self.kept.connects.append(self.path)
        self.answer(502)
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = handle_one


class _Bucket(_Handler):
    def serve(self, path: str, data: bytes) -> None:
        bucket, _, key = path.removeprefix("/").partition("/")
        if bucket != "models":
            self.fail(404, "NoSuchBucket")
        elif self.command == "PUT":
            said = {k: v for k, v in self.headers.items() if k.lower().startswith("x-amz-meta-")}
            self.kept.blobs[key], self.kept.told[key] = data, (data, said)
            self.answer(200)
        elif key in self.kept.blobs:
            found = self.kept.blobs[key]
            of, said = self.kept.told.get(key, (b"", {}))
            self.answer(200, found, **(said if of is found else {}))
        else:
            self.fail(404, "NoSuchKey")

    def fail(self, status: int, code: str) -> None:
        body = b"" if self.command == "HEAD" else f"<Error><Code>{code}</Code></Error>".encode()
        self.answer(status, body, Content_Type="application/xml")


class _Registry(_Handler):
    def serve(self, path: str, data: bytes) -> None:
        kept = self.kept
        if path == "/token":
            who = base64.b64encode(f"ana:{kept.password}".encode()).decode()
            right = self.headers.get("Authorization") == f"Basic {who}"
            self.answer(200 if right else 401, b'{"token": "a-token"}')
            return
        if kept.password and self.headers.get("Authorization") != "Bearer a-token":
            realm = f"http://{self.headers['Host']}/token"
            told = (
                f'Bearer realm="{realm}",service="here",scope="repository:shop/reviews:pull,push"'
            )
            self.answer(401, WWW_Authenticate=told)
            return
        kind = re.fullmatch(r"/v2/shop/reviews/(blobs|manifests|uploads)/(.*)", path)
        if kind is None:
            self.answer(404)
        else:
            getattr(self, kind[1])(kind[2], data)

    def blobs(self, name: str, data: bytes) -> None:
        if self.command == "POST":
            self.answer(202, Location="/v2/shop/reviews/uploads/1?state=x")
        elif name not in self.kept.blobs:
            self.answer(404)
        elif self.kept.elsewhere and self.command == "GET":
            self.answer(307, Location=f"{self.kept.elsewhere}/v2/shop/reviews/blobs/{name}")
        else:
            self.answer(200, self.kept.blobs[name])

    def uploads(self, name: str, data: bytes) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if asked != {"state": ["x"], "digest": [digest]}:
            self.answer(400)
            return
        self.kept.blobs[digest] = data
        self.answer(201)

    def manifests(self, name: str, data: bytes) -> None:
        lists = self.kept.lists
        if self.command == "PUT":
            listed = json.loads(data)
            needed = [listed["config"], *listed["layers"]]
            if any(part["digest"] not in self.kept.blobs for part in needed):
                self.answer(400)
                return
            lists[name] = lists[f"sha256:{hashlib.sha256(data).hexdigest()}"] = data
            self.answer(201)
        elif name in lists:
            kind = "application/vnd.oci.image.manifest.v1+json"
            self.answer(200, lists[name], Content_Type=kind)
        else:
            self.answer(404)


@contextmanager
def bucket() -> Iterator[tuple[str, Kept]]:
    """(its URL, what it holds): the bucket "models"."""
    with _running(_Bucket) as found:
        yield found


@contextmanager
def registry() -> Iterator[tuple[str, Kept]]:
    """(its URL, what it holds): the repository "shop/reviews"."""
    with _running(_Registry) as found:
        yield found


@contextmanager
def _running(kind: Any) -> Iterator[tuple[str, Kept]]:
    kept = Kept()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (kind,), {"kept": kept}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
