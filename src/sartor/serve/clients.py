"""Clients that go away, or read no further, while a reply is written for them."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from sartor.core.errors import RequestError

READ_S = 30.0
"""A client that takes nothing of its events for so long is given up."""
_EVENTS = "text/event-stream; charset=utf-8"
_T = TypeVar("_T")


class Gone(RequestError):
    """Its own doing, and no fault of the model."""

    def __init__(self) -> None:
        super().__init__("The client went away.", fix="wait for the reply.", status=400)


async def unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """What `work` gives; it is cancelled when the client goes away.

    Args:
        request: Whose body was read.
        work: Runs in a task of its own.

    Raises:
        Gone: If it did.
    """
    working, leaving = asyncio.create_task(work), asyncio.create_task(_left(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Gone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Events(StreamingResponse):
    """Server-sent events; what they hold is given back however they end."""

    def __init__(self, events: AsyncGenerator[bytes], held: AsyncExitStack) -> None:
        """
        Args:
            events: As they are sent.
            held: Closed when the last was sent, or the client is gone.
        """
        super().__init__(events, media_type=_EVENTS)
        held.push_async_callback(events.aclose)
        self._held, self._ended = held, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            try:
                async with asyncio.timeout(READ_S):
                    await send(message)
            except TimeoutError:
                raise Gone from None
            self._ended = not message.get("more_body", True)

        # The head is out: there is nobody left to tell.
        with suppress(Gone):
            async with self._held:
                await super().__call__(scope, receive, sending)
                if not self._ended:
                    raise Gone
