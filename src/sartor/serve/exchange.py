"""What is known of one request while it is answered: for its log line, its metrics, its headers."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import Scope

from sartor.serve.auth import Caller
from sartor.serve.ids import is_sane, new_id
from sartor.serve.limits import Bucket
from sartor.serve.room import Place
from sartor.serve.routes import Right, Routes
from sartor.serve.waiting import Timing
from sartor.serve.wording import language_of

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
    accepted: str = ""
    """Languages that the client would read, as it sent them."""
    caller: Caller | None = None
    """Who asks, once they were let in."""
    bucket: Bucket | None = None
    """Where its rows are charged, if they are."""
    timing: Timing | None = None
    """When its rows waited and were computed."""
    status: int = 500
    rows: int = 0
    """Rows answered."""
    model: str | None = None
    """Content id of the bundle that answered."""
    answer: str | None = None
    """Under which id the answer was recorded."""
    shed: Place | None = None
    """What was full, where it was refused for want of room."""

    @staticmethod
    def begin(scope: Scope, headers: Mapping[str, str], routes: Routes) -> "Exchange":
        """Start to keep book of a request.

        Args:
            scope: ASGI's; the exchange is put into it.
            headers: Lower-case name to value.
            routes: Where the path is looked up.
        """
        given = headers.get("x-request-id", "")
        sane = is_sane(given)
        method = scope["method"]
        route, right = routes.find(method, scope["path"])
        known = method if method in _METHODS else "OTHER"
        accepted = headers.get("accept-language", "")
        found = Exchange(given if sane else new_id(), not sane, known, route, right, accepted)
        scope[_KEY] = found
        return found

    @staticmethod
    def of(scope: Scope) -> "Exchange":
        """The one that `begin` put there."""
        return scope[_KEY]

    def retry_after_s(self, waiting_s: int) -> int:
        """Seconds to tell a client to stay away: until its bucket has a token, else `waiting_s`."""
        return max(1, self.bucket.wait_s if self.bucket and self.bucket.wait_s else waiting_s)

    def sent(self) -> list[tuple[bytes, bytes]]:
        """Headers of the reply, whatever it is."""
        found = [(b"x-request-id", self.id.encode("ascii"))]
        return found + self.bucket.headers if self.bucket else found

    @property
    def language(self) -> str:
        """What the server says is said in it."""
        return language_of(self.accepted)

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
