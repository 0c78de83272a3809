"""A container registry: `oci://host/name:tag`, or `oci://host/name@sha256:…` for one bundle alone.

A bundle is an image manifest whose layers are its files, titled by their names, as ORAS writes
and reads them. Registries keep layers by their SHA-256 and take each whole or not at all; the
manifest comes last.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
"""

import hashlib
import ipaddress
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sartor.core.errors import SettingError, TransferError
from sartor.core.forms import first_fault
from sartor.ship.stores import AGAIN, STORES, Item

USER, PASSWORD = "SARTOR_OCI_USER", "SARTOR_OCI_PASSWORD"
_ADDRESS = re.compile(
    r"oci://(?P<host>[A-Za-z0-9.-]+(?::[0-9]{1,5})?)"
    r"/(?P<name>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})|@(?P<digest>sha256:[0-9a-f]{64}))"
)
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_ARTIFACT = "application/vnd.sartor.bundle.v1"
_LAYER = "application/vnd.sartor.bundle.file.v1"
_EMPTY, _EMPTY_KIND = b"{}", "application/vnd.oci.empty.v1+json"
_TITLE = "org.opencontainers.image.title"
_MOST_BYTES = 4_000_000
"""Of a manifest: what registries take."""
_PIECE = 1 << 20
_PAUSES = (0.0, 0.5)
"""Seconds after which a connection that did not come about is tried again."""


class _Layer(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: int = Field(ge=0)
    annotations: dict[str, str] = Field(default_factory=dict)


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    layers: list[_Layer] = Field(max_length=20_000)


class _Token(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    token: str = ""
    access_token: str = ""


@STORES.add
class Repository:
    """
    Args:
        address: `oci://host/name:tag` or `oci://host/name@sha256:…`.

    Raises:
        SettingError: If it is not of that form.
    """

    def __init__(self, address: str) -> None:
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise SettingError(
                f"{address!r} names no repository and tag.",
                fix="write oci://host/name:tag, in lower case; who asks comes from"
                f" {USER} and {PASSWORD}.",
            )
        self.address, self.host, self.name = address, found["host"], found["name"]
        self.tag, self.digest = found["tag"], found["digest"]
        # As container tools have it: a registry on this machine speaks plain HTTP.
        scheme = "http" if _is_here(self.host.partition(":")[0]) else "https"
        self._base = httpx.URL(f"{scheme}://{self.host}/v2/{self.name}/")
        self._authorisation: str | None = None
        self._http = self._client()

    def send(self, item: Item, path: Path) -> bool:
        return self._send(item.sha256, item.bytes, path, item.name)

    def publish(self, items: Sequence[Item]) -> str:
        if self.tag is None:
            raise SettingError(
                f"{self.address} names content, which cannot be written to.", fix="name a tag."
            )
        empty = hashlib.sha256(_EMPTY).hexdigest()
        self._send(empty, len(_EMPTY), _EMPTY, "the empty configuration")
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": _ARTIFACT,
            "config": _described(_EMPTY_KIND, empty, len(_EMPTY)),
            "layers": [
                {**_described(_LAYER, i.sha256, i.bytes), "annotations": {_TITLE: i.name}}
                for i in items
            ],
        }
        data = json.dumps(manifest, separators=(",", ":")).encode()
        url = self._base.join(f"manifests/{self.tag}")
        reply = self._ask("PUT", url, data, {"content-type": _MANIFEST})
        self._expect(reply, 201, "publish the bundle")
        return f"oci://{self.host}/{self.name}@sha256:{hashlib.sha256(data).hexdigest()}"

    def listed(self) -> list[Item]:
        url = self._base.join(f"manifests/{self.tag or self.digest}")
        with self._streamed(url, {"accept": _MANIFEST}) as reply:
            self._expect(reply, 200, "read its list", missing=f"There is no {self.address}.")
            data = self._capped(reply)
        if self.digest and f"sha256:{hashlib.sha256(data).hexdigest()}" != self.digest:
            raise TransferError(
                f"{self.host} gave another manifest than {self.digest}.",
                fix="do not use it; tell who runs the registry.",
            )
        try:
            found = _Manifest.model_validate_json(data)
        except ValidationError as error:
            raise TransferError(
                f"{self.address} is no bundle: its manifest's {first_fault(error)}.",
                fix="check the address, or push the bundle again.",
            ) from None
        return [
            Item(
                layer.annotations.get(_TITLE, ""), layer.digest.removeprefix("sha256:"), layer.size
            )
            for layer in found.layers
        ]

    def fetch(self, item: Item) -> Iterator[bytes]:
        url = self._base.join(f"blobs/sha256:{item.sha256}")
        gone = f"{self.address} lists {item.name}, and it is gone."
        with self._streamed(url, {}) as reply:
            self._expect(reply, 200, f"fetch {item.name}", missing=gone)
            with self._reached():
                yield from reply.iter_raw(_PIECE)

    def close(self) -> None:
        self._http.close()

    def _client(self) -> httpx.Client:
        # With a transport of our own httpx would ask no proxy of the environment. As container
        # tools have it, none is asked for a registry on this machine.
        here = self._base.scheme == "http"
        try:
            return httpx.Client(
                timeout=httpx.Timeout(60, connect=10),
                mounts={f"all://{self._base.host}": None} if here else None,
                # What is hashed is what the registry keeps, not a packed form of it.
                headers={"accept-encoding": "identity"},
            )
        except (ImportError, ValueError, httpx.InvalidURL):
            raise SettingError(
                "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names a proxy that cannot be used here.",
                fix="write its URL as http://host:port, or unset the variable.",
            ) from None

    def _send(self, sha256: str, size: int, content: Path | bytes, name: str) -> bool:
        what, digest = f"send {name}", f"sha256:{sha256}"
        there = self._ask("HEAD", self._base.join(f"blobs/{digest}"))
        if there.status_code == 200 and there.headers.get("content-length") in (None, str(size)):
            return False
        if there.status_code != 404:
            self._expect(there, 404, what)
        begun = self._ask("POST", self._base.join("blobs/uploads/"), b"")
        self._expect(begun, 202, what)
        # Where to, the registry says; it may be another machine, which is not told who asks.
        to = self._base.join(begun.headers.get("location", "")).copy_merge_params(
            {"digest": digest}
        )
        if to.scheme != self._base.scheme and not _is_here(to.host):
            raise TransferError(
                f"{self.host} wants {name} sent to {to.host} over plain HTTP.",
                fix="tell who runs the registry: it takes its own address to be http://.",
            )
        headers = {"content-type": "application/octet-stream", "content-length": str(size)}
        self._expect(self._ask("PUT", to, content, headers), 201, what)
        return True

    def _ask(
        self,
        method: str,
        url: httpx.URL,
        content: Path | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """The reply, after the registry was told who asks, where it wants to know.

        A body that is a path is read anew each time.
        """
        with self._reached():
            reply = self._once(method, url, content, headers)
            if reply.status_code == 401:
                self._authorise(reply)
                reply = self._once(method, url, content, headers)
            return reply

    def _once(
        self,
        method: str,
        url: httpx.URL,
        content: Path | bytes | None,
        headers: dict[str, str] | None,
    ) -> httpx.Response:
        body = _pieces(content) if isinstance(content, Path) else content
        told = {**(headers or {}), **self._told(url)}
        request = self._http.build_request(method, url, content=body, headers=told)
        with closing(self._sent(request)) as reply:
            self._capped(reply)  # so that the connection serves again
        return reply

    def _sent(
        self, request: httpx.Request, auth: httpx.Auth | None = None, *, on: bool = False
    ) -> httpx.Response:
        """A reply whose body was not read yet. Nothing was sent where no connection came about: it
        is tried again.

        Args:
            request: What is asked.
            auth: Who asks.
            on: Go on to where the reply sends the reader.
        """
        for pause in _PAUSES:
            try:
                return self._http.send(request, stream=True, auth=auth, follow_redirects=on)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                time.sleep(pause)
        return self._http.send(request, stream=True, auth=auth, follow_redirects=on)

    @contextmanager
    def _streamed(self, url: httpx.URL, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """A reply whose body was not read yet; registries send readers on to where blobs lie."""
        for again in (True, False):
            with self._reached():
                request = self._http.build_request(
                    "GET", url, headers={**headers, **self._told(url)}
                )
                # Who asks is not told to another host: httpx leaves that header out then.
                reply = self._sent(request, on=True)
            try:
                if reply.status_code != 401 or not again:
                    yield reply
                    return
                with self._reached():
                    self._authorise(reply)
            finally:
                reply.close()

    def _told(self, url: httpx.URL) -> dict[str, str]:
        same = (url.scheme, url.host, url.port) == (
            self._base.scheme,
            self._base.host,
            self._base.port,
        )
        return {"authorization": self._authorisation} if self._authorisation and same else {}

    def _authorise(self, refusal: httpx.Response) -> None:
        """Get what the registry wants to see, from where it says.

        Reference: https://distribution.github.io/distribution/spec/auth/token/
        """
        kind, _, rest = refusal.headers.get("www-authenticate", "").partition(" ")
        who = (os.environ.get(USER, ""), os.environ.get(PASSWORD, ""))
        known = httpx.BasicAuth(*who) if all(who) else None
        if kind.lower() == "basic" and known is not None:
            request = next(known.auth_flow(httpx.Request("GET", self._base)))
            self._authorisation = request.headers["authorization"]
            return
        asked = dict(re.findall(r'([a-z]+)="([^"]*)"', rest))
        if kind.lower() != "bearer" or "realm" not in asked:
            raise self._unknown()
        realm = httpx.URL(asked.pop("realm"))
        if realm.scheme != "https" and not _is_here(realm.host):
            raise TransferError(
                f"{self.host} wants to be told who asks at {realm.host} over plain HTTP.",
                fix="use a registry whose tokens are given over HTTPS.",
            )
        wanted = {key: asked[key] for key in ("service", "scope") if key in asked}
        request = self._http.build_request("GET", realm, params=wanted)
        with closing(self._sent(request, known)) as reply:
            data = self._capped(reply)
        if reply.status_code in (401, 403):
            raise self._unknown()
        self._expect(reply, 200, "give a token")
        try:
            found = _Token.model_validate_json(data)
        except ValidationError:
            raise self._unknown() from None
        self._authorisation = f"Bearer {found.token or found.access_token}"

    def _unknown(self) -> TransferError:
        state = "is not enough" if os.environ.get(USER) else "are not set"
        return TransferError(
            f"{self.host} wants to know who asks, and what {USER} and {PASSWORD} hold {state}.",
            fix="set both to an account that may use the repository; a token is a password.",
        )

    def _expect(self, reply: httpx.Response, status: int, what: str, missing: str = "") -> None:
        got = reply.status_code
        if got == status:
            return
        if got in (401, 403):
            raise TransferError(
                f"{self.address} refuses to {what} ({got}).",
                fix=f"check {USER} and {PASSWORD}, and what that account may do.",
            )
        if got == 404:
            raise TransferError(
                missing or f"{self.host} has no repository {self.name!r}.",
                fix="check the address; some registries want repositories to be made before.",
            )
        raise TransferError(
            f"{self.address} could not {what}: {self.host} answered {got}.",
            fix=AGAIN,
        )

    def _capped(self, reply: httpx.Response) -> bytes:
        data = b""
        with self._reached():
            for piece in reply.iter_raw(_PIECE):
                data += piece
                if len(data) > _MOST_BYTES:
                    raise TransferError(
                        f"What {self.host} says of {self.address} is longer than"
                        f" {_MOST_BYTES / 1e6:.0f} MB.",
                        fix="check the address, or push the bundle again.",
                    )
        return data

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransferError(
                f"{self.host} cannot be reached: {type(error).__name__}.",
                fix=f"check the name and the network; then {AGAIN}",
            ) from None


def _described(kind: str, sha256: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{sha256}", "size": size}


def _is_here(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
