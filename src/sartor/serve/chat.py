"""OpenAI's chat completions over a bundle that writes: whole, or as it is written.

A reply is computed in a worker thread, piece by piece. Two are written at once: more would only
share the same cores. A client that goes away ends its reply.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sartor.core.errors import RequestError
from sartor.core.replies import Said, as_numbers
from sartor.core.tables import now
from sartor.llm.conversation import Message, NoConversation, as_text, checked
from sartor.serve.answering import Answering
from sartor.serve.bodies import parse
from sartor.serve.chat_bodies import ChatBody
from sartor.serve.exchange import Exchange
from sartor.serve.records import Served
from sartor.serve.replies import reply
from sartor.serve.room import Busy
from sartor.serve.routes import Endpoint
from sartor.serve.runtime import Runtime
from sartor.serve.writer import Piece, Replies

AT_ONCE = 2
"""Replies that are written at the same time."""
MOST_WAITING = 64
"""Requests that wait for one of them to end."""
_EVENTS = "text/event-stream; charset=utf-8"


@dataclass(slots=True)
class Chat:
    """The routes of OpenAI's interface.

    Args:
        answering: Line-up, caps, records and counters.
    """

    answering: Answering
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _waiting: int = 0

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint("POST", "/v1/chat/completions", "predict", self.complete),
            Endpoint("GET", "/v1/models", "predict", self.models),
        )

    async def models(self, request: Request) -> Response:
        """The one model that is served."""
        live = self.answering.versions.lineup.live.runtime
        entry = {"id": live.name, "object": "model", "created": 0, "owned_by": "sartor"}
        return reply({"object": "list", "data": [entry]})

    async def complete(self, request: Request) -> Response:
        """A reply to a conversation.

        Raises:
            RequestError: 404 where the bundle writes none, 413 beyond the caps, 422 for messages
                that cannot be replied to.
            Busy: When too many wait.
        """
        body = parse(ChatBody, await request.body())
        exchange = Exchange.of(request.scope)
        messages = self._messages(body)
        with ExitStack() as stack:
            own = exchange.own_id()
            version = stack.enter_context(self.answering.versions.leased(body.user or own))
            model = version.runtime.replies
            if model is None:
                raise RequestError(
                    f"{version.runtime.name} does not write replies.",
                    fix="ask it at /v1/predict.",
                    status=404,
                )
            turn = _Turn(body, messages, exchange, own, version.runtime, model)
            if not body.stream:
                return reply(await self._whole(turn))
            held = stack.pop_all()
        return StreamingResponse(self._events(turn, held), media_type=_EVENTS)

    async def _whole(self, turn: "_Turn") -> dict[str, Any]:
        async with self._place():
            async for piece in turn.pieces():
                turn.take(piece)
        self._keep(turn)
        message = {"role": "assistant", "content": turn.text}
        choice = {"index": 0, "message": message, "finish_reason": turn.finish}
        named = turn.named("chat.completion")
        return {**named, "choices": [choice], "usage": turn.usage}

    async def _events(self, turn: "_Turn", held: ExitStack) -> AsyncGenerator[bytes]:
        with held:
            async with self._place():
                yield turn.event({"role": "assistant", "content": ""}, None)
                async for piece in turn.pieces():
                    turn.take(piece)
                    yield turn.event({"content": piece.text} if piece.text else {}, piece.finish)
            self._keep(turn)
            options = turn.body.stream_options
            if options is not None and options.include_usage:
                named = turn.named("chat.completion.chunk")
                yield _sent({**named, "choices": list[Any](), "usage": turn.usage})
            yield b"data: [DONE]\n\n"

    @asynccontextmanager
    async def _place(self) -> AsyncGenerator[None]:
        """One of the places to write in.

        Raises:
            Busy: When too many wait for one.
        """
        if self._waiting >= MOST_WAITING:
            raise Busy(
                f"{self._waiting} conversations wait for a reply already.",
                fix="try again in a few seconds.",
                where="model",
            )
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    def _messages(self, body: ChatBody) -> tuple[Message, ...]:
        try:
            found = checked([{"role": m.role, "content": m.content} for m in body.messages])
        except NoConversation as error:
            raise RequestError(f"{error.what}.", fix=f"{error.fix}.", status=422) from None
        longest, chars = self.answering.settings.max_text_chars, sum(len(m.content) for m in found)
        if chars > longest:
            raise RequestError(
                f"The conversation has {chars:,} characters; at most {longest:,} are taken.",
                fix="leave out its oldest turns.",
                status=413,
            )
        return found

    def _keep(self, turn: "_Turn") -> None:
        """Count and record the reply as one that /v1/predict would have given."""
        said = Said(turn.text, turn.log_p, turn.tokens, turn.finish == "stop")
        answer = turn.runtime.decoded(as_numbers([said]))
        turn.exchange.rows, turn.exchange.model = 1, turn.runtime.id
        turn.exchange.answer = turn.own
        self.answering.metrics.answered(1, int(not turn.text.strip()))
        recorder, settings = self.answering.recorder, self.answering.settings
        if recorder is not None:
            recorder.served(
                Served(
                    request_id=turn.own,
                    bundle=turn.runtime.id,
                    time=now(),
                    texts=[as_text(turn.messages)] if settings.store_texts else (),
                    answers=answer,
                    brief=turn.runtime.brief,
                    user=turn.body.user,
                    tenant=turn.exchange.tenant,
                )
            )


@dataclass(slots=True)
class _Turn:
    """One reply while it is written."""

    body: ChatBody
    messages: tuple[Message, ...]
    exchange: Exchange
    own: str
    runtime: Runtime
    model: Replies
    text: str = ""
    finish: str = "length"
    tokens: int = 0
    prompt_tokens: int = 0
    log_p: float = 0.0
    created: int = field(default_factory=lambda: int(time.time()))

    def take(self, piece: Piece) -> None:
        self.text += piece.text
        self.finish = piece.finish or self.finish
        self.tokens, self.prompt_tokens = piece.tokens, piece.prompt_tokens
        self.log_p = piece.log_p

    async def pieces(self) -> AsyncIterator[Piece]:
        """The reply's pieces, computed in a worker thread."""
        found = self.model.reply(self.messages, self.body.sampling)
        while (piece := await asyncio.to_thread(_next, found)) is not None:
            yield piece

    @property
    def usage(self) -> dict[str, int]:
        read, written = self.prompt_tokens, self.tokens
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        }

    def named(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.own}",
            "object": kind,
            "created": self.created,
            "model": self.runtime.name,
        }

    def event(self, delta: Mapping[str, str], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _sent({**self.named("chat.completion.chunk"), "choices": [choice]})


def _next(pieces: Iterator[Piece]) -> Piece | None:
    return next(pieces, None)


def _sent(content: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()
