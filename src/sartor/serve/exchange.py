"""What is known of one request while it is answered: for its log line, its metrics, its headers."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import Scope

from sartor.serve.auth import Caller
from sartor.serve.room import Place
from sartor.serve.routes import Right, Routes

_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_KEY = "sartor.exchange"


@dataclass(slots=True)
class Exchange:
    """One request and what became of it.

    Args:
        id: Returned as `x-request-id`: the client's own where that is sane, else made here.
        made: Whether the id was made here, so that it cannot be another request's.
        method: `OTHER` where it is none of HTTP's usual ones.
        route: The route's template, never the path that the client sent.
        right: What the route wants.
    """

    id: str
    made: bool
    method: str
    route: str
    right: Right
    caller: Caller | None = None
    """Who asks, once they were let in."""
    status: int = 500
    rows: int = 0
    """Rows answered."""
    model: str | None = None
    """Content id of the bundle that answered."""
    answer: str | None = None
    """Under which id the answer was recorded."""
    shed: Place | None = None
    """What was full, where it was refused for want of room."""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    """Sent with the reply, whatever it is."""

    @staticmethod
    def begin(scope: Scope, headers: Mapping[str, str], routes: Routes) -> "Exchange":
        """Start to keep book of a request.

        Args:
            scope: ASGI's; the exchange is put into it.
            headers: Lower-case name to value.
            routes: Where the path is looked up.
        """
        given = headers.get("x-request-id", "")
        sane = _SANE.fullmatch(given) is not None
        method = scope["method"]
        route, right = routes.find(method, scope["path"])
        known = method if method in _METHODS else "OTHER"
        found = Exchange(given if sane else new_id(), not sane, known, route, right)
        found.headers.append((b"x-request-id", found.id.encode("ascii")))
        scope[_KEY] = found
        return found

    @staticmethod
    def of(scope: Scope) -> "Exchange":
        """The one that `begin` put there."""
        return scope[_KEY]

    @property
    def tenant(self) -> str | None:
        """Whose answers and feedback it may make and see."""
        return self.caller.grant.tenant if self.caller else None

    def own_id(self) -> str:
        """An id to record an answer under.

        A client's own id never is: two clients may send the same one, and one of them could then
        keep the other's answer from being recorded, or guess where feedback on it belongs.
        """
        return self.id if self.made else new_id()


def new_id() -> str:
    """128 random bits, 32 hex digits."""
    return secrets.token_hex(16)
