"""The outermost layer: lets requests in, bounds their bodies, counts and logs the replies.

A plain ASGI callable around the router, since what it does happens on every request.
"""

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sartor.core.errors import RequestError
from sartor.serve.auth import Gate
from sartor.serve.exchange import Exchange
from sartor.serve.logs import RequestLog, request_id
from sartor.serve.metrics import Metrics
from sartor.serve.replies import refusal
from sartor.serve.routes import Routes

_BODY_S = 30.0
"""A client that has not sent its whole body after this is cut off."""
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """Wraps the router."""

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        metrics: Metrics,
        log: RequestLog,
        *,
        routes: Routes,
        max_body: int,
    ) -> None:
        self._app, self.gate, self._metrics, self._log = app, gate, metrics, log
        self.routes, self._max_body = routes, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        exchange = Exchange.begin(scope, headers, self.routes)
        request_id.set(exchange.id)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message["headers"], *_SECURITY, *exchange.headers]
            await send(message)

        try:
            await self._handle(exchange, headers, (scope, receive, sending))
        finally:
            seconds = time.perf_counter() - start
            self._metrics.replied(exchange.route, exchange.status, seconds)
            self._log.replied(exchange, seconds)

    async def _handle(
        self, exchange: Exchange, headers: dict[str, str], asgi: tuple[Scope, Receive, Send]
    ) -> None:
        scope, receive, send = asgi
        try:
            await self.gate.check(exchange.method, exchange.right, headers)
            body = await _read_body(headers, receive, self._max_body)
        except RequestError as error:
            await refusal(error, scope["path"])(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)


async def _read_body(headers: dict[str, str], receive: Receive, most: int) -> bytes:
    """The whole body, refused before it is held when it is announced too long."""
    announced = headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > most:
        raise _too_long(most)
    try:
        async with asyncio.timeout(_BODY_S):
            return await _join(receive, most)
    except TimeoutError:
        raise RequestError(
            f"The body did not arrive within {_BODY_S:.0f} s.", fix="send it faster.", status=408
        ) from None


async def _join(receive: Receive, most: int) -> bytes:
    pieces: list[bytes] = []
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("The client went away.", fix="send the whole body.", status=400)
        piece = message.get("body", b"")
        total += len(piece)
        if total > most:
            raise _too_long(most)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _too_long(most: int) -> RequestError:
    return RequestError(
        f"The body is longer than {most:,} bytes.",
        fix="send fewer or shorter rows in one request.",
        status=413,
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hands the body on once, then whatever the server says next (a disconnect)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
