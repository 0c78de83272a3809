"""Who may ask: bearer keys, and browsers only from our own page.

Once any key exists, every route that is not public wants one. Without keys only the loopback
address is served, and there two attacks remain that a browser can carry from a foreign page:
a name that is rebound to 127.0.0.1 (seen in Host) and a cross-site POST (seen in Origin).
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Mapping

from sartor.core.errors import RequestError, WorkspaceError
from sartor.core.store import Store, token_hash
from sartor.serve.routes import Right
from sartor.serve.settings import ServeSettings, is_loopback

_FRESH_S, _STALE_S = 5.0, 60.0
_log = logging.getLogger(__name__)


class Gate:
    """Decides whether a request is let in."""

    def __init__(self, settings: ServeSettings, store: Store | None) -> None:
        self._settings, self._store = settings, store
        self._fixed = token_hash(settings.key) if settings.key else None
        self._hashes: frozenset[str] = frozenset()
        self._any_stored = False
        self._read_at = self._known_at = -_FRESH_S
        self._reading = asyncio.Lock()
        self._read()

    @property
    def wants_key(self) -> bool:
        """Whether a key is needed: one exists, or others than this machine can reach us."""
        return self._fixed is not None or self._any_stored or not self._settings.loopback

    @property
    def has_key(self) -> bool:
        """Whether any key would be let in."""
        return self._fixed is not None or bool(self._hashes)

    async def check(self, method: str, right: Right, headers: Mapping[str, str]) -> None:
        """Let a request in, or refuse it.

        Args:
            method: Upper case.
            right: What the route wants.
            headers: Lower-case name to value.

        Raises:
            RequestError: 401 without a valid key, 403 from a foreign host or page, 503 when the
                store has not been readable for a minute.
        """
        self._check_host(headers.get("host", ""))
        if method not in ("GET", "HEAD"):
            self._check_origin(headers)
        if right == "public":
            return
        await self._refresh()
        if self._read_at - self._known_at > _STALE_S:
            raise RequestError(
                "API keys cannot be checked now.", fix="try again in a minute.", status=503
            )
        if self.wants_key and not self._valid(headers.get("authorization", "")):
            raise RequestError(
                "This needs an API key.",
                fix="send the header `Authorization: Bearer KEY`.",
                status=401,
            )

    def _valid(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return False
        found = token_hash(token.strip())
        if self._fixed is not None and hmac.compare_digest(found, self._fixed):
            return True
        return found in self._hashes

    def _check_host(self, host: str) -> None:
        allowed = self._settings.allowed_hosts
        name = _name(host)
        if name in allowed or (not self._settings.loopback and not allowed):
            return
        if self._settings.loopback and is_loopback(name):
            return
        raise RequestError(
            f"This server is not called {host[:100]!r}.",
            fix="use its own address, or start it with that name among the allowed hosts.",
            status=403,
        )

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        origin = headers.get("origin")
        foreign = headers.get("sec-fetch-site") == "cross-site"
        if origin is not None:
            foreign |= origin.partition("://")[2] != headers.get("host", "")
        if foreign:
            raise RequestError(
                f"A page of {origin or 'another site'} may not send requests here.",
                fix="call the API from a server, or use the page that this server shows.",
                status=403,
            )

    async def _refresh(self) -> None:
        """Read the keys again after a few seconds, so that a revoked one stops working."""
        if self._store is None or time.monotonic() - self._read_at < _FRESH_S:
            return
        async with self._reading:
            if time.monotonic() - self._read_at < _FRESH_S:
                return
            try:
                await asyncio.to_thread(self._read)
            except WorkspaceError as error:
                # The keys that were read last hold a while longer.
                self._read_at = time.monotonic()
                _log.error("API keys cannot be read: %s", error.what)

    def _read(self) -> None:
        if self._store is None:
            return
        keys = self._store.keys()
        self._hashes = frozenset(key.hash for key in keys if key.revoked is None)
        self._any_stored = bool(keys)
        self._read_at = self._known_at = time.monotonic()


def _name(host: str) -> str:
    """A Host header without its port: `[::1]:80` and `localhost:80` included."""
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]
