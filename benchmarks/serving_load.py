"""Closed-loop load on a served bundle: uvicorn beside granian, same application, same machine.

    python benchmarks/serving_load.py BUNDLE [--seconds 5] [--clients 1 8 32] [--rounds 3]

Prints requests a second, p50 and p99 in milliseconds, and the server's CPU milliseconds a request:
the last is what a busy machine disturbs least. The client shares the machine with the server.
"""

import argparse
import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

TEXTS = (
    "It broke after two days.",
    "Great value, arrived on time and works exactly as described in the listing.",
    "I have used this every day for three months. " * 4,
)


def application():
    """What granian loads; the bundle and the store come from the environment."""
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


def command(server: str, port: int) -> list[str]:
    if server == "granian":
        options = ["--interface", "asgi", "--factory", "--port", str(port), "--log-level", "error"]
        return [sys.executable, "-m", "granian", *options, "serving_load:application"]
    options = ["--factory", "--port", str(port), "--log-level", "error", "--no-access-log"]
    return [sys.executable, "-m", "uvicorn", *options, "serving_load:application"]


@contextmanager
def running(server: str, bundle: str) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server that answers."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        environment = {
            **os.environ,
            "BENCH_BUNDLE": bundle,
            "BENCH_STORE": str(Path(folder) / "store.db"),
        }
        process = subprocess.Popen(
            command(server, port),
            env=environment,
            cwd=Path(__file__).parent,
            start_new_session=True,
        )
        try:
            wait_for(port)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait()


def wait_for(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


def cpu_seconds(process: int) -> float:
    """User and system time of a process and its children, from /proc."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(entry.name) == process or int(fields[1]) == process:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> int:
    body = json.dumps({"inputs": [{"text": text}]}).encode()
    head = f"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(answer.partition(b"content-length: ")[2].split(b"\r\n")[0]))
    return int(answer.split(b" ", 2)[1])


async def client(port: int, until: float, taken: list[float], failed: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    turn = 0
    while time.perf_counter() < until:
        start = time.perf_counter()
        status = await post(reader, writer, TEXTS[turn % len(TEXTS)])
        taken.append(time.perf_counter() - start)
        if status != 200:
            failed.append(status)
        turn += 1
    writer.close()


async def load(port: int, clients: int, seconds: float) -> tuple[list[float], list[int]]:
    taken: list[float] = []
    failed: list[int] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(client(port, until, taken, failed) for _ in range(clients)))
    return taken, failed


def measure(server: str, given: argparse.Namespace) -> list[dict[str, object]]:
    rows = []
    with running(server, given.bundle) as (port, process):
        asyncio.run(load(port, 4, 0.5))
        for clients in given.clients:
            before, start = cpu_seconds(process), time.perf_counter()
            taken, failed = asyncio.run(load(port, clients, given.seconds))
            seconds = time.perf_counter() - start
            rows.append(
                {
                    "server": server,
                    "clients": clients,
                    "requests_per_s": round(len(taken) / seconds, 1),
                    "p50_ms": round(float(np.percentile(taken, 50)) * 1e3, 2),
                    "p99_ms": round(float(np.percentile(taken, 99)) * 1e3, 2),
                    "cpu_ms_per_request": round(
                        (cpu_seconds(process) - before) / len(taken) * 1e3, 3
                    ),
                    "failed": len(failed),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", nargs="+", default=["uvicorn", "granian"])
    given = parser.parse_args()
    given.bundle = str(Path(given.bundle).resolve())
    print(json.dumps({"machine": platform.platform(), "cores": os.cpu_count()}))
    for turn in range(given.rounds):
        for server in given.servers if turn % 2 == 0 else given.servers[::-1]:
            for row in measure(server, given):
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
