"""From exec to the first correct answer, in process and over HTTP.

    python -m benchmarks.first_answer [BUNDLE] [--rounds 9]

Every round starts a new process. Gives the median, the fastest and the slowest, and the CPU seconds
of the answering process at its first answer, which a busy machine disturbs less. Nine rounds take
about 20 seconds.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._harness import (
    Line,
    alternate,
    arguments,
    bundle,
    finish,
    machine,
    spread,
    takes_bundle,
)
from benchmarks._server import command, connect, cpu_seconds, exchange, free_port, post

IN_PROCESS = (
    "import sys, sartor; print(sartor.load(sys.argv[1], unreleased='allow').predict(['x']))"
)
GOALS = {"in process": "at most 0.3 s", "over HTTP": "at most 0.7 s"}


def in_process(served: str) -> tuple[float, float]:
    """(wall, CPU) seconds until a process has printed its answer and ended."""
    before = os.times()
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", IN_PROCESS, served], check=True, capture_output=True
    )
    wall = time.perf_counter() - start
    if b"probabilities" not in ran.stdout:
        raise SystemExit(f"not an answer: {ran.stdout!r}")
    after = os.times()
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system


def over_http(served: str) -> tuple[float, float]:
    """(wall, CPU) seconds until a client has read the first answer."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        start = time.perf_counter()
        with subprocess.Popen(command(served, Path(folder) / "store.db", port)) as server:
            try:
                status, answer = asyncio.run(first_answer(port))
                wall, used = time.perf_counter() - start, cpu_seconds(server.pid)
            finally:
                server.terminate()
    if status != 200:
        raise SystemExit(f"not an answer: {answer!r}")
    return wall, used


async def first_answer(port: int) -> tuple[int, bytes]:
    reader, writer = await connect(port)
    asked = post("/v1/predict", {"inputs": [{"text": "It broke after two days."}]})
    try:
        return await exchange(reader, writer, asked)
    finally:
        writer.close()


KINDS = {"in process": in_process, "over HTTP": over_http}


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    facts, served = machine(), bundle(given.bundle)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
    for _, name in alternate(list(KINDS), given.rounds):
        taken[name].append(KINDS[name](served))
    lines: list[Line] = []
    for name, found in taken.items():
        walls, used = zip(*found, strict=True)
        what = f"Exec to first answer, {name}; median, fastest, slowest"
        lines.append(Line.of(what, spread(walls), "s", goal=GOALS[name]))
        lines.append(Line.of(f"CPU time of the same, {name}", spread(used), "s"))
    finish("first_answer", facts, lines, {"rounds": given.rounds, "wall_and_cpu_s": taken})


if __name__ == "__main__":
    main()
