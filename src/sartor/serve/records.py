"""Predictions and feedback on the disk, by group commit.

One thread writes. It takes everything that waits, commits it in one transaction, and only then
acknowledges: a disk that flushes a few hundred times a second so keeps thousands of
acknowledgements a second, each of which survives a crash. Predictions are written on the same way
but nobody waits for them; when the disk cannot keep up or is full, answering goes on and the
unrecorded ones are counted.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from sartor.core.errors import RequestError, WorkspaceError
from sartor.core.store import Store, StoreFull
from sartor.core.tables import feedback, now, predictions
from sartor.core.texts import Text, length_of, written
from sartor.serve.quotes import unquoted
from sartor.serve.room import Budget, Busy
from sartor.tasks import Brief

_log = logging.getLogger(__name__)
_Place = tuple[str | None, str, int]
"""Tenant, request and row."""
_GROUP = 1_000
_PIECE = 500
_HOUR = 3_600.0
_ENTRY, _NUMBER = 1_000, 64
"""Bytes of an entry without its texts, and of one probability."""
_STATED = ("probabilities", "entities", "documents", "alternatives")


@dataclass(frozen=True, slots=True)
class Served:
    """One answered request.

    Args:
        texts: Kept only where the server was told to keep texts; several of a row as `written`.
        answers: One a text, as they were sent; stored without what they quote.
        brief: An answer in brief, by the model that gave it.
    """

    request_id: str
    bundle: str
    time: datetime
    texts: Sequence[Text]
    answers: Sequence[Mapping[str, Any]]
    brief: Callable[[Mapping[str, Any]], Brief]
    user: str | None = None
    segment: str | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """One correction, or confirmation, of an answer.

    Args:
        row: Which row of the request, from 0.
        label: What the answer should have been, as a text (see `tasks.Target`).
        text: Sent along on purpose, so it is kept whatever the server keeps by itself; several of
            a row as `written`.
        tenant: Who says so; another tenant's answers do not exist for them.
    """

    request_id: str
    row: int
    label: str
    comment: str | None = None
    user: str | None = None
    segment: str | None = None
    text: str | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    said: Said
    time: datetime
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[int]"


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is kept, and for how long."""

    texts: bool = False
    """Keep the texts of predictions."""
    days: int = 90
    """After these days texts and comments are deleted; answers and labels stay."""
    waiting: int = 2_000
    """Requests that may wait to be written."""
    waiting_bytes: int = 64_000_000
    """What they may hold together, about."""


class Recorder:
    """The one writer of served answers and of what users say about them."""

    def __init__(self, store: Store, keeping: Keeping | None = None) -> None:
        self._store, self._keeping = store, keeping or Keeping()
        self._queue: queue.Queue[Served | _Waiting | None] = queue.Queue(self._keeping.waiting)
        self._held = Budget(self._keeping.waiting_bytes)
        self._thread = threading.Thread(target=self._write_on, name="sartor-records", daemon=True)
        self._next_expiry = 0.0
        self.unrecorded = 0
        """Requests that were answered but could not be written."""
        self._thread.start()

    def served(self, request: Served) -> None:
        """Write a request down soon; never waits."""
        if not self._put(request):
            self.unrecorded += 1

    async def said(self, said: Said) -> int:
        """Write feedback down; gives its number once it is on the disk.

        Raises:
            RequestError: 404 for an answer that was never recorded, 507 when the disk is full.
            Busy: When too much waits.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(said, now(), loop, loop.create_future())
        if not self._put(waiting):
            raise Busy(
                "Feedback comes faster than the disk takes it.", fix="try again.", where="store"
            )
        return await waiting.done

    def close(self) -> None:
        """Write what waits, then stop. Blocks."""
        self._queue.put(None)
        self._thread.join()

    def _put(self, item: Served | _Waiting) -> bool:
        """Whether there was room."""
        weight = _weight(item)
        if not self._held.take(weight):
            return False
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._held.give(weight)
            return False
        return True

    def _write_on(self) -> None:
        going = True
        while going:
            items, going = self._next()
            if items:
                self._commit(items)
                self._held.give(sum(map(_weight, items)))
            if time.monotonic() >= self._next_expiry:
                self._next_expiry = time.monotonic() + _HOUR
                self._expire()

    def _next(self) -> tuple[list[Served | _Waiting], bool]:
        """Everything that waits, or nothing when it is time to expire words; False at the end."""
        items: list[Served | _Waiting] = []
        try:
            found = self._queue.get(timeout=max(0.0, self._next_expiry - time.monotonic()))
            while found is not None:
                items.append(found)
                if len(items) == _GROUP:
                    return items, True
                found = self._queue.get_nowait()
        except queue.Empty:
            return items, True
        return items, False

    def _commit(self, items: Sequence[Served | _Waiting]) -> None:
        served = [item for item in items if isinstance(item, Served)]
        waiting = [item for item in items if isinstance(item, _Waiting)]
        outcome: Sequence[int | RequestError]
        try:
            with self._store.write() as connection:
                self._add_served(connection, served)
                outcome = _add_feedback(connection, waiting)
        except (WorkspaceError, exc.SQLAlchemyError) as error:
            # The writer must outlive whatever one group holds.
            self.unrecorded += len(served)
            _log.error("not recorded: %s", error)
            outcome = [_refusal(error)] * len(waiting)
        _acknowledge(waiting, outcome)

    def _add_served(self, connection: sa.Connection, served: Sequence[Served]) -> None:
        rows = [row for request in served for row in _rows(request, self._keeping.texts)]
        if rows:
            connection.execute(sa.insert(predictions), rows)

    def _expire(self) -> None:
        """Delete texts and comments that are older than the retention."""
        limit = now() - timedelta(days=self._keeping.days)
        try:
            with self._store.write() as connection:
                gone = 0
                for words in (predictions.c.text, feedback.c.text, feedback.c.comment):
                    table = words.table
                    old = sa.and_(table.c.time < limit, words.is_not(None))
                    change = sa.update(table).where(old).values({words: None})
                    gone += connection.execute(change).rowcount
            if gone:
                self._store.scrub()
        except (WorkspaceError, exc.SQLAlchemyError) as error:
            _log.error("texts past their retention are still kept: %s", error)


def _weight(item: Served | _Waiting) -> int:
    """Bytes that it holds, about."""
    if isinstance(item, _Waiting):
        said = item.said
        return _ENTRY + len(said.text or "") + len(said.comment or "")
    labels = max((len(_stated(answer)) for answer in item.answers), default=0)
    return len(item.answers) * (_ENTRY + _NUMBER * labels) + sum(map(length_of, item.texts))


def _stated(answer: Mapping[str, Any]) -> Collection[Any]:
    """The numbers of an answer: of labels, of parts of a text or of documents; of a product, those
    of its parts."""
    if path := answer.get("path"):
        return [one for step in path for one in _stated(step["answer"])]
    return next((answer[key] for key in _STATED if answer.get(key)), ())


def _rows(request: Served, keep_texts: bool) -> list[dict[str, Any]]:
    texts = request.texts if keep_texts else [None] * len(request.answers)
    answers = [unquoted(answer) for answer in request.answers]
    briefs = map(request.brief, answers)
    return [
        {
            "request_id": request.request_id,
            "row": row,
            "bundle": request.bundle,
            "time": request.time,
            "label": _storable(brief.label),
            "confidence": brief.confidence,
            "answer": answer,
            "text": None if text is None else _storable(written(text)),
            "user": _storable(request.user),
            "segment": _storable(request.segment),
            "tenant": request.tenant,
        }
        for row, (text, answer, brief) in enumerate(zip(texts, answers, briefs, strict=True))
    ]


def _add_feedback(
    connection: sa.Connection, waiting: Sequence[_Waiting]
) -> list[int | RequestError]:
    """Insert what refers to a recorded answer; its number, or the refusal, for each."""
    asked = {item.said.request_id for item in waiting}
    # No id of ours has a NUL, and Postgres would refuse the whole group for one that is asked for.
    known = _recorded(connection, {each for each in asked if "\x00" not in each})
    good = [item for item in waiting if _place(item.said) in known]
    numbers: list[int] = []
    if good:
        insert = sa.insert(feedback).returning(feedback.c.id, sort_by_parameter_order=True)
        numbers = list(connection.scalars(insert, [_feedback_row(item) for item in good]))
    number_of = dict(zip(map(id, good), numbers, strict=True))
    return [number_of.get(id(item)) or _unknown(item.said, known) for item in waiting]


def _recorded(connection: sa.Connection, requests: set[str]) -> set[_Place]:
    found: set[_Place] = set()
    columns = (predictions.c.tenant, predictions.c.request_id, predictions.c.row)
    names = sorted(requests)
    for start in range(0, len(names), _PIECE):
        chosen = predictions.c.request_id.in_(names[start : start + _PIECE])
        query = sa.select(*columns).where(chosen)
        # On Postgres another process could delete the answer before our rows refer to it.
        query = query.with_for_update(read=True, key_share=True)
        found.update((tenant, request, row) for tenant, request, row in connection.execute(query))
    return found


def _place(said: Said) -> _Place:
    return said.tenant, said.request_id, said.row


def _feedback_row(item: _Waiting) -> dict[str, Any]:
    said = item.said
    return {
        "request_id": said.request_id,
        "row": said.row,
        "time": item.time,
        "label": _storable(said.label),
        "comment": _storable(said.comment),
        "user": _storable(said.user),
        "segment": _storable(said.segment),
        "text": _storable(said.text),
        "tenant": said.tenant,
    }


def _storable(text: str | None) -> str | None:
    # Postgres keeps no NUL in a text.
    return text.replace("\x00", "\ufffd") if text else text


def _unknown(said: Said, known: set[_Place]) -> RequestError:
    theirs = (said.tenant, said.request_id)
    rows = sorted(row for tenant, request, row in known if (tenant, request) == theirs)
    if rows:
        return RequestError(
            f"Request {said.request_id!r} has no row {said.row}; it had {len(rows)}.",
            fix=f"send a row from 0 to {rows[-1]}.",
            status=404,
        )
    return RequestError(
        f"No recorded answer has the request id {said.request_id!r}.",
        fix="send the request_id that came with the answer.",
        status=404,
    )


def _refusal(error: Exception) -> RequestError:
    full = isinstance(error, StoreFull)
    return RequestError(
        "The disk is full; the feedback was not kept."
        if full
        else "The store did not take the feedback.",
        fix="free disk space and send it again." if full else "send it again later.",
        status=507 if full else 503,
    )


def _acknowledge(waiting: Sequence[_Waiting], outcome: Sequence[int | RequestError]) -> None:
    """Wake each event loop once for the whole group."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, int | RequestError]]] = {}
    for item, result in zip(waiting, outcome, strict=True):
        by_loop.setdefault(item.loop, []).append((item, result))
    for loop, results in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, results)


def _resolve(results: Sequence[tuple[_Waiting, int | RequestError]]) -> None:
    for item, result in results:
        if item.done.done():
            continue
        if isinstance(result, RequestError):
            item.done.set_exception(result)
        else:
            item.done.set_result(result)
