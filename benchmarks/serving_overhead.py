"""What a server itself costs: CPU time a request with a model that computes nothing.

    python -m benchmarks.serving_overhead [--python PYTHON] [--clients 8 32] [--requests 4000]

Sartor's server with a model whose logits are zeros, no text being tokenized (its checks, batching,
decision rule, metrics and logging at work as ever; no store, as the peers have none) beside plain
FastAPI with a pydantic body, LitServe with batching and Ray Serve with `@serve.batch`, each
answering a constant.
`--python` names a Python that has fastapi, litserve and ray[serve] with onnxruntime and tokenizers;
what it lacks is left out. CPU time is that of the server and all its processes, so that it counts
what runs beside the answering too. Closed loop, keep-alive, one text a request; sides take turns.
About 5 minutes.
"""

import asyncio
import os
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks._harness import (
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
from benchmarks._load import Closed
from benchmarks._peers import OURS, PEERS, Side, peer, running, usable
from benchmarks._server import cpu_seconds

TEXT = "Great value, arrived on time and works exactly as described in the listing."
SERVE = """
import sys, uvicorn
from benchmarks.serving_overhead import application
from sartor.serve.heads import BoundedHead
settings = {"loop": "uvloop", "http": BoundedHead, "log_config": None, "access_log": False}
settings |= {"server_header": False, "ws": "none", "proxy_headers": False}
uvicorn.run(application(), port=int(sys.argv[1]), **settings)
"""
"""As `sartor.serve.run` runs it."""
GOALS = {"litserve": 5.0, "ray": 20.0, "fastapi": 1.5}
WARM = 300
Used = dict[tuple[str, int], list[float]]


class Nothing:
    """Logits of zeros: the graph's place, without the graph."""

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs

    def logits(self, texts):
        import numpy as np

        return np.zeros((len(texts), self.outputs), np.float32)


def application():
    """Sartor's, as `sartor serve` builds it, with the model put out of the way."""
    from dataclasses import replace

    from sartor.serve import runtime
    from sartor.serve.app import create_app
    from sartor.serve.settings import ServeSettings

    settings = ServeSettings(
        bundle=os.environ["BENCH_BUNDLE"], unreleased=True, max_wait_s=60, log_format="none"
    )
    found = runtime.open_runtime(settings)
    return create_app(settings, replace(found, model=Nothing(len(found.outputs))))


def start(name: str, python: str, served: str) -> AbstractContextManager[Side]:
    if name != OURS:
        return running(name, peer(name, python, "-", 1))

    def ours(port: int) -> list[str]:
        return [sys.executable, "-c", SERVE, str(port)]

    return running(name, ours, BENCH_BUNDLE=served)


def micro_seconds(side: Side, clients: int, count: int) -> float:
    """Of CPU time a request.

    Raises:
        SystemExit: If a request is not answered.
    """

    def ask(most: int) -> int:
        asked = [side.request(TEXT)]
        sent = asyncio.run(Closed(side.port, asked, lambda reply: "", most).run(clients))
        if failed := [one.status for one in sent if one.failed]:
            raise SystemExit(f"{side.name} answered {failed[0]}")
        return len(sent)

    ask(WARM)
    before = cpu_seconds(side.process)
    answered = ask(count)
    return (cpu_seconds(side.process) - before) / answered * 1e6


def summary(used: Used, clients: list[int]) -> list[Line]:
    names = list(dict.fromkeys(name for name, _ in used))
    lines: list[Line] = []
    for count in clients:
        where = f"no-op model, {count} clients"
        lines += [
            Line.of(
                f"CPU time a request, {where}: {PEERS.get(name, 'ours')}",
                spread(used[name, count]),
                "µs",
            )
            for name in names
        ]
        lines += [
            Line.of(
                f"CPU time a request is smaller, {where}",
                faster(used[OURS, count], used[name, count]),
                "times",
                against=PEERS[name],
                goal=f"at least {GOALS[name]:g}×",
            )
            for name in names
            if name != OURS
        ]
    return lines


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    parser.add_argument("--python", nargs="+", default=[sys.executable])
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--requests", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    facts, served = machine(), bundle(given.bundle)
    used: Used = {}
    # infinity-emb serves models alone, so it has no server without one.
    pythons = {OURS: sys.executable, **usable(given.python)}
    pythons.pop("infinity", None)
    with tempfile.TemporaryDirectory() as empty:
        os.environ["RAY_TMPDIR"] = str(Path(empty))
        for _, name in alternate(list(pythons), given.rounds):
            with start(name, pythons[name], served) as side:
                for clients in given.clients:
                    found = micro_seconds(side, clients, given.requests)
                    used.setdefault((name, clients), []).append(found)
                    print(f"{name}, {clients} clients: {found:.0f} µs a request", flush=True)
    rounds = {f"{name}/{clients}": values for (name, clients), values in used.items()}
    finish("serving_overhead", facts, summary(used, given.clients), {"rounds": rounds})


if __name__ == "__main__":
    main()
