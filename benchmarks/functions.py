"""A bundle as an AWS Lambda function: megabytes, seconds of a cold start, time of an answer.

    python -m benchmarks.functions [BUNDLE] [--rounds 9] [--requests 200]

The package is what `sartor ship --to lambda` and its build.sh make, for this Python; pip fetches
the libraries from the index that it is set up for. It runs under AWS's Runtime Interface Emulator,
with nothing else to import. A cold start is the first invocation, which starts the process: unlike
on AWS, the package is on this disk. Where mangum is installed, the same is measured of the server's
whole ASGI application behind it, with this environment's libraries, sides taking turns. Takes about
two minutes.
"""

import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
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
from benchmarks._places import built, emulated, missing, url_event

from sartor.ship.writing import ship

OURS, PEER = "ours", "mangum and the ASGI application"
EVENT = url_event(b'{"inputs": [{"text": "It broke after two days."}]}')
WARM_UP = 10
# Its lifespan is off: mangum would end it, and with it the batcher, after each invocation.
_PEER = """
import os
from mangum import Mangum
from sartor.serve.app import create_app
from sartor.serve.settings import ServeSettings
bundle = os.path.join(os.environ["LAMBDA_TASK_ROOT"], "bundle")
handler = Mangum(create_app(ServeSettings(bundle, unreleased=True, threads=1)), lifespan="off")
"""


def one(package: Path, side: str, more: Path, requests: int) -> tuple[float, list[float]]:
    """Seconds of the first invocation, and of each of the others after a warm-up."""
    module, folders = ("handler.handler", ()) if side == OURS else ("peer.handler", _peer(more))
    with emulated(package, module, folders) as invoke:
        cold = _timed(invoke)
        for _ in range(WARM_UP):
            _timed(invoke)
        return cold, [_timed(invoke) for _ in range(requests)]


def _peer(more: Path) -> tuple[Path, ...]:
    """Where the peer's modules lie: its own file, then this environment's libraries."""
    found = importlib.util.find_spec("starlette"), importlib.util.find_spec("mangum")
    return (more, *(Path(spec.origin).parents[1] for spec in found if spec and spec.origin))


def _timed(invoke: Any) -> float:
    start = time.perf_counter()
    reply = invoke(EVENT)
    seconds = time.perf_counter() - start
    if reply.get("statusCode") != 200:
        raise SystemExit(f"not an answer: {reply}")
    return seconds


def size_mb(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=200)
    given = parser.parse_args()
    facts, served = machine(), Path(bundle(given.bundle))
    lines: list[Line] = []
    cold: dict[str, list[float]] = {}
    warm: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "shipped"
        ship(served, "lambda", folder, unreleased=True)
        package = built(folder)
        held = size_mb(package / "bundle")
        what = "Package for AWS Lambda, unpacked"
        lines.append(Line(what, size_mb(package), "MB", goal="at most 150 MB"))
        lines.append(Line("Of that the bundle", held, "MB"))
        if lacks := missing("lambda"):
            print(f"not started: {lacks}", flush=True)
            sides: list[str] = []
        else:
            sides = [OURS, *([PEER] if importlib.util.find_spec("mangum") else [])]
        (folder / "peer.py").write_text(_PEER, "utf-8")
        for _, side in alternate(sides, given.rounds):
            first, others = one(package, side, folder, given.requests)
            cold.setdefault(side, []).append(first)
            warm.setdefault(side, []).append(others)
    for side in sides:
        shown = f"{side}; median, fastest, slowest of {given.rounds} starts"
        lines.append(Line.of(f"Cold start under the emulator, {shown}", spread(cold[side]), "s"))
        for share in (50, 95):
            each = [1e3 * float(np.percentile(times, share)) for times in warm[side]]
            what = f"Answer when warm, one text, p{share}, {shown}"
            lines.append(Line.of(what, spread(each), "ms"))
    detail = {"rounds": given.rounds, "requests": given.requests, "cold_s": cold}
    finish("functions", facts, lines, detail)


if __name__ == "__main__":
    main()
