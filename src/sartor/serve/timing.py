"""Latency of a bundle, one request at a time, in fresh processes.

One process's latencies share its memory layout and its thread placement, so they say little about
the next process: the spread between processes is the honest error. Run as
`python -m sartor.serve.timing BUNDLE --texts FILE --requests N --threads T`, this measures one
process and prints JSON; `measure` runs six of them, one after the other, and six more where
something else was at work beside one of them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sartor.bundle import Bundle, open_bundle
from sartor.core.errors import BundleError, SettingError
from sartor.core.texts import Text, cells_of, named
from sartor.serve.opening import composed, slow

if TYPE_CHECKING:
    from sartor.serve.runtime import Runtime

Row = str | tuple[str, ...] | dict[str, Any]
"""A text, several of them, or a row with columns as a request holds it."""
PROCESSES = 6
_TAIL, _APART = 95, 1.25
_PATIENCE_S = 600


@dataclass(frozen=True, slots=True)
class Load:
    """What one process answers: requests of one text each, the texts in turn."""

    requests: int = 200
    """Timed requests in a process, after a warm-up that is not timed."""
    threads: int | None = None
    """Threads of one forward pass; the cores this process may use when None."""
    processes: int = PROCESSES
    """Fresh processes, one after the other."""
    warm_up: int = 10
    """Requests before the timed ones."""
    allow_llm: tuple[str, ...] = ()
    """URLs of language models that the bundle may ask."""
    doubled: bool = True
    """Whether there are as many again where one took a quarter longer than most (95 % of its
    requests): what came from outside shall not decide. All count, the slow one too."""

    def sparing(self) -> "Load":
        """As little as says anything: for a bundle whose every answer is asked of others."""
        return replace(self, requests=min(self.requests, 5), warm_up=1, doubled=False)

    def bearable(self, bundle: Bundle) -> "Load":
        """As much as a bundle bears: `sparing` where answers take long, and some more of a product,
        which writes about some rows and not about others."""
        if not slow(bundle):
            return self
        if composed(bundle):
            return replace(self, requests=min(self.requests, 20), warm_up=1)
        return self.sparing()


def measure(
    bundle: str | Path, texts: Sequence[Text], load: Load | None = None
) -> NDArray[np.float64]:
    """(processes, requests) latencies in milliseconds, text in to answer out.

    There are twice the processes where `Load.doubled` says so.

    Args:
        bundle: The bundle's folder.
        texts: What is asked, in turn; their lengths decide the result.
        load: How much is asked, how often.

    Raises:
        SettingError: If there is no text, or `load` asks for nothing.
        BundleError: If the bundle is damaged, or a process cannot run it.
    """
    load = load or Load()
    if not texts or load.requests < 1 or load.processes < 1:
        raise SettingError(
            f"Nothing to time: {len(texts)} texts, {load.requests} requests, "
            f"{load.processes} processes.",
            fix="give at least one of each.",
        )
    keys = tuple(open_bundle(bundle).manifest.inputs)
    rows = [named(text, keys) if cells_of([text]) else text for text in texts]
    with tempfile.TemporaryDirectory(prefix="sartor-timing-") as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps(rows), "ascii")
        found = [_one_process(bundle, file, load) for _ in range(load.processes)]
        if load.doubled and _apart(found):
            found += [_one_process(bundle, file, load) for _ in range(load.processes)]
        return np.array(found)


def _apart(found: list[list[float]]) -> bool:
    tails = np.percentile(found, _TAIL, axis=1)
    return bool(tails.max() > _APART * np.median(tails))


def measure_streams(bundle: str | Path, texts: Sequence[Text], load: Load) -> NDArray[np.float64]:
    """(processes, requests, 2): milliseconds until a reply begins, and tokens a second behind that.

    The arguments and errors are those of `measure`; the bundle is one that writes.
    """
    open_bundle(bundle)
    with tempfile.TemporaryDirectory(prefix="sartor-timing-") as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps(list(texts)), "ascii")
        return np.array(
            [_one_process(bundle, file, load, "streams") for _ in range(load.processes)]
        )


def _one_process(
    bundle: str | Path, texts: Path, load: Load, wanted: str = "milliseconds"
) -> list[Any]:
    command = [sys.executable, "-m", "sartor.serve.timing", str(bundle), "--texts", str(texts)]
    command += ["--requests", str(load.requests), "--warm-up", str(load.warm_up)]
    for url in load.allow_llm:
        command += ["--allow-llm", url]
    if load.threads is not None:
        command += ["--threads", str(load.threads)]
    if wanted == "streams":
        command.append("--streams")
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"]
        raise BundleError(
            f"{bundle} could not be timed in a fresh process: {said[-1]}",
            fix=f"run it by hand to see more: {' '.join(command)}.",
        )
    return json.loads(ran.stdout)[wanted]


def _opened(bundle: str, load: Load) -> "Runtime":
    # Imported here: the measuring parent needs no ONNX Runtime of its own.
    from sartor.serve.runtime import load as load_bundle

    # Whoever measures a bundle has opened it; most are being made, and not signed yet.
    return load_bundle(
        bundle,
        threads=load.threads,
        unreleased="allow",
        allow_llm=load.allow_llm,
        verify_key="",
    )


def _stream_here(bundle: str, texts: Sequence[Row], load: Load) -> list[tuple[float, float]]:
    from sartor.llm.conversation import conversation_of
    from sartor.serve.sampling import GREEDY

    replies = _opened(bundle, load).replies
    assert replies is not None, "asked of bundles that write"
    taken: list[tuple[float, float]] = []
    for index in range(load.warm_up + load.requests):
        messages = conversation_of(str(texts[index % len(texts)]))
        start = first = time.perf_counter()
        tokens = 0
        for number, piece in enumerate(replies.reply(messages, GREEDY)):
            first = time.perf_counter() if number == 0 else first
            tokens = piece.tokens
        behind = max(time.perf_counter() - first, 1e-6)
        taken.append(((first - start) * 1e3, max(tokens - 1, 1) / behind))
    return taken[load.warm_up :]


def _time_here(bundle: str, texts: Sequence[Row], load: Load) -> list[float]:
    runtime = _opened(bundle, load)
    for index in range(load.warm_up):
        runtime.predict([texts[index % len(texts)]])
    taken: list[float] = []
    for index in range(load.requests):
        start = time.perf_counter()
        runtime.predict([texts[index % len(texts)]])
        taken.append((time.perf_counter() - start) * 1e3)
    return taken


def _row(found: Any) -> Row:
    """What JSON made a list of was several texts."""
    return tuple(map(str, found)) if isinstance(found, list) else found  # pyright: ignore[reportUnknownArgumentType]


def _main() -> None:
    parser = argparse.ArgumentParser(description="Time a bundle in this process.")
    parser.add_argument("bundle")
    parser.add_argument(
        "--texts", required=True, help="JSON file: a list of texts, of lists of them, or of rows"
    )
    parser.add_argument("--requests", type=int, default=Load().requests)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--warm-up", type=int, default=Load().warm_up)
    parser.add_argument("--allow-llm", action="append", default=[])
    parser.add_argument("--streams", action="store_true", help="time how replies begin and go on")
    given = parser.parse_args()
    read: list[Any] = json.loads(Path(given.texts).read_text("utf-8"))
    texts = [_row(found) for found in read]
    load = Load(given.requests, given.threads, 1, given.warm_up, tuple(given.allow_llm))
    if given.streams:
        found: dict[str, Any] = {"streams": _stream_here(given.bundle, texts, load)}
    else:
        found = {"milliseconds": _time_here(given.bundle, texts, load)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    _main()
