# pyright: reportAttributeAccessIssue=false
"""A served deployment under load for minutes: swaps, rollbacks, memory, then far too much load.

    python -m benchmarks.soak [BUNDLE] [--minutes 3] [--cycles 5] [--clients 8] [--overload 20]
                              [--max-wait 2]

Clients in a closed loop send reviews of mixed lengths, while the real commands swap two bundles 20
times and roll back 5 times, evenly spread. The second bundle is the first with another threshold,
and each answer is held against the threshold of the model that it names. A request fails that is
not answered, or answered wrongly. Memory is the server's resident set, read twice a second; its
slope is that of a line through the medians of eight blocks after the first quarter, with Student's
interval.

Then, on a fresh server for each bound on the waiting: one client alone; an open loop that sends ten
times what the closed loop got through; and one client alone again, until twenty answers in a row
took at most three times the unloaded p99. The clients share the machine with the server.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import (
    ROOT,
    Interval,
    Line,
    arguments,
    bundle,
    finish,
    machine,
    takes_bundle,
)
from benchmarks._load import Check, Closed, Sent, open_loop, requests
from benchmarks._server import free_port

from sartor.bundle import open_bundle, write_bundle

SARTOR = [sys.executable, "-c", "from sartor.cli import main; main()"]
CYCLE = ("deploy", "deploy", "deploy", "deploy", "rollback")
TIMES_RATE, TIMES_P99, IN_A_ROW = 10, 3, 20
BLOCKS, SKIPPED, PAUSE_S, WARM_UP_S = 8, 0.25, 0.5, 3
CLOSE = 1e-3


@dataclass(frozen=True, slots=True)
class Memory:
    """The server's resident set at one time: `time.perf_counter()`, MB."""

    at: float
    mb: float


class Watch:
    """Reads a process's memory until stopped."""

    def __init__(self, process: int) -> None:
        self._process, self.samples = process, list[Memory]()

    async def run(self) -> None:
        while True:
            self.samples.append(Memory(time.perf_counter(), self._field("VmRSS")))
            await asyncio.sleep(PAUSE_S)

    def peak(self) -> float:
        """The kernel's own high-water mark, MB."""
        return self._field("VmHWM")

    def _field(self, name: str) -> float:
        lines = Path(f"/proc/{self._process}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1e3


def sister(folder: Path, place: Path) -> Path:
    """The same model, which abstains at another threshold: another bundle with other answers."""
    first = open_bundle(folder)
    threshold = float(first.manifest.decision.get("abstain_below", 0.0))
    decision = {**first.manifest.decision, "abstain_below": 0.6 if threshold > 0.7 else 0.9}
    content = {
        name: folder / name
        for name, entry in first.manifest.files.items()
        if entry.content and name not in ("README.md", "need.yaml", "learnt.bin", "chose.bin")
    }
    manifest = first.manifest.model_copy(update={"decision": decision, "verdicts": []})
    text = (folder / "need.yaml").read_text(encoding="utf-8")
    write_bundle(place, manifest, content, text)
    return place


def checked(folders: Sequence[Path]) -> Check:
    """Whether an answer abstains exactly where the model that it names would."""
    manifests = [open_bundle(folder).manifest for folder in folders]
    floors = {one.id: float(one.decision.get("abstain_below", 0.0)) for one in manifests}

    def check(reply: Mapping[str, Any]) -> str:
        if reply["model"] not in floors:
            return f"unknown model {reply['model'][:12]}"
        floor = floors[reply["model"]]
        for output in reply["outputs"]:
            surest = max(output["probabilities"].values())
            abstained = output["label"] is None
            if abs(surest - floor) > CLOSE and abstained != (surest < floor):
                return f"{reply['model'][:12]} with threshold {floor} gave {output}"
        return ""

    return check


def command(*words: object) -> None:
    """Run `sartor` and wait until the server has taken what it did."""
    ran = subprocess.run(
        [*SARTOR, *map(str, words)], check=False, cwd=ROOT, capture_output=True, text=True
    )
    if ran.returncode:
        raise SystemExit(f"sartor {' '.join(map(str, words))} failed: {ran.stderr}")


@contextmanager
def serving(folder: Path, max_wait: float) -> Iterator[tuple[int, int]]:
    """(port, process) of a server that follows the deployment; it must end well."""
    port = free_port()
    words = ["serve", "--deployment", "soak", "--port", port, "--max-wait", max_wait]
    process = subprocess.Popen(
        [*SARTOR, *map(str, words), "--workspace", str(folder)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        yield port, process.pid
        process.send_signal(signal.SIGTERM)
        if process.wait(60):
            raise SystemExit(f"the server ended with status {process.returncode}")
    finally:
        process.kill()
        process.wait()


async def swap(folder: Path, bundles: Sequence[Path], seconds: float, cycles: int) -> list[float]:
    """Swap and roll back, evenly spread; seconds that each command took."""
    start, took, order = time.perf_counter(), list[float](), CYCLE * cycles
    for number, action in enumerate(order, 1):
        due = start + seconds * number / (len(order) + 1)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        # After each rollback too, the next one is another than what is live.
        words = ["deploy", bundles[number % 2], "--name", "soak", "--unreleased"]
        if action == "rollback":
            words = ["rollback", "soak"]
        began = time.perf_counter()
        await asyncio.to_thread(command, *words, "--workspace", folder)
        took.append(time.perf_counter() - began)
    await asyncio.sleep(max(0.0, start + seconds - time.perf_counter()))
    return took


async def soak(
    port: int, process: int, folder: Path, bundles: Sequence[Path], given: argparse.Namespace
) -> dict[str, Any]:
    """Clients in a closed loop while versions are swapped."""
    asked, check = requests(2_000), checked(bundles)
    await Closed(port, asked, check).run(2, WARM_UP_S)
    watch = Watch(process)
    watching = asyncio.create_task(watch.run())
    load = Closed(port, asked, check)
    began = time.perf_counter()
    running = asyncio.create_task(load.run(given.clients))
    took = await swap(folder, bundles, given.minutes * 60, given.cycles)
    load.going = False
    await running
    rate = len(load.sent) / (time.perf_counter() - began)
    watching.cancel()
    print(f"closed loop: {len(load.sent):,} requests, {rate:,.0f} a second", flush=True)
    return {
        "load": load.sent,
        "rate": rate,
        "took": took,
        "memory": watch.samples,
        "peak_mb": watch.peak(),
    }


async def overload(
    port: int, process: int, bundles: Sequence[Path], rate: float, given: argparse.Namespace
) -> dict[str, Any]:
    """One client alone, then far too much, then one client alone until it is as fast again."""
    asked, check = requests(2_000), checked(bundles)
    await Closed(port, asked, check).run(2, WARM_UP_S)
    alone = await Closed(port, asked, check).run(1, given.alone)
    over = await open_loop(port, asked, rate * TIMES_RATE, given.overload)
    ended = time.perf_counter()
    again = await recovery(port, asked, check, TIMES_P99 * p99(alone))
    peak = Watch(process).peak()
    return {"alone": alone, "over": over, "recovery_s": again - ended, "peak_mb": peak}


async def recovery(port: int, asked: list[bytes], check: Check, most_s: float) -> float:
    """When the first of twenty answers in a row was sent that took at most `most_s`."""
    row: list[Sent] = []
    while len(row) < IN_A_ROW:
        probe = Closed(port, asked[len(row) :], check, most=1)
        (sent,) = await probe.run(1)
        row = [*row, sent] if sent.status == 200 and sent.seconds <= most_s else []
    return row[0].at


def p99(sent: Sequence[Sent]) -> float:
    """Seconds, of those that were answered."""
    return float(np.percentile([one.seconds for one in sent if one.status == 200], 99))


def slope(samples: Sequence[Memory]) -> Interval:
    """MB a minute: least squares through block medians after the first part; Student's interval."""
    from scipy.stats import linregress, t

    kept = samples[int(len(samples) * SKIPPED) :]
    blocks = np.array_split(np.array([(one.at / 60, one.mb) for one in kept]), BLOCKS)
    points = np.array([np.median(block, axis=0) for block in blocks])
    found = linregress(points[:, 0], points[:, 1])
    half = float(t.ppf(0.975, BLOCKS - 2) * found.stderr)
    return Interval(float(found.slope) - half, float(found.slope), float(found.slope) + half)


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--cycles", type=int, default=5, help="of 4 swaps and a rollback")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--alone", type=float, default=8, help="seconds of the unloaded client")
    parser.add_argument("--overload", type=float, default=20, help="seconds of the open loop")
    parser.add_argument(
        "--max-wait", type=float, nargs="+", default=[2], help="the server's, in seconds"
    )
    given = parser.parse_args()
    facts, first = machine(), Path(bundle(given.bundle))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundles = (first, sister(first, folder / "sister"))
        command("deploy", first, "--name", "soak", "--unreleased", "--workspace", folder)
        with serving(folder, given.max_wait[0]) as (port, process):
            found = asyncio.run(soak(port, process, folder, bundles, given))
        overs: dict[float, dict[str, Any]] = {}
        for wait in given.max_wait:
            with serving(folder, wait) as (port, process):
                overs[wait] = asyncio.run(overload(port, process, bundles, found["rate"], given))
    lines = soak_lines(found, given)
    for wait, over in overs.items():
        lines += overload_lines(over, wait, given)
    finish("soak", facts, lines, detail(found, overs))
    sys.exit(1 if any(one.failed for one in found["load"]) else 0)


def soak_lines(found: Mapping[str, Any], given: argparse.Namespace) -> list[Line]:
    load = found["load"]
    failed = sum(one.failed for one in load)
    refused = sum(one.status in (429, 503) for one in load)
    counts = [given.cycles * CYCLE.count(action) for action in ("deploy", "rollback")]
    swaps = f"{counts[0]} swaps and {counts[1]} rollbacks"
    while_what = f"{given.minutes:g} minutes, {given.clients} clients, {swaps}"
    return [
        Line(f"Failed requests, {while_what}", failed, "", goal="0"),
        Line("Turned away with 503 or 429 in that time", refused, "", goal="0"),
        Line("Requests answered in that time", len(load) - failed - refused, ""),
        Line("The same, a second", found["rate"], "a second"),
        Line("p99 in that time", p99(load) * 1e3, "ms"),
        Line.of(
            "Memory, slope after the first quarter",
            slope(found["memory"]),
            "MB a minute",
            goal="at most 1",
        ),
        Line("Memory, highest in that time", found["peak_mb"], "MB"),
    ]


def overload_lines(found: Mapping[str, Any], wait: float, given: argparse.Namespace) -> list[Line]:
    alone, over = found["alone"], found["over"]
    accepted = [one for one in over if one.status == 200]
    shed = sum(one.status in (429, 503) for one in over)
    what = f"{TIMES_RATE} times that rate for {given.overload:g} s, --max-wait {wait:g}"
    times = [
        Line(f"p99 of what was accepted, {what}", p99(accepted) * 1e3, "ms"),
        Line(
            "The same, against one client alone",
            p99(accepted) / p99(alone),
            "times",
            goal=f"at most {TIMES_P99}×",
        ),
    ]
    return [
        Line("p99, one client alone", p99(alone) * 1e3, "ms"),
        *(times if accepted else [Line(f"Nothing was accepted, {what}", 0, "")]),
        Line("Shed with 503 or 429, then", 100 * shed / len(over), "%"),
        Line("Neither answered nor shed, then", sum(one.failed for one in over), "", goal="0"),
        Line("Until the times are back, after it", found["recovery_s"], "s", goal="at most 10 s"),
        Line("Peak memory of the server, overload included", found["peak_mb"], "MB"),
    ]


def detail(found: Mapping[str, Any], overs: Mapping[float, Mapping[str, Any]]) -> dict[str, Any]:
    start = found["memory"][0].at
    return {
        "wrong": [asdict(one) for one in found["load"] if one.failed][:20],
        "command_s": [round(one, 2) for one in found["took"]],
        "memory_mb": [(round(one.at - start, 1), round(one.mb, 1)) for one in found["memory"]][::4],
        "overload": [
            {"max_wait_s": wait, "sent": len(over["over"]), "accepted": accepted(over["over"])}
            for wait, over in overs.items()
        ],
    }


def accepted(sent: Sequence[Sent]) -> dict[str, float]:
    """How many, and their times in milliseconds."""
    took = [one.seconds * 1e3 for one in sent if one.status == 200]
    points = {f"p{share}_ms": float(np.percentile(took, share)) for share in (50, 95, 99) if took}
    return {"requests": len(took), **points}


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
