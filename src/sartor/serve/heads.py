"""HTTP/1.1 by httptools, with a bound on the head of a request: its size, and how long it takes.

Whatever a connection waits for, something ends the wait: a head its own time, a body the time of
whoever reads it, the rest of a body that nobody reads `REST_S`, and the next request `IDLE_S`.

httptools takes a third of the time of h11, uvicorn's parser in plain Python, and bounds neither. It
also stops reading where a client offers another protocol, as Java's does with HTTP/2 on every plain
connection; such an offer may be ignored (RFC 9110, 7.8), and then the body has to be read.
"""

import asyncio
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

if TYPE_CHECKING:
    from asyncio.events import TimerHandle

HEAD_BYTES = 65_536
"""What may follow the first piece of a request, which has at most 256 KB, before its head ends."""
HEAD_S = 30.0
"""A client whose head is not there after this is cut off."""
REST_S = 30.0
"""What is left of a body may take this long once its request is answered, as by a refusal: who
reads an answer only after the whole body is sent should get it."""
IDLE_S = 5
"""A connection may wait this long for its next request."""
_OFFERS = (b"upgrade", b"http2-settings")


class BoundedHead(HttpToolsProtocol):
    """A connection."""

    _messages = 0
    _held = 0
    _complete = False
    _ended = False
    _offered = False
    _limit: "TimerHandle | None" = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._messages
        try:
            self._feed(data)
        except HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
        if self._complete or self.transport.is_closing():
            return
        if before == self._messages:
            self._held += len(data)
        if self._held > HEAD_BYTES:
            self._refuse(431, "The headers are too long.", "send fewer or shorter ones.")
        elif self._limit is None:
            self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # Not by any byte: an empty line, or one of a body that nobody reads, begins nothing.
        self._unset_keepalive_if_required()
        self._messages += 1
        self._held, self._complete, self._ended = 0, False, False

    def on_headers_complete(self) -> None:
        self._offered = self.parser.should_upgrade()
        if not self._offered:
            self._complete = True
            self._settle()
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._offered:
            self._ended = True
            super().on_message_complete()
            if self.cycle.response_complete:
                self._close_in(IDLE_S)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is None:  # hung up, or another request waited
            return
        if not self._complete:
            # The next head has begun, and has a time of its own.
            self._unset_keepalive_if_required()
        elif not self._ended:
            self._close_in(REST_S)

    def _close_in(self, seconds: float) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _feed(self, data: bytes) -> None:
        """Give everything to the parser, requests that offer something without their offers."""
        left = memoryview(data)
        # One after the other: a piece may hold thousands of them.
        while True:
            try:
                self.parser.feed_data(left)
                return
            except HttpParserUpgrade as stopped:
                left = left[stopped.args[0] :]
            if not any(name == b"upgrade" for name, _ in self.headers):
                self.send_400_response("CONNECT is for proxies, and this is none.")
                return
            head = self._without_offer()
            self.parser = HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(head)

    def _without_offer(self) -> bytes:
        """The head of the request, to be read again."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                words = [word.strip() for word in value.split(b",")]
                kept = b", ".join(word for word in words if word.lower() not in _OFFERS)
                lines += [b"connection: " + kept] if kept else []
            elif name not in _OFFERS:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join((*lines, b"", b""))

    def _wait(self) -> None:
        self._limit = self.loop.call_later(HEAD_S, self._late)

    def _settle(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _late(self) -> None:
        if not self._messages:
            # A browser may connect before it has something to ask.
            self.transport.close()
            return
        what = f"The request's headers did not arrive within {HEAD_S:.0f} s."
        self._refuse(408, what, "send them faster.")

    def _refuse(self, status: int, what: str, fix: str) -> None:
        """Answer and hang up; where an earlier request is not answered yet, just hang up."""
        self._settle()
        if self.cycle is None or self.cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            body = to_json({"error": {"what": what, "fix": fix}})
            length = str(len(body)).encode()
            head = (STATUS_LINE[status], b"content-type: application/json\r\ncontent-length: ")
            self.transport.write(b"".join((*head, length, b"\r\nconnection: close\r\n\r\n", body)))
        self.transport.close()
