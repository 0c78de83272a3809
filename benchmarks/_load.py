"""Requests of mixed lengths on a served bundle: closed loop, and open loop at a rate of its own."""

import asyncio
import csv
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from benchmarks._harness import DEMO
from benchmarks._server import connect, exchange, post

MOST_CONNECTIONS = 4_000
_PATIENCE_S = 60.0
Reader = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Sent:
    """One request.

    Args:
        at: When it was due, `time.perf_counter()`; in a closed loop, when it was sent.
        seconds: From then to the whole reply.
        status: Of the reply; 0 where the connection broke.
        wrong: What is wrong with the reply, or "".
    """

    at: float
    seconds: float
    status: int
    wrong: str = ""

    @property
    def failed(self) -> bool:
        """Neither answered rightly nor refused for want of room."""
        return self.status not in (200, 429, 503) or bool(self.wrong)


Check = Callable[[Mapping[str, Any]], str]
"""From a reply to what is wrong with it, or ""."""


def requests(count: int, seed: int = 0) -> list[bytes]:
    """Whole requests of one review each, as long as reviews are, users in turn."""
    with (DEMO.parent / "reviews.csv").open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    chosen = random.Random(seed).choices(texts, k=count)
    return [
        post("/v1/predict", {"inputs": [{"text": text}], "user": f"u-{number % 97}"})
        for number, text in enumerate(chosen)
    ]


@dataclass(slots=True)
class Closed:
    """Clients that each send their next request when the last one is answered."""

    port: int
    asked: list[bytes]
    check: Check
    most: int | None = None
    """Requests after which it ends."""
    sent: list[Sent] = field(default_factory=list[Sent])
    going: bool = True

    async def run(self, clients: int, seconds: float | None = None) -> list[Sent]:
        """Until so many seconds are over, so many are sent, or `going` is false."""
        until = float("inf") if seconds is None else time.perf_counter() + seconds
        await asyncio.gather(*(self._client(number, until) for number in range(clients)))
        return self.sent

    async def _client(self, turn: int, until: float) -> None:
        reader, writer = await connect(self.port)
        while self.going and time.perf_counter() < until:
            asked = self.asked[turn % len(self.asked)]
            at = time.perf_counter()
            try:
                status, body = await exchange(reader, writer, asked)
            except (OSError, asyncio.IncompleteReadError):
                self.sent.append(Sent(at, time.perf_counter() - at, 0))
                reader, writer = await connect(self.port)
                self.going &= self.most is None
                continue
            wrong = self.check(json.loads(body)) if status == 200 else ""
            self.sent.append(Sent(at, time.perf_counter() - at, status, wrong))
            turn += 7
            self.going &= self.most is None or len(self.sent) < self.most
        writer.close()


async def open_loop(
    port: int, asked: Sequence[bytes], rate: float, seconds: float, seed: int = 0
) -> list[Sent]:
    """Send so many a second whatever becomes of them; Poisson arrivals.

    A request takes a free connection or opens one. Its time counts from when it was due, so what a
    slow server, or a slow client, makes it wait is in it.

    Args:
        port: Of the server.
        asked: Whole requests, sent in their order and over again.
        rate: Requests a second.
        seconds: For which requests are sent.
        seed: Of the arrivals.
    """
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds))
    free: list[Reader] = []
    limit = asyncio.Semaphore(MOST_CONNECTIONS)
    sent: list[Sent] = []
    start = time.perf_counter()

    async def one(at: float, request: bytes) -> None:
        async with limit:
            try:
                pair = _open(free) or await asyncio.open_connection("127.0.0.1", port)
                status, _ = await asyncio.wait_for(exchange(*pair, request), _PATIENCE_S)
                free.append(pair)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                status = 0
        sent.append(Sent(at, time.perf_counter() - at, status))

    tasks: set[asyncio.Task[None]] = set()
    for number, due in enumerate(start + np.cumsum(gaps)):
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        elif number % 20 == 0:
            await asyncio.sleep(0)  # Behind the plan: let replies be read all the same.
        task = asyncio.create_task(one(float(due), asked[number % len(asked)]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for _, writer in free:
        writer.close()
    return sent


def _open(free: list[Reader]) -> Reader | None:
    """The connection that was used last; those that the server closed meanwhile are let go."""
    while free:
        reader, writer = free.pop()
        if not reader.at_eof():
            return reader, writer
        writer.close()
    return None
