"""Fits that are killed with SIGKILL at chosen instants, then resumed; used by tests and benchmarks.

Run as `python -m tests.tune.killed FOLDER`, it reads scenarios as JSON from stdin and prints, for
each, which kills struck before the end, at which steps attempts resumed, what damage was noticed,
and the SHA-256 of every file that must not differ. Each attempt is a forked child, so that torch
is imported once and not fifty times.
"""

import hashlib
import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sartor.core import durable
from sartor.core.events import Event, Note, StageProgress
from sartor.core.types import Backbone, Candidate, Examples
from sartor.tune.fit import TuneOptions, Tuner
from tests.tiny import WORDS, make_tiny_bert

SAME = ("model.safetensors", "logits.safetensors", "classifier.json", "config.json", "text.json")


@dataclass(frozen=True)
class Kill:
    """When to die: after `count` steps, at the `count`-th fsync (inside a checkpoint's or the
    result's writing), or `count` milliseconds after the fit began."""

    at: str
    count: int


def tiny_backbone(folder: Path, layers: int = 2) -> Backbone:
    if not (folder / "tokenizer.json").exists():  # what is written last
        make_tiny_bert(folder, layers=layers)
    return Backbone(
        name="tiny",
        source="folder",
        path=str(folder),
        sha256="0" * 64,
        licence="MIT",
        languages=("en",),
        parameters=20_000,
        layers=layers,
        width=32,
        max_length=64,
    )


def reviews(count: int, seed: int) -> Examples:
    """Made-up texts of skewed length; positive where praise outnumbers blame."""
    draw = random.Random(seed)
    praise, blame = {"good", "great", "love", "fine"}, {"bad", "awful", "hate", "broken"}
    texts = [" ".join(draw.choices(WORDS, k=draw.choice((3, 5, 8, 13, 30)))) for _ in range(count)]
    target = tuple(
        "great" if sum((w in praise) - (w in blame) for w in text.split()) > 0 else "other"
        for text in texts
    )
    ids = tuple(f"{seed}-{i}" for i in range(count))
    return Examples(ids, {"text": tuple(texts)}, target)


class NoFeatures:
    """For fits that read tokens: asking for activations would be a fault."""

    max_length = 64

    def features(self, texts: Any, layers: Any) -> Any:
        raise AssertionError("a fit that reads tokens asked for activations")


def fit(folder: Path, method: str, settings: Mapping[str, Any], emit: Callable[[Event], None]):
    """One deterministic fit of a tiny backbone, checkpointed every second step."""
    torch.set_num_threads(1)
    backbone = tiny_backbone(folder.parent / "backbone")
    options = TuneOptions(checkpoint_steps=2, max_length=64)
    tuner = Tuner({"tiny": backbone}, lambda _: NoFeatures(), folder, ["great", "other"], options)
    candidate = Candidate("tiny", backbone.sha256, method, settings, seed=3)
    return tuner(candidate, reviews(64, 1), reviews(24, 2), emit)


def hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in SAME}


def survive(folder: Path, scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Kill the fit as told, then let it end; every attempt goes on from what the last one left."""
    struck: list[str] = []
    for at, count in scenario["kills"]:
        if _attempt(folder, scenario, Kill(at, count)):
            struck.append(at)
    if _attempt(folder, scenario, None):
        raise AssertionError("the last attempt was to run to its end")
    results = list(folder.glob("*/fitted"))
    assert len(results) == 1
    notes = (folder / "notes").read_text().splitlines() if (folder / "notes").exists() else []
    return {"struck": struck, "notes": notes, "hashes": hashes(results[0])}


def _attempt(folder: Path, scenario: Mapping[str, Any], kill: Kill | None) -> bool:
    """Whether the child died of SIGKILL."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fit(folder, scenario["method"], scenario["settings"], _armed(folder, kill))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the fit failed"
    return False


def _armed(folder: Path, kill: Kill | None) -> Callable[[Event], None]:
    if kill is not None and kill.at == "fsync":
        _arm_fsync(kill.count)
    if kill is not None and kill.at == "ms":
        threading.Timer(kill.count / 1000, _die).start()

    def watch(event: Event) -> None:
        if isinstance(event, Note):
            with (folder / "notes").open("a") as file:
                file.write(event.text + "\n")
        counted = kill is not None and kill.at == "step" and isinstance(event, StageProgress)
        if counted and event.done >= kill.count:
            _die()

    return watch


def _arm_fsync(count: int) -> None:
    left, flush = [count], os.fsync

    def fsync(handle: int) -> None:
        left[0] -= 1
        if left[0] <= 0:
            _die()
        flush(handle)

    durable.os.fsync = fsync


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    root = Path(sys.argv[1])
    for number, scenario in enumerate(json.load(sys.stdin)):
        answer = survive(root / f"scenario-{number}", scenario)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
