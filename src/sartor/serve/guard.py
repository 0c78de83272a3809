"""The outermost layer: lets requests in, bounds their bodies, counts and logs the replies.

A plain ASGI callable around the router, since what it does happens on every request.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sartor.core.errors import RequestError
from sartor.serve.auth import Gate
from sartor.serve.caps import too_long
from sartor.serve.exchange import Exchange
from sartor.serve.limits import Limiter, enter
from sartor.serve.logs import RequestLog, request_id
from sartor.serve.metrics import Metrics
from sartor.serve.replies import refusal
from sartor.serve.room import Busy, Held, Room
from sartor.serve.routes import Routes
from sartor.serve.traces import Traces

_BODY_S = 30.0
"""A client that has not sent its whole body after this is cut off."""
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the outermost layer works with."""

    gate: Gate
    limiter: Limiter
    room: Room
    routes: Routes
    metrics: Metrics
    log: RequestLog
    traces: Traces | None
    max_body: int
    check_room: Callable[[], None]
    """Raises `Busy` where whatever asks the model would be turned away."""


class Guard:
    """Wraps the router."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app, self.desk = app, desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        exchange = Exchange.begin(scope, headers, self.desk.routes)
        request_id.set(exchange.id)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message["headers"], *_SECURITY, *exchange.sent()]
            await send(message)

        try:
            await self._handle(exchange, headers, (scope, receive, sending))
        finally:
            end = time.perf_counter()
            seconds = end - start
            self.desk.metrics.replied(exchange.route, exchange.status, seconds)
            if exchange.status == 429:
                self.desk.metrics.limited()
            if exchange.shed:
                self.desk.metrics.shed(exchange.shed)
            self.desk.log.replied(exchange, seconds)
            if self.desk.traces:
                self.desk.traces.replied(exchange, headers, start, end)

    async def _handle(
        self, exchange: Exchange, headers: dict[str, str], asgi: tuple[Scope, Receive, Send]
    ) -> None:
        scope, receive, send = asgi
        try:
            if exchange.right in ("public", "metrics"):
                # Health and metrics must answer while everything else is refused.
                await self._admit(exchange, headers)
                await self._app(scope, _replay(b"", receive), send)
                return
            with self.desk.room.place() as held:
                await self._admit(exchange, headers)
                self._limit(exchange, scope)
                if exchange.right == "predict" and exchange.method == "POST":
                    # Reading a body that will be refused costs more than refusing it.
                    self.desk.check_room()
                body = await _read_body(headers, receive, self.desk.max_body, held)
                await self._app(scope, _replay(body, receive), send)
        except RequestError as error:
            waiting_s = 1
            if isinstance(error, Busy):
                exchange.shed, waiting_s = error.where, error.retry_after_s
            away_s = exchange.retry_after_s(waiting_s)
            response = refusal(error, scope["path"], away_s, exchange.language)
            await response(scope, receive, send)

    async def _admit(self, exchange: Exchange, headers: dict[str, str]) -> None:
        # Known before it is refused, so that the log names the key that tried.
        found = await self.desk.gate.check(exchange.method, exchange.right, headers)
        exchange.caller = found
        found.permit(exchange.right)

    def _limit(self, exchange: Exchange, scope: Scope) -> None:
        """Take the request's own token, before its body is read."""
        caller = exchange.caller
        if caller is None or caller.key is None:
            who, rate = f"address {(scope.get('client') or ('unknown',))[0]}", None
        else:
            who, rate = f"key {caller.key}", caller.grant.rate
        exchange.bucket = self.desk.limiter.bucket(who, rate)
        if exchange.bucket:
            enter(exchange.bucket)


async def _read_body(headers: dict[str, str], receive: Receive, most: int, held: Held) -> bytes:
    """The whole body, refused before it is held when it is announced too long."""
    announced = headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > most:
        raise too_long(most)
    try:
        async with asyncio.timeout(_BODY_S):
            return await _join(receive, most, held)
    except TimeoutError:
        raise RequestError(
            f"The body did not arrive within {_BODY_S:.0f} s.", fix="send it faster.", status=408
        ) from None


async def _join(receive: Receive, most: int, held: Held) -> bytes:
    # One growing buffer: a list of pieces, each of one byte, would hold fifty times as much.
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("The client went away.", fix="send the whole body.", status=400)
        piece = message.get("body", b"")
        if len(body) + len(piece) > most:
            raise too_long(most)
        held.more(len(piece))
        if not message.get("more_body", False):
            return bytes(body + piece) if body else piece
        body += piece


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
