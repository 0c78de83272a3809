"""Closed-loop load on a served bundle: what answers HTTP, same application, same machine.

    python -m benchmarks.serving_load [BUNDLE] [--seconds 5] [--clients 1 8 32] [--rounds 3]

Gives requests a second, p50 and p99 in milliseconds, and the server's CPU milliseconds a request:
the last is what a busy machine disturbs least. The client shares the machine with the server.
uvicorn runs as Sartor runs it, on uvloop with httptools; *plain uvicorn* on asyncio with h11, as it
comes without its extras. granian is measured only where it is installed; Sartor does not need it.
Takes 3 minutes.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import (
    ROOT,
    Line,
    alternate,
    arguments,
    bundle,
    faster,
    finish,
    machine,
    spread,
    takes_bundle,
)
from benchmarks._server import connect, cpu_seconds, exchange, free_port, post

TEXTS = (
    "It broke after two days.",
    "Great value, arrived on time and works exactly as described in the listing.",
    "I have used this every day for three months. " * 4,
)
APPLICATION = "benchmarks.serving_load:application"
_UVICORN = ["uvicorn", "--no-access-log"]
SIDES = {
    "uvicorn": [*_UVICORN, "--loop", "uvloop", "--http", "httptools"],
    "plain uvicorn": [*_UVICORN, "--loop", "asyncio", "--http", "h11"],
    "granian": ["granian", "--interface", "asgi"],
}


def application():
    """What both servers load; the bundle and the store come from the environment."""
    from sartor.serve.app import create_app
    from sartor.serve.settings import ServeSettings

    return create_app(
        ServeSettings(
            bundle=os.environ["BENCH_BUNDLE"],
            store=os.environ["BENCH_STORE"],
            unreleased=True,
            max_wait_s=60,
        )
    )


@contextmanager
def running(server: str, served: str) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server that answers."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        environment = {
            **os.environ,
            "BENCH_BUNDLE": served,
            "BENCH_STORE": str(Path(folder) / "store.db"),
        }
        options = ["--factory", "--port", str(port), "--log-level", "error"]
        command = [sys.executable, "-m", *SIDES[server], *options, APPLICATION]
        process = subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True)
        try:
            asyncio.run(load(port, 4, 0.5))
            yield port, process.pid
        finally:
            process.terminate()
            process.wait()


async def client(port: int, until: float, taken: list[float], failed: list[int]) -> None:
    reader, writer = await connect(port)
    turn = 0
    while time.perf_counter() < until:
        asked = post("/v1/predict", {"inputs": [{"text": TEXTS[turn % len(TEXTS)]}]})
        start = time.perf_counter()
        status, _ = await exchange(reader, writer, asked)
        taken.append(time.perf_counter() - start)
        if status != 200:
            failed.append(status)
        turn += 1
    writer.close()


async def load(port: int, clients: int, seconds: float) -> tuple[list[float], list[int]]:
    taken: list[float] = []
    failed: list[int] = []
    (await connect(port))[1].close()
    until = time.perf_counter() + seconds
    await asyncio.gather(*(client(port, until, taken, failed) for _ in range(clients)))
    return taken, failed


def measure(server: str, served: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with running(server, served) as (port, process):
        for clients in given.clients:
            before, start = cpu_seconds(process), time.perf_counter()
            taken, failed = asyncio.run(load(port, clients, given.seconds))
            seconds = time.perf_counter() - start
            used = cpu_seconds(process) - before
            rows.append(
                {
                    "server": server,
                    "clients": clients,
                    "requests_per_s": round(len(taken) / seconds, 1),
                    "p50_ms": round(float(np.percentile(taken, 50)) * 1e3, 2),
                    "p99_ms": round(float(np.percentile(taken, 99)) * 1e3, 2),
                    "cpu_ms_per_request": round(used / len(taken) * 1e3, 3),
                    "failed": len(failed),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    installed = [name for name, words in SIDES.items() if find_spec(words[0])]
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", nargs="+", choices=list(SIDES), default=installed)
    given = parser.parse_args()
    facts, served = machine(), bundle(given.bundle)
    rows: list[dict[str, Any]] = []
    for _, server in alternate(given.servers, given.rounds):
        rows += measure(server, served, given)
    finish("serving_load", facts, summary(rows, given), {"rounds": rows})


def summary(rows: list[dict[str, Any]], given: argparse.Namespace) -> list[Line]:
    def of(server: str, clients: int, key: str) -> list[float]:
        return [r[key] for r in rows if r["server"] == server and r["clients"] == clients]

    lines: list[Line] = []
    for server in given.servers:
        for clients in given.clients:
            where = f"{server}, {clients} clients; median, least, most"
            lines += [
                Line.of(
                    f"Requests, {where}", spread(of(server, clients, "requests_per_s")), "a second"
                ),
                Line.of(f"p99, {where}", spread(of(server, clients, "p99_ms")), "ms"),
            ]
    others = [server for server in given.servers if server != "uvicorn"]
    for other in others if "uvicorn" in given.servers else ():
        for clients in given.clients:
            costs = [of(server, clients, "cpu_ms_per_request") for server in ("uvicorn", other)]
            what = f"uvicorn's CPU time a request is smaller, {clients} clients"
            lines.append(Line.of(what, faster(*costs), "times", against=other))
    return lines


if __name__ == "__main__":
    main()
