"""One line a request on stderr: who asked what and how it ended; never a text or a key.

Lines are handed to a thread, so that a reader of stderr who stalls holds up no answer: what finds
no room is dropped and counted. A value from outside is a member of a closed set, is checked against
a narrow alphabet, or is escaped, so no input can begin a line of its own.
"""

import json
import logging
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

from sartor.serve.exchange import Exchange
from sartor.serve.settings import LogFormat

_WAITING = 10_000
_PIECE = 10_000
_GATHER_S = 0.05
_STALL_S = 2.0
_LONGEST = 2_000
_MOST_FRAMES = 40
_NAMES = ("uvicorn.error", "sartor", "asyncio")

request_id: ContextVar[str | None] = ContextVar("sartor_request_id", default=None)
"""Of the request that the running task answers: joins a traceback to its request."""


class RequestLog:
    """Writes lines from a thread of its own."""

    def __init__(self, form: LogFormat, stream: TextIO | None = None) -> None:
        """
        Args:
            form: How a line looks; "none" writes nothing and starts no thread.
            stream: Where lines go; stderr when None.
        """
        self._draw = _FORMS.get(form)
        self._stream = stream or sys.stderr
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.dropped = 0
        """Lines that nobody took in time."""
        if self._draw:
            self._thread = threading.Thread(target=self._write_on, name="sartor-log", daemon=True)
            self._thread.start()

    @property
    def writes(self) -> bool:
        return self._draw is not None

    def replied(self, exchange: Exchange, seconds: float) -> None:
        """Say how a request ended; never waits."""
        if self._draw:
            self._put(self._draw(_fields(exchange, seconds)))

    def said(self, record: logging.LogRecord) -> None:
        """Write down what a library logged."""
        if self._draw:
            self._put(self._draw(_of_record(record)))

    def close(self) -> None:
        """Write what waits; gives up after a short while if nobody reads."""
        if self._draw:
            self._lines.put(None)
            self._thread.join(_STALL_S)

    def _put(self, line: str) -> None:
        if self._lines.qsize() >= _WAITING:
            self.dropped += 1
        else:
            self._lines.put(line)

    def _write_on(self) -> None:
        going = True
        while going:
            found = [self._lines.get()]
            # Woken by every line, this thread and the loop would fight for the interpreter, which
            # cost more than half of a small model's answer again: lines gather first.
            time.sleep(_GATHER_S)
            while not self._lines.empty() and len(found) < _PIECE:
                found.append(self._lines.get())
            lines = [line for line in found if line is not None]
            going = len(lines) == len(found)
            try:
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):  # A reader that is gone, a stream that was closed.
                self.dropped += len(lines)


@contextmanager
def taking(log: RequestLog) -> Generator[None]:
    """While it lasts, what the server's libraries log goes the same way, one line a record."""
    handler = _Handler(log)
    loggers = [logging.getLogger(name) for name in _NAMES if log.writes]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, log: RequestLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.said(record)


def _fields(exchange: Exchange, seconds: float) -> dict[str, Any]:
    return {
        "time": _now(),
        "level": "info",
        "request_id": exchange.id,
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "ms": round(seconds * 1e3, 3),
        "rows": exchange.rows,
        "model": exchange.model,
        "answer": exchange.answer,
        "key": exchange.caller.key if exchange.caller else None,
        "tenant": exchange.tenant,
    }


def _of_record(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = {
        "time": _now(),
        "level": record.levelname.lower(),
        "request_id": request_id.get(),
        "logger": record.name,
        "message": record.getMessage()[:_LONGEST],
    }
    if record.exc_info and record.exc_info[1]:
        found["traceback"] = list(_frames(record.exc_info[1]))[-_MOST_FRAMES:]
    return found


def _frames(error: BaseException) -> Iterator[str]:
    """Where it happened, and of which kind it is; its message could quote a text."""
    if error.__cause__:
        yield from _frames(error.__cause__)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{frame.filename}:{frame.lineno} {frame.name}"
    yield f"{type(error).__module__}.{type(error).__qualname__}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields)


def _text(fields: Mapping[str, Any]) -> str:
    """For people: `name=value` of whatever has a value; an odd value is JSON here too."""
    shown = {name: value for name, value in fields.items() if value is not None}
    time, level = shown.pop("time"), shown.pop("level")
    said = (f"{name}={_plain(value)}" for name, value in shown.items())
    return " ".join((time, level, *said))


def _plain(value: Any) -> str:
    if isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value:
        return value
    return json.dumps(value)


_FORMS: Mapping[str, Callable[[Mapping[str, Any]], str]] = MappingProxyType(
    {"json": _json, "text": _text}
)
