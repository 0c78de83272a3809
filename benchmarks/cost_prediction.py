"""Processor time that is predicted for a served workload, beside what a server really used.

    python -m benchmarks.cost_prediction [BUNDLE] [--requests 1000] [--clients 1 8] [--rounds 4]

Predicted is requests times the processor time of one, as `cost_per_1000` takes it: from a fresh
process that is asked half of the reviews one after another. Used is what `sartor serve` took by
/proc while clients in a closed loop sent it the other half, over HTTP and with its store, each
round in a process of its own. Lengths are mixed, as the reviews are. Takes 2 minutes.
"""

import asyncio
import csv
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._harness import (
    ROOT,
    Interval,
    Line,
    alternate,
    arguments,
    bundle,
    finish,
    machine,
    median_ratio,
    spread,
    takes_bundle,
)
from benchmarks._server import command, connect, cpu_seconds, exchange, free_port, post

from sartor.serve.timing import Load
from sartor.serve.using import measure

GOAL = "within 20 %"
_WARM_UP = 20


def reviews() -> tuple[list[str], list[str]]:
    """Two halves of the training rows: every other text."""
    with (ROOT / "examples" / "reviews" / "reviews.csv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    return texts[::2], texts[1::2]


def predicted(served: str, texts: Sequence[str], requests: int) -> tuple[float, float]:
    """(processor seconds of a request, MiB), of one fresh process."""
    found = measure(served, texts, Load(requests=requests, processes=1))
    return found.cpu, found.memory_mib


def used(served: str, texts: Sequence[str], requests: int, clients: int) -> tuple[float, float]:
    """Likewise, of `sartor serve` under a closed loop of clients."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with subprocess.Popen(command(served, Path(folder) / "store.db", port)) as process:
            try:
                asyncio.run(load(port, texts[:_WARM_UP], clients))
                before = cpu_seconds(process.pid)
                wanted = [texts[k % len(texts)] for k in range(requests)]
                asyncio.run(load(port, wanted, clients))
                taken = cpu_seconds(process.pid) - before
                return taken / requests, peak_mib(process.pid)
            finally:
                process.terminate()


def peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def load(port: int, texts: Sequence[str], clients: int) -> None:
    """Every text once, by clients that each wait for their answer.

    Raises:
        SystemExit: If one is not answered.
    """
    waiting = list(reversed(texts))

    async def client() -> None:
        reader, writer = await connect(port)
        while waiting:
            asked = post("/v1/predict", {"inputs": [{"text": waiting.pop()}]})
            status, said = await exchange(reader, writer, asked)
            if status != 200:
                raise SystemExit(f"status {status}: {said[:200]!r}")
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    facts, served = machine(), bundle(given.bundle)
    known, unseen = reviews()
    sides = ["predicted", *map(str, given.clients)]
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    memory: dict[str, list[float]] = {side: [] for side in sides}
    for _, side in alternate(sides, given.rounds):
        if side == "predicted":
            found = predicted(served, known, 200)
        else:
            found = used(served, unseen, given.requests, int(side))
        cpu[side].append(found[0])
        memory[side].append(found[1])
        print(f"{side}: {found[0] * 1e3:.3f} ms a request, {found[1]:.0f} MiB", flush=True)
    finish(
        "cost_prediction",
        facts,
        lines(cpu, memory, given.requests * given.rounds),
        detail(cpu, memory, served),
    )


def lines(cpu: dict[str, list[float]], memory: dict[str, list[float]], requests: int) -> list[Line]:
    found = [
        Line.of(
            "Processor time of a request, predicted; median, lowest and highest process",
            spread([value * 1e3 for value in cpu["predicted"]]),
            "ms",
        )
    ]
    for side in cpu:
        if side == "predicted":
            continue
        clients = "1 client" if side == "1" else f"{side} clients"
        ratio = median_ratio(cpu["predicted"], cpu[side])
        off = Interval(*(100 * (part - 1) for part in (ratio.low, ratio.middle, ratio.high)))
        found.append(
            Line.of(
                f"Predicted for {requests:,} requests of {clients}, over or under what was used",
                off,
                "%",
                against="`sartor serve`, /proc",
                goal=GOAL,
            )
        )
        more = median_ratio(memory["predicted"], memory[side])
        off = Interval(*(100 * (part - 1) for part in (more.low, more.middle, more.high)))
        found.append(Line.of(f"Peak memory predicted, likewise, {clients}", off, "%", goal=GOAL))
    return found


def detail(
    cpu: dict[str, list[float]], memory: dict[str, list[float]], served: str
) -> dict[str, Any]:
    return {
        "bundle": Path(served).name,
        "cpu_ms_per_request": {k: [round(v * 1e3, 4) for v in found] for k, found in cpu.items()},
        "memory_mib": {k: [round(v, 1) for v in found] for k, found in memory.items()},
    }


if __name__ == "__main__":
    main()
