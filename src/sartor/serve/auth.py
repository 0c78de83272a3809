"""Who may ask, and what: bearer keys with roles, and browsers only from our own page.

Once any key exists, every route that is not public wants one. Without keys only the loopback
address is served, and there two attacks remain that a browser can carry from a foreign page:
a name that is rebound to 127.0.0.1 (seen in Host) and a cross-site POST (seen in Origin).
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from sartor.core.errors import RequestError
from sartor.core.grants import ROLES, Grant
from sartor.core.store import Store, token_hash
from sartor.serve.routes import Right
from sartor.serve.settings import ServeSettings, is_loopback
from sartor.serve.stored_keys import StoredKeys


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the holder of a key, or whoever uses this machine where no key exists.

    Args:
        key: Its number in the store, "environment" for the server's own, None without one.
        grant: What they may do.
    """

    key: int | str | None
    grant: Grant

    def permit(self, right: Right) -> None:
        """
        Raises:
            RequestError: 403 where the role lacks the right.
        """
        if right in ("public", "any") or self.grant.allows(right):
            return
        able = [role for role in ROLES if Grant(role).allows(right)]
        raise RequestError(
            f"The key has the role {self.grant.role!r}, which may not do this.",
            fix=f"use a key with the role {' or '.join(able)}.",
            status=403,
        )


_ANYBODY = Caller(None, Grant("admin"))
_OWN = Caller("environment", Grant("admin"))


class Gate:
    """Decides whether a request is let in."""

    def __init__(self, settings: ServeSettings, store: Store | None) -> None:
        self._settings, self._stored = settings, StoredKeys(store)
        self._fixed = token_hash(settings.key) if settings.key else None

    @property
    def wants_key(self) -> bool:
        """Whether a key is needed: one exists, or others than this machine can reach us."""
        return self._fixed is not None or self._stored.any or not self._settings.loopback

    @property
    def has_key(self) -> bool:
        """Whether any key would be let in."""
        return self._fixed is not None or bool(self._stored.grants)

    async def check(self, method: str, right: Right, headers: Mapping[str, str]) -> Caller:
        """Who asks, where a request may come in at all; what they may do is `Caller.permit`'s.

        Args:
            method: Upper case.
            right: What the route wants.
            headers: Lower-case name to value.

        Raises:
            RequestError: 401 without a valid key, 403 from a foreign host or page, 503 when the
                store has not been readable for a minute.
        """
        self._check_host(headers.get("host", ""), right)
        if method not in ("GET", "HEAD"):
            self._check_origin(headers)
        if right == "public":
            return _ANYBODY
        given = _hash(headers.get("authorization", ""))
        if given and self._fixed is not None and hmac.compare_digest(given, self._fixed):
            # Before the store is asked, which may hang.
            return _OWN
        await self._stored.refresh()
        if not self.wants_key:
            return _ANYBODY
        found = self._stored.grants.get(given) if given else None
        if found is None:
            raise RequestError(
                "This needs an API key.",
                fix="send the header `Authorization: Bearer KEY`.",
                status=401,
            )
        return Caller(*found)

    def _check_host(self, host: str, right: Right) -> None:
        """A foreign name is let in where it can do nothing: what is public tells nothing, and what
        counts us calls us by an address and, where others reach us, always has a key."""
        settings = self._settings
        if right == "public" or not (settings.loopback or settings.allowed_hosts):
            return
        if right == "metrics" and not settings.loopback:
            return
        name = _name(host).lower()
        if is_loopback(name) or name in (each.lower() for each in settings.allowed_hosts):
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
            foreign |= origin.partition("://")[2].lower() != headers.get("host", "").lower()
        if foreign:
            raise RequestError(
                f"A page of {origin or 'another site'} may not send requests here.",
                fix="call the API from a server, or use the page that this server shows.",
                status=403,
            )


def _hash(header: str) -> str | None:
    """Of the bearer token that a header holds; None without one."""
    scheme, _, token = header.partition(" ")
    return token_hash(token.strip()) if scheme.lower() == "bearer" else None


def _name(host: str) -> str:
    """A Host header without its port: `[::1]:80` and `localhost:80` included."""
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]
