"""OpenAI's chat completions over a bundle that writes: whole, or as it is written.

A reply is computed in a worker thread, piece by piece, and has its place before anything is sent of
it. A client that goes away ends its reply.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from sartor.core.errors import RequestError
from sartor.core.replies import Said, as_numbers
from sartor.core.tables import now
from sartor.llm.conversation import Message, NoConversation, as_text, checked
from sartor.serve.answering import Answering
from sartor.serve.bodies import parse
from sartor.serve.chat_bodies import ChatBody
from sartor.serve.clients import Events, unless_gone
from sartor.serve.exchange import Exchange
from sartor.serve.places import Places
from sartor.serve.records import Served
from sartor.serve.replies import reply
from sartor.serve.routes import Endpoint
from sartor.serve.runtime import Runtime
from sartor.serve.versions import Version
from sartor.serve.writer import Piece, Replies


@dataclass(slots=True)
class Chat:
    """The routes of OpenAI's interface.

    Args:
        answering: Line-up, caps, records and counters.
    """

    answering: Answering
    _places: Places = field(init=False)

    def __post_init__(self) -> None:
        self._places = Places(self.answering.settings.max_wait_s)

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
            Busy: When too many wait, or this one waited for too long.
        """
        body = parse(ChatBody, await request.body())
        exchange = Exchange.of(request.scope)
        messages = self._messages(body)
        async with AsyncExitStack() as stack:
            own = exchange.own_id()
            version = stack.enter_context(self.answering.versions.leased(body.user or own))
            model = version.runtime.replies
            if model is None:
                raise RequestError(
                    f"{version.runtime.name} does not write replies.",
                    fix="ask it at /v1/predict.",
                    status=404,
                )
            turn = _Turn(body, messages, exchange, own, version, model)
            await unless_gone(request, stack.enter_async_context(self._places.one()))
            if not body.stream:
                return await unless_gone(request, self._whole(turn))
            return Events(self._events(turn), stack.pop_all())

    async def _whole(self, turn: "_Turn") -> Response:
        async for piece in turn.pieces():
            turn.take(piece)
        background = self._keep(turn)
        message = {"role": "assistant", "content": turn.text}
        choice = {"index": 0, "message": message, "finish_reason": turn.finish}
        named = turn.named("chat.completion")
        response = reply({**named, "choices": [choice], "usage": turn.usage})
        response.background = background
        return response

    async def _events(self, turn: "_Turn") -> AsyncGenerator[bytes]:
        yield turn.event({"role": "assistant", "content": ""}, None)
        async for piece in turn.pieces():
            turn.take(piece)
            yield turn.event({"content": piece.text} if piece.text else {}, piece.finish)
        background = self._keep(turn)
        options = turn.body.stream_options
        if options is not None and options.include_usage:
            named = turn.named("chat.completion.chunk")
            yield _sent({**named, "choices": list[Any](), "usage": turn.usage})
        yield b"data: [DONE]\n\n"
        if background is not None:
            await background()

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

    def _keep(self, turn: "_Turn") -> BackgroundTask | None:
        """Count and record the reply as one that /v1/predict would have given.

        Returns:
            What is to be done after the reply, if anything.
        """
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
        versions = self.answering.versions
        if turn.plain:
            return versions.copied(turn.version, [as_text(turn.messages)], answer)
        versions.passed(turn.version, 1)
        return None


@dataclass(slots=True)
class _Turn:
    """One reply while it is written."""

    body: ChatBody
    messages: tuple[Message, ...]
    exchange: Exchange
    own: str
    version: Version
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
    def runtime(self) -> Runtime:
        return self.version.runtime

    @property
    def plain(self) -> bool:
        """Whether it is what a model writes by itself, and another's may be compared with it."""
        asked = self.body.sampling
        # A limit that the reply did not reach changed nothing.
        whole = asked.most is None or self.finish == "stop"
        return asked.greedy and not asked.stop and whole

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
