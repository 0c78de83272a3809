"""Whole runs of a need that are killed with SIGKILL at chosen instants, then resumed.

Run as `python -m benchmarks._killed_run FOLDER`, it reads scenarios as JSON from stdin and prints,
for each, which kills struck before the end and the SHA-256 of every file that must not differ, of
the killed run and of a run nobody killed that replays the same facts. Each attempt is a forked
child, so that torch is imported once.
"""

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime  # noqa: F401  imported before the forks, as is what follows
import onnxscript  # noqa: F401
import peft  # noqa: F401
import sklearn.linear_model  # noqa: F401
import torch
from tests.tiny import WORDS, make_tiny_bert

from sartor import pipeline
from sartor.core.errors import SartorError
from sartor.core.events import Event, Note
from sartor.core.workspace import Workspace
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.fit import Tuner

ROWS = 320
NEVER_MET = "accuracy >= 0.999"
OWN_FACTS = ("store",)
"""Facts about a workspace, not about the machine: its store's number of the run."""
# Seconds that a fit took; nothing that ships is made from it.
TIMES = ("fit.json", "manifest.json")
FAILED, PROBE, NOTES = 3, "probe.json", "notes"


def write_need(folder: Path) -> Path:
    """A tiny BERT, rows, and a need that no rung can meet, so that LoRA is climbed."""
    make_tiny_bert(folder / "tiny")
    draw = random.Random(0)
    praise, blame = {"good", "great", "love", "fine"}, {"bad", "awful", "hate", "broken"}
    lines = ["text,label"]
    for _ in range(ROWS):
        words = draw.choices(WORDS, k=draw.choice((5, 8, 13, 30)))
        balance = sum((word in praise) - (word in blame) for word in words)
        lines.append(f"{' '.join(words)},{'great' if balance > 0 else 'other'}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    need = folder / "need.yaml"
    asked = {
        "name": "killed",
        "task": "text_classification",
        "data": {"train": "rows.csv", "text": "text", "label": "label"},
        "accept": [NEVER_MET, "latency_p95_ms <= 1000", "size_mb <= 60"],
        "prefer": {"backbones": ["tiny"], "methods": ["head", "lora"]},
    }
    need.write_text(json.dumps(asked))
    return need


def survive(folder: Path, need: Path, scenario: dict[str, Any]) -> dict[str, Any]:
    """Kill the run as told, let it end, and carry out the same run once more without a kill."""
    killed, whole = folder / "killed", folder / "whole"
    struck: list[str] = []
    failed: list[str] = []
    for kill in [*scenario["kills"], None]:
        status = _attempt(killed, need, kill)
        if status == -signal.SIGKILL:
            struck.append(kill[0])
        elif status:
            failed.append((killed / "failed").read_text())
            break
    if not failed:
        _replay(killed, whole)
        if _attempt(whole, need, None):
            failed.append((whole / "failed").read_text())
    said = (killed / NOTES).read_text().splitlines() if (killed / NOTES).exists() else []
    answer: dict[str, Any] = {"struck": struck, "failed": failed, "notes": said}
    if not failed:
        probe = json.loads((killed / PROBE).read_text())
        answer |= {"killed": hashes(killed), "whole": hashes(whole), "probe": probe}
    return answer


def hashes(workspace: Path) -> dict[str, str]:
    """SHA-256 of the bundle's files and of every fit's, and the verdicts."""
    place = workspace / ".sartor"
    files = [p for p in place.glob("bundles/*/*") if not p.parent.name.startswith(".")]
    files += [p for p in place.glob("fits/*/fitted/*") if p.name not in TIMES]
    found = {
        str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    newest = Workspace.open(workspace).run(None).read_json("result.json")
    return found | {"id": newest["bundle_id"], "verdicts": json.dumps(newest["verdicts"])}


def _replay(killed: Path, whole: Path) -> None:
    """A run in another workspace that finds the killed run's facts recorded."""
    before, after = Workspace.open(killed).run(None), Workspace.open(whole).new_run()
    for name in ("need.json", "run.json"):
        after.write_json(name, before.read_json(name))
    facts = before.read_json("facts.json")
    after.write_json("facts.json", {k: v for k, v in facts.items() if k not in OWN_FACTS})


def _attempt(workspace: Path, need: Path, kill: list[Any] | None) -> int:
    """Exit status of a child that runs the need, or resumes its newest run."""
    workspace.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = _run(workspace, need, kill)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(status)
    if status not in (0, FAILED, -signal.SIGKILL):
        raise SystemExit(f"an attempt ended with status {status}")
    return status


def _run(workspace: Path, need: Path, kill: list[Any] | None) -> int:
    torch.set_num_threads(1)
    _checkpoint_often()
    flushes = _Flushes(kill)
    if kill is not None and kill[0] == "ms":
        threading.Timer(kill[1] / 1000, _die).start()

    def watch(event: Event) -> None:
        if isinstance(event, Note):
            with (workspace / NOTES).open("a") as file:
                file.write(event.text + "\n")

    began = time.perf_counter()
    try:
        # What `sartor resume` says of a run that died before it began: run the need again.
        if any((workspace / ".sartor" / "runs").glob("*/run.json")):
            pipeline.resume(workspace=workspace, emit=watch)
        else:
            pipeline.run(need, workspace=workspace, emit=watch)
    except SartorError as error:
        (workspace / "failed").write_text(f"{type(error).__name__}: {error}")
        return FAILED
    seconds = time.perf_counter() - began
    probe = {"ms": 1000 * seconds, "write": flushes.all, "checkpoint": flushes.inside}
    (workspace / PROBE).write_text(json.dumps(probe))
    return 0


def _checkpoint_often() -> None:
    """A tiny model is done long before a minute has passed: a checkpoint every second step."""
    prepare = Tuner.__init__

    def prepared(self: Tuner, *given: Any, **named: Any) -> None:
        prepare(self, *given, **named)
        self.options = replace(self.options, checkpoint_steps=2)

    Tuner.__init__ = prepared  # type: ignore[method-assign]


class _Flushes:
    """Counts flushes to disk, all and those inside a checkpoint's writing; dies at the one told."""

    def __init__(self, kill: list[Any] | None) -> None:
        self.all = self.inside = 0
        self._saving = False
        self._at, self._count = kill or ("", 0)
        self._flush, self._save = os.fsync, Checkpoints.save
        os.fsync = self._fsync
        Checkpoints.save = self._watched()  # type: ignore[method-assign]

    def _fsync(self, handle: int) -> None:
        self.all += 1
        self.inside += self._saving
        struck = self._at == "write" and self.all >= self._count
        if struck or (self._at == "checkpoint" and self._saving and self.inside >= self._count):
            _die()
        self._flush(handle)

    def _watched(self) -> Callable[..., None]:
        save = self._save

        def watched(*given: Any) -> None:
            self._saving = True
            save(*given)
            self._saving = False

        return watched


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    root = Path(sys.argv[1])
    need = write_need(root)
    for number, scenario in enumerate(json.load(sys.stdin)):
        answer = survive(root / f"scenario-{number}", need, scenario)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
