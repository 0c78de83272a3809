"""Acknowledged feedback under kill -9: how fast it is acknowledged, and whether any is lost.

    python -m benchmarks.feedback_durability [BUNDLE] [--kills 100] [--clients 64]

Each round starts the server on the same store, sends feedback over HTTP from many connections,
kills the server with SIGKILL at a random moment, and checks that every feedback number that was
acknowledged in any round is in the store. The rate counts acknowledgements between the first and
the last of a round; the client shares the machine with the server. 100 kills take about 5 minutes.
"""

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._harness import Line, arguments, bundle, finish, machine, spread, takes_bundle
from benchmarks._server import command, connect, exchange, free_port, post

LIVES_S = (0.3, 1.3)
"""Seconds from the first feedback to the kill."""


async def speak(port: int, request: bytes, acknowledged: list[tuple[int, float]]) -> None:
    """Send feedback until the connection breaks."""
    try:
        reader, writer = await connect(port)
        while True:
            status, body = await exchange(reader, writer, request)
            if status == 201:
                acknowledged.append((json.loads(body)["id"], time.perf_counter()))
    except (ConnectionError, asyncio.IncompleteReadError):
        return


async def one_round(
    server: subprocess.Popen[bytes], port: int, clients: int, seconds: float
) -> list[tuple[int, float]]:
    reader, writer = await connect(port)
    _, body = await exchange(reader, writer, post("/v1/predict", {"inputs": [{"text": "x"}]}))
    answer = json.loads(body)
    label = answer["outputs"][0]["best"]
    said = post("/v1/feedback", {"request_id": answer["request_id"], "label": label})
    acknowledged: list[tuple[int, float]] = []
    speakers = [asyncio.create_task(speak(port, said, acknowledged)) for _ in range(clients)]
    await asyncio.sleep(seconds)
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.gather(*speakers)
    writer.close()
    return acknowledged


def missing(store: Path, acknowledged: set[int]) -> set[int]:
    connection = sqlite3.connect(store)
    try:
        kept = {number for (number,) in connection.execute("SELECT id FROM feedback")}
        (state,) = connection.execute("PRAGMA integrity_check").fetchone()
    finally:
        connection.close()
    if state != "ok":
        raise SystemExit(f"the store is damaged: {state}")
    return acknowledged - kept


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--clients", type=int, default=64)
    given = parser.parse_args()
    facts, served = machine(), bundle(given.bundle)
    draw = random.Random(0)
    everything: set[int] = set()
    lost: set[int] = set()
    rates: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.db"
        for _ in range(given.kills):
            port = free_port()
            with subprocess.Popen(command(served, store, port)) as server:
                found = asyncio.run(one_round(server, port, given.clients, draw.uniform(*LIVES_S)))
            everything |= {number for number, _ in found}
            lost |= missing(store, everything)
            times = [moment for _, moment in found]
            if len(times) > 1:
                rates.append(len(times) / (max(times) - min(times)))
    lines = [
        Line(f"Acknowledged feedback lost in {given.kills} kills", len(lost), "", goal="0"),
        Line("Feedback acknowledged in all", len(everything), ""),
        Line.of(
            f"Acknowledged a second, {given.clients} clients; median, slowest, fastest round",
            spread(rates),
            "a second",
            goal="at least 1,000",
        ),
    ]
    detail = {"kills": given.kills, "clients": given.clients, "acknowledged_per_s": rates}
    finish("feedback_durability", facts, lines, detail)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
