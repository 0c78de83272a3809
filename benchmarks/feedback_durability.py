"""Acknowledged feedback under kill -9: how fast it is acknowledged, and whether any is lost.

    python benchmarks/feedback_durability.py BUNDLE [--kills 100] [--clients 64]

Each round starts the server on the same store, sends feedback over HTTP from many connections,
kills the server with SIGKILL at a random moment, and checks that every feedback number that was
acknowledged in any round is in the store. The rate counts acknowledgements between the first and
the last of a round; the client shares the machine with the server.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVE = """
import sys
from sartor.serve.run import serve
from sartor.serve.settings import ServeSettings
serve(ServeSettings(bundle=sys.argv[1], store=sys.argv[2], port=int(sys.argv[3]), unreleased=True))
"""
PORT = 8732


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes]:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def post(path: str, content: object) -> bytes:
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for _ in range(2_000):
        try:
            return await asyncio.open_connection("127.0.0.1", PORT)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
    raise SystemExit("the server did not start")


async def speak(request: bytes, acknowledged: list[tuple[int, float]]) -> None:
    """Send feedback until the connection breaks."""
    try:
        reader, writer = await connect()
        while True:
            status, body = await exchange(reader, writer, request)
            if status == 201:
                acknowledged.append((json.loads(body)["id"], time.perf_counter()))
    except (ConnectionError, asyncio.IncompleteReadError):
        return


async def one_round(
    server: subprocess.Popen[bytes], clients: int, seconds: float
) -> list[tuple[int, float]]:
    reader, writer = await connect()
    _, body = await exchange(reader, writer, post("/v1/predict", {"inputs": [{"text": "x"}]}))
    answer = json.loads(body)
    label = answer["outputs"][0]["best"]
    said = post("/v1/feedback", {"request_id": answer["request_id"], "label": label})
    acknowledged: list[tuple[int, float]] = []
    speakers = [asyncio.create_task(speak(said, acknowledged)) for _ in range(clients)]
    await asyncio.sleep(seconds)
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.gather(*speakers)
    writer.close()
    return acknowledged


def missing(store: Path, acknowledged: set[int]) -> set[int]:
    with sqlite3.connect(store) as connection:
        kept = {number for (number,) in connection.execute("SELECT id FROM feedback")}
        (state,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    assert state == "ok", state
    return acknowledged - kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--clients", type=int, default=64)
    given = parser.parse_args()
    print(
        json.dumps(
            {"machine": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()}
        )
    )
    draw = random.Random(0)
    everything: set[int] = set()
    lost: set[int] = set()
    rates: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.db"
        command = [sys.executable, "-c", SERVE, given.bundle, str(store), str(PORT)]
        for _ in range(given.kills):
            with subprocess.Popen(command) as server:
                found = asyncio.run(one_round(server, given.clients, draw.uniform(0.3, 1.3)))
            everything |= {number for number, _ in found}
            lost |= missing(store, everything)
            times = [moment for _, moment in found]
            if len(times) > 1:
                rates.append(len(times) / (max(times) - min(times)))
    row = {
        "kills": given.kills,
        "acknowledged": len(everything),
        "lost": len(lost),
        "acknowledged_per_s_median": round(statistics.median(rates)),
        "slowest_round": round(min(rates)),
        "fastest_round": round(max(rates)),
        "clients": given.clients,
    }
    print(json.dumps(row))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
