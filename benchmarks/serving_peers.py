"""Requests a second at p99 ≤ 50 ms, mixed lengths, the same ONNX file: ours beside the peers'.

    python -m benchmarks.serving_peers [BUNDLE] [--python PYTHON …] [--seconds 6] [--rounds 3]
                                       [--again 6] [--longest 128]

Reviews as long as reviews are up to 128 tokens, one a request: 256 tokens alone take half of the
50 ms on two cores, and in a slow moment of a shared machine all of them. FastAPI answers each by a
forward pass of its own in its thread pool; LitServe and Ray Serve gather batches of at most 32, as
their documentation shows. infinity-emb serves the graph by its `optimum` engine, with its defaults.
All run the bundle's graph on ONNX Runtime with the tokenizer of the bundle, all cores, and must
find the label most probable that ours does. `--python` names Pythons that have fastapi, litserve
and ray[serve] with onnxruntime and tokenizers, or infinity-emb[server] with optimum[onnxruntime]
(its requirements are older than the others'); what they lack is left out.

One peer at a time stands beside ours, both started, one of them asked. A closed loop of 32 clients
says how much a server answers at most. Then requests arrive at random at a rate of their own (open
loop), at one rate after the other, the two servers in turn and each with the same arrivals, so that
a slow moment of the machine hits both; a server that has more than a twentieth late is asked no
higher rate in that round. Late is what takes longer than 50 ms, counted from when it was due. The
shares of late ones over the rates are made monotone (isotonic regression over all rounds), and the
rate at which one in a hundred is late is read off between two rates. The same is told for 100 ms.
The peer that comes nearest to ours is then asked `--again` rounds more; all its rounds count.
Beside it stands what the graph alone computes in process, in batches of 32 texts of like length.
The client shares the machine. An hour for four peers on two cores.
"""

import asyncio
import csv
import json
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from benchmarks._harness import (
    DEMO,
    DRAWS,
    Interval,
    Line,
    arguments,
    bundle,
    finish,
    gate,
    machine,
    spread,
    takes_bundle,
)
from benchmarks._load import Closed, open_loop
from benchmarks._peers import OURS, PEERS, Side, lay_out, peer, running, usable
from benchmarks._server import command, connect, exchange
from sklearn.isotonic import IsotonicRegression
from tokenizers import Tokenizer

from sartor.serve import runtime
from sartor.serve.cores import cores

LIMITS_S, CLIENTS = (0.050, 0.100), 32
RATES = (8, 16, 24, 32, 40, 50, 60, 75, 90, 110, 135, 160)
SHARE, FAR = 0.01, 0.05
"""Of requests that may be late, and at which a higher rate need not be asked."""
COMPARED, WARM_S, REST_S = 100, 2.0, 0.5


@dataclass(frozen=True, slots=True)
class Window:
    """One server at one rate for some seconds.

    Args:
        rate: Requests a second.
        sent: Requests.
        late: How many of them took longer than each of `LIMITS_S`, or failed.
        p50_ms: Median of what they took.
        p99_ms: 99th percentile.
    """

    rate: float
    sent: int
    late: tuple[int, ...]
    p50_ms: float
    p99_ms: float


Rounds = list[list[Window]]
"""Of one server beside one other: the windows of each round."""


def reviews(laid: Path, longest: int) -> list[str]:
    """Cut after so many tokens, in the data's order.

    None is longer than the model reads: infinity-emb fails on those.
    """
    tokenizer = Tokenizer.from_file(str(laid / "tokenizer.json"))
    told = json.loads((laid / "side.json").read_text(encoding="utf-8"))
    longest = min(longest, told["max_length"])
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


def saturation(side: Side, texts: Sequence[str], seconds: float) -> float:
    """Requests a second of a closed loop."""
    asked = [side.request(text) for text in texts]
    sent = asyncio.run(Closed(side.port, asked, lambda reply: "").run(CLIENTS, seconds))
    return sum(not one.failed and one.status == 200 for one in sent) / seconds


def window(side: Side, texts: Sequence[str], rate: float, seconds: float, seed: int) -> Window:
    """Requests at that rate, the same ones at the same moments for the same seed."""
    count = max(int(rate * seconds), 1)
    asked = [side.request(text) for text in random.Random(seed).sample(texts, count)]
    sent = asyncio.run(open_loop(side.port, asked, rate, seconds, seed))
    took = np.array([one.seconds if one.status == 200 else np.inf for one in sent])
    late = tuple(int((took > limit).sum()) for limit in LIMITS_S)
    p50, p99 = (float(np.percentile(took, of, method="higher")) * 1_000 for of in (50, 99))
    time.sleep(REST_S)  # what waits from a rate too high is answered
    return Window(rate, len(sent), late, p50, p99)


def climbed(sides: Sequence[Side], texts: Sequence[str], seconds: float, number: int) -> Rounds:
    """For each server its windows of one round, the servers in turn."""
    found: Rounds = [[] for _ in sides]
    for step, rate in enumerate(RATES):
        going = [n for n, past in enumerate(found) if not past or not _far(past[-1])]
        for n in going if (step + number) % 2 == 0 else reversed(going):
            seed = number * len(RATES) + step
            found[n].append(window(sides[n], texts, rate, seconds, seed))
    return found


def _far(last: Window) -> bool:
    return last.late[-1] > FAR * last.sent


def held(rounds: Sequence[Sequence[Window]], limit: int) -> float:
    """The rate at which one request in a hundred is late; 0 where more are at the lowest one.

    Args:
        rounds: Of one server.
        limit: Place among `LIMITS_S`.
    """
    counted: dict[float, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for one in (each for windows in rounds for each in windows):
        late, sent = counted[one.rate]
        counted[one.rate] = late + one.late[limit], sent + one.sent
    rates = sorted(counted)
    sent = [counted[rate][1] for rate in rates]
    shares = [counted[rate][0] / counted[rate][1] for rate in rates]
    shares = IsotonicRegression().fit_transform(rates, shares, sample_weight=sent)
    if shares[0] > SHARE:
        return 0.0
    over = next((at for at, share in enumerate(shares) if share > SHARE), None)
    if over is None:
        return float(rates[-1])
    low, high = shares[over - 1], shares[over]
    return float(np.interp(SHARE, [low, high], [rates[over - 1], rates[over]]))


def between(ours: Rounds, theirs: Rounds | None, limit: int) -> Interval:
    """What ours holds, or how many times what the peer holds, over draws of the rounds."""

    def measure(rounds: Sequence[int]) -> float:
        mine = held([ours[at] for at in rounds], limit)
        if theirs is None:
            return mine
        # A peer that holds no rate is taken to hold the lowest.
        return mine / max(held([theirs[at] for at in rounds], limit), RATES[0])

    draw = np.random.default_rng(0)
    drawn = [measure(draw.integers(0, len(ours), len(ours)).tolist()) for _ in range(DRAWS // 4)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(low), measure(range(len(ours))), float(high))


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


@dataclass(frozen=True, slots=True)
class Pair:
    """Ours beside one peer.

    Args:
        ours: Windows by round.
        theirs: Likewise.
        agree: Share of labels that are the same.
        most: Requests a second of a closed loop, (ours, theirs) by round.
    """

    ours: Rounds
    theirs: Rounds
    agree: float
    most: list[tuple[float, float]]

    def __add__(self, more: "Pair") -> "Pair":
        """The rounds of both."""
        return Pair(
            [*self.ours, *more.ours],
            [*self.theirs, *more.theirs],
            min(self.agree, more.agree),
            [*self.most, *more.most],
        )


def summary(pairs: Mapping[str, Pair], alone: Sequence[float]) -> list[Line]:
    lines = [Line.of("Texts, the graph alone in process", spread(alone), "a second")]
    for limit, seconds in enumerate(LIMITS_S):
        what = f"Requests at p99 ≤ {seconds * 1000:.0f} ms"
        # Rounds beside each peer are rounds of the same thing.
        every = [windows for pair in pairs.values() for windows in pair.ours]
        lines.append(Line.of(f"{what}: ours", between(every, None, limit), "a second"))
        lines += [
            Line.of(f"{what}: {PEERS[name]}", between(pair.theirs, None, limit), "a second")
            for name, pair in pairs.items()
        ]
    at_most = f"Requests, {CLIENTS} clients at once"
    mine = [one for pair in pairs.values() for one, _ in pair.most]
    lines.append(Line.of(f"{at_most}: ours", spread(mine), "a second"))
    for name, pair in pairs.items():
        found = spread([other for _, other in pair.most])
        lines.append(Line.of(f"{at_most}: {PEERS[name]}", found, "a second"))
    for limit, seconds in enumerate(LIMITS_S):
        for name, pair in pairs.items():
            note = gate(pair.agree >= 0.99, f"{pair.agree:.0%} of the labels agree")
            what = f"Requests at p99 ≤ {seconds * 1000:.0f} ms, same graph{note}"
            found = between(pair.ours, pair.theirs, limit)
            goal = "at least 1.2×" if limit == 0 else ""
            lines.append(Line.of(what, found, "times", against=PEERS[name], goal=goal))
    return lines


def nearest(pairs: Mapping[str, Pair]) -> str:
    """The peer that holds the most beside ours."""
    return min(pairs, key=lambda name: between(pairs[name].ours, pairs[name].theirs, 0).middle)


def measured(sides: Sequence[Side], texts: list[str], seconds: float, rounds: range) -> Pair:
    """Both servers, round after round; a round's number decides who begins and what arrives."""
    mine, other = (asyncio.run(labels(side, texts[:COMPARED])) for side in sides)
    pair = Pair([], [], float(np.mean([a == b for a, b in zip(mine, other, strict=True)])), [])
    for side in sides:
        saturation(side, texts, WARM_S)
    for number in rounds:
        most = [0.0, 0.0]
        for at in (0, 1) if number % 2 == 0 else (1, 0):
            most[at] = saturation(sides[at], texts, seconds)
        pair.most.append((most[0], most[1]))
        ours, theirs = climbed(sides, texts, seconds, number)
        pair.ours.append(ours)
        pair.theirs.append(theirs)
        for side, windows in zip(sides, (ours, theirs), strict=True):
            told = ", ".join(f"{w.rate:.0f}/s {w.late[0] / w.sent:.1%}" for w in windows)
            print(f"{side.name}, late beyond 50 ms: {told}", flush=True)
    return pair


def main() -> None:
    parser = arguments(__doc__)
    takes_bundle(parser)
    parser.add_argument("--python", nargs="+", default=[sys.executable])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--again", type=int, default=6, help="more rounds beside the nearest")
    parser.add_argument("--longest", type=int, default=128, help="tokens that a text is cut after")
    given = parser.parse_args()
    facts, served = machine(), bundle(given.bundle)
    peers = usable(given.python)
    if not peers:
        parser.error("none of the Pythons has a peer's server")
    pairs: dict[str, Pair] = {}
    alone: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        laid = lay_out(served, Path(folder))
        texts = reviews(laid, given.longest)
        os.environ["RAY_TMPDIR"] = folder

        def beside(name: str, rounds: range) -> None:
            alone.append(ceiling(served, texts[:512]))
            with (
                start(OURS, sys.executable, served, laid, laid / f"{name}.db") as ours,
                start(name, peers[name], served, laid, laid / "none.db") as theirs,
            ):
                found = measured((ours, theirs), texts, given.seconds, rounds)
            pairs[name] = pairs[name] + found if name in pairs else found
            detail = {"pairs": {each: asdict(pair) for each, pair in pairs.items()}, "alone": alone}
            finish("serving_peers", facts, summary(pairs, alone), detail)

        for name in peers:
            beside(name, range(given.rounds))
        if given.again:
            beside(nearest(pairs), range(given.rounds, given.rounds + given.again))


if __name__ == "__main__":
    main()
