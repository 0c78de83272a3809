"""The table of routes: what answers where, and the right that it wants.

The layer in front of the router decides by the same patterns that the router matches, so a route
cannot be reached under another route's right. What matches no pattern wants some valid key.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Handler = Callable[[Request], Awaitable[Response]]
Right = Literal["public", "any", "predict", "feedback", "metrics", "admin"]
"""What a route wants of a caller: nothing, some valid key, or a key whose role has this right."""
OTHER = "other"
"""Stands for every path that no route has, so that clients cannot make up names in metrics."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route.

    Args:
        path: With its parameters in braces, as it appears in logs and metrics.
        right: Has no default: a route whose policy nobody stated does not exist.
    """

    method: str
    path: str
    right: Right
    handler: Handler


class Routes:
    """All routes of a server."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self.routes = [Route(e.path, e.handler, methods=[e.method]) for e in self.endpoints]
        self._rights: dict[str, dict[str, Right]] = {}
        for endpoint in self.endpoints:
            self._rights.setdefault(endpoint.path, {})[endpoint.method] = endpoint.right
        self._patterns = [(r.path_regex, r.path) for r in self.routes if r.param_convertors]

    @property
    def rights(self) -> Mapping[str, Mapping[str, Right]]:
        """Path to method to right."""
        return MappingProxyType(self._rights)

    def find(self, method: str, path: str) -> tuple[str, Right]:
        """The template that a path belongs to, `OTHER` if none, and the right that it wants."""
        found = self._template(path)
        if found is None:
            return OTHER, "any"
        methods = self._rights[found]
        right = methods.get("GET" if method == "HEAD" else method)
        if right is None:
            # Which methods a route takes is nobody's secret where the route is public.
            right = "public" if set(methods.values()) == {"public"} else "any"
        return found, right

    def _template(self, path: str) -> str | None:
        if path in self._rights:
            return path
        return next((name for pattern, name in self._patterns if pattern.match(path)), None)
