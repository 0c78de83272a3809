"""Processor time that is predicted for a served workload, beside what a server really used.

    python -m benchmarks.cost_prediction [BUNDLE] [--requests 1000] [--rounds 4]

Predicted is requests times the processor time of one, as `cost_per_1000` takes it: from a fresh
process that is asked half of the reviews, one after another and then eight at once. Used is what
`sartor serve --threads 1` took by /proc while it was sent the other half, over HTTP and with its
store, each round in a process of its own: by one client and by eight in a closed loop, and by one
that pauses 50 ms between requests. Lengths are mixed, as the reviews are. The last line is not
predicted: the pausing client with as many threads as there are cores. Takes 3 minutes, and as long
again where there is no bundle yet.
"""

import asyncio
import csv
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
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
PREDICTED, BUSY = "predicted", "predicted of 8 at once"
SPINNING = "1 client that pauses, a thread a core"
_WARM_UP = 20
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Workload:
    """Clients that each wait for their answer, then for a pause.

    Args:
        clients: At once.
        pause: Seconds.
        threads: Of a pass; 0 for a thread a core.
    """

    clients: int
    pause: float = 0.0
    threads: int = 1


WORKLOADS = {
    "1 client": Workload(1),
    "8 clients": Workload(8),
    "1 client that pauses": Workload(1, _PAUSE_S),
    SPINNING: Workload(1, _PAUSE_S, 0),
}


def reviews() -> tuple[list[str], list[str]]:
    """Two halves of the training rows: every other text."""
    with (ROOT / "examples" / "reviews" / "reviews.csv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    return texts[::2], texts[1::2]


def predicted(served: str, texts: Sequence[str], requests: int) -> list[tuple[float, float]]:
    """(processor seconds of a request, MiB), of one fresh process: alone, and eight at once."""
    found = measure(served, texts, Load(requests=requests, processes=1, threads=1))
    (busy,) = found.busy_seconds
    return [(found.cpu, found.memory_mib), (busy, found.busy_memory_mib)]


def used(served: str, texts: Sequence[str], requests: int, work: Workload) -> tuple[float, float]:
    """Likewise, of `sartor serve` under a workload."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        start = command(served, Path(folder) / "store.db", port, work.threads)
        with subprocess.Popen(start) as process:
            try:
                asyncio.run(load(port, texts[:_WARM_UP], Workload(work.clients)))
                before = cpu_seconds(process.pid)
                wanted = [texts[k % len(texts)] for k in range(requests)]
                asyncio.run(load(port, wanted, work))
                taken = cpu_seconds(process.pid) - before
                return taken / requests, peak_mib(process.pid)
            finally:
                process.terminate()


def peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def load(port: int, texts: Sequence[str], work: Workload) -> None:
    """Every text once.

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
            await asyncio.sleep(work.pause)
        writer.close()

    await asyncio.gather(*(client() for _ in range(work.clients)))


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    facts, served = machine(), bundle(given.bundle)
    known, unseen = reviews()
    cpu: dict[str, list[float]] = {side: [] for side in (PREDICTED, BUSY, *WORKLOADS)}
    memory: dict[str, list[float]] = {side: [] for side in cpu}
    for _, side in alternate([PREDICTED, *WORKLOADS], given.rounds):
        if side == PREDICTED:
            both = predicted(served, known, min(200, given.requests))
            found = dict(zip((PREDICTED, BUSY), both, strict=True))
        else:
            # A pause costs wall time: a fifth of the requests tells as much.
            count = given.requests // (5 if WORKLOADS[side].pause else 1)
            found = {side: used(served, unseen, count, WORKLOADS[side])}
        for name, (seconds, mib) in found.items():
            cpu[name].append(seconds)
            memory[name].append(mib)
            print(f"{name}: {seconds * 1e3:.3f} ms a request, {mib:.0f} MiB", flush=True)
    finish("cost_prediction", facts, lines(cpu, memory), detail(cpu, memory, served))


def lines(cpu: dict[str, list[float]], memory: dict[str, list[float]]) -> list[Line]:
    """What the page shows."""
    found = [
        Line.of(
            "Processor time of a request, predicted; median, lowest and highest process",
            spread([value * 1e3 for value in cpu[PREDICTED]]),
            "ms",
        )
    ]
    for side, work in WORKLOADS.items():
        if work.threads == 1:
            peer = f"`sartor serve --threads 1`, {side}"
            for what, of in (("processor time", cpu), ("peak memory", memory)):
                told = of[BUSY if work.clients > 1 else PREDICTED]
                off = percent(median_ratio(told, of[side]))
                text = f"Predicted {what}, over (+) or under (−) what was used"
                found.append(Line.of(text, off, "%", against=peer, goal=GOAL))
    paused = median_ratio(cpu[SPINNING], cpu["1 client that pauses"])
    text = "Processor time of a request to a seldom asked server, a thread a core"
    found.append(Line.of(text, paused, "times", against="one thread"))
    return found


def percent(ratio: Interval) -> Interval:
    """A ratio as what it is above one."""
    return Interval(*(100 * (part - 1) for part in (ratio.low, ratio.middle, ratio.high)))


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
