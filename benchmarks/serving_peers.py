"""Requests a second at p99 ≤ 50 ms, mixed lengths, the same ONNX file: ours beside the peers'.

    python -m benchmarks.serving_peers [BUNDLE] [--python PYTHON …] [--seconds 6] [--rounds 3]

Reviews as long as reviews are, one a request. FastAPI answers each by a forward pass of its own in
its thread pool; LitServe and Ray Serve gather batches of at most 32, as their documentation shows.
infinity-emb serves the graph by its `optimum` engine, with its defaults. All run the bundle's graph
on ONNX Runtime with the tokenizer of the bundle, all cores, and must give the labels that ours
gives. `--python` names Pythons that have fastapi, litserve and ray[serve] with onnxruntime and
tokenizers, or infinity-emb[server] with optimum[onnxruntime] (its requirements are older than the
others'); what they lack is left out.

A closed loop of 32 clients says how much a server answers at most. Then requests arrive at random
at a rate of their own (open loop), and that rate is halved in on until the highest is found at
which 99 of 100 are answered within 50 ms, counted from when they were due, and none fails. Beside
it stands what the graph alone computes in process, in batches of 32 texts of like length. The
client shares the machine. A round of four servers takes about four minutes.
"""

import asyncio
import csv
import json
import os
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from benchmarks._harness import (
    DEMO,
    Interval,
    Line,
    alternate,
    arguments,
    bundle,
    finish,
    gate,
    machine,
    median_ratio,
    spread,
    takes_bundle,
)
from benchmarks._load import Closed, open_loop
from benchmarks._peers import OURS, PEERS, Side, lay_out, peer, running, usable
from benchmarks._server import command, connect, exchange
from tokenizers import Tokenizer

from sartor.serve import runtime
from sartor.serve.cores import cores

LIMIT_S, CLIENTS, STEPS = 0.050, 32, 6
COMPARED, WARM_S = 100, 2.0


def reviews(laid: Path) -> list[str]:
    """As long as the model reads them, in the data's order: infinity-emb fails on longer ones."""
    tokenizer = Tokenizer.from_file(str(laid / "tokenizer.json"))
    longest = json.loads((laid / "side.json").read_text(encoding="utf-8"))["max_length"]
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    with (DEMO.parent / "reviews.csv").open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    ends = [max(end for _, end in read.offsets) for read in tokenizer.encode_batch(texts)]
    return [text[:end] for text, end in zip(texts, ends, strict=True)]


def start(
    name: str, python: str, served: str, laid: Path, store: Path
) -> AbstractContextManager[Side]:
    if name == OURS:
        return running(name, lambda port: command(served, store, port))
    quiet = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}  # nothing asks the network meanwhile
    return running(name, peer(name, python, str(laid), cores()), **quiet)


async def labels(side: Side, texts: list[str]) -> list[str]:
    reader, writer = await connect(side.port)
    found = [side.label((await exchange(reader, writer, side.request(text)))[1]) for text in texts]
    writer.close()
    return found


def saturation(side: Side, asked: list[bytes], seconds: float) -> float:
    """Requests a second of a closed loop."""
    sent = asyncio.run(Closed(side.port, asked, lambda reply: "").run(CLIENTS, seconds))
    return sum(not one.failed and one.status == 200 for one in sent) / seconds


def held(side: Side, asked: list[bytes], rate: float, seconds: float) -> bool:
    """Whether 99 of 100 requests at that rate are answered within the limit."""
    sent = asyncio.run(open_loop(side.port, asked, rate, seconds))
    late = sum(one.status != 200 or one.seconds > LIMIT_S for one in sent)
    return late <= 0.01 * len(sent)


def highest(side: Side, asked: list[bytes], most: float, seconds: float) -> float:
    """The highest rate that is held, by bisection below `most`; 0 where none is."""
    low, high = 0.0, most
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if held(side, asked, middle, seconds) else (low, middle)
        time.sleep(0.5)  # what waits from a rate too high is answered
    return low


def ceiling(served: str, texts: list[str]) -> float:
    """Texts a second of the graph alone."""
    found = runtime.load(served, unreleased="allow")
    ordered = sorted(texts, key=len)
    batches = [ordered[at : at + 32] for at in range(0, len(ordered), 32)]
    found.logits(batches[0])
    began = time.perf_counter()
    for batch in batches:
        found.logits(batch)
    return len(texts) / (time.perf_counter() - began)


def summary(
    rates: dict[str, list[float]],
    tops: dict[str, list[float]],
    alone: list[float],
    agree: dict[str, float],
) -> list[Line]:
    lines = [Line.of("Texts, the graph alone in process", spread(alone), "a second")]
    for name in rates:
        shown = PEERS.get(name, "ours")
        lines += [
            Line.of(f"Requests at p99 ≤ 50 ms: {shown}", spread(rates[name]), "a second"),
            Line.of(
                f"Requests, {CLIENTS} clients at once: {shown}", spread(tops[name]), "a second"
            ),
        ]
    for name in (name for name in rates if name != OURS):
        note = gate(agree[name] >= 0.99, f"{agree[name]:.0%} of the labels agree")
        what = f"Requests at p99 ≤ 50 ms, same graph{note}"
        if min(rates[name]) > 0:
            found = median_ratio(rates[OURS], rates[name])
        else:  # a peer that holds no rate at all has no ratio
            found = Interval(np.inf, np.inf, np.inf)
        lines.append(Line.of(what, found, "times", against=PEERS[name], goal="at least 1.2×"))
    return lines


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    parser.add_argument("--python", nargs="+", default=[sys.executable])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    facts, served = machine(), bundle(given.bundle)
    pythons = {OURS: sys.executable, **usable(given.python)}
    names = list(pythons)
    rates: dict[str, list[float]] = {name: [] for name in names}
    tops: dict[str, list[float]] = {name: [] for name in names}
    agree, alone, ours = dict.fromkeys(names, 1.0), [], []
    with tempfile.TemporaryDirectory() as folder:
        laid = lay_out(served, Path(folder))
        texts = reviews(laid)
        os.environ["RAY_TMPDIR"] = folder
        for number, name in alternate(names, given.rounds):
            if name == OURS:
                alone.append(ceiling(served, texts[:512]))
            with start(name, pythons[name], served, laid, laid / f"{number}.db") as side:
                found = asyncio.run(labels(side, texts[:COMPARED]))
                ours = found if name == OURS else ours
                asked = [side.request(text) for text in texts]
                saturation(side, asked, WARM_S)
                tops[name].append(saturation(side, asked, given.seconds))
                rates[name].append(highest(side, asked, 1.1 * tops[name][-1], given.seconds))
            if name != OURS and ours:
                agree[name] = float(np.mean([a == b for a, b in zip(found, ours, strict=True)]))
            print(
                f"{name}: {rates[name][-1]:.0f}/s held, {tops[name][-1]:.0f}/s at most", flush=True
            )
    detail = {"rates": rates, "saturation": tops, "alone": alone, "agree": agree}
    finish(
        "serving_peers", facts, summary(rates, tops, alone, agree), json.loads(json.dumps(detail))
    )


if __name__ == "__main__":
    main()
