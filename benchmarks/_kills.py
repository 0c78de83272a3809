"""Scenarios of kills, carried out in a process that forks every attempt, until enough struck."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._harness import ROOT

Scenario = dict[str, Any]
"""`kills`: [kind, count] pairs, one an attempt; and what else the module that runs it reads."""
Answer = dict[str, Any]
"""`struck`: kinds of the kills that came before the end; and what else that module tells."""


def until_struck(
    folder: Path,
    module: str,
    wanted: Mapping[str, int],
    schedule: Callable[[list[str]], list[Scenario]],
) -> tuple[list[tuple[Scenario, Answer]], Counter[str]]:
    """Carry out scenarios until so many kills of each kind struck.

    A kill drawn for later than the end of its run strikes nothing, so more are drawn.

    Args:
        folder: For the runs.
        module: Reads scenarios as JSON from stdin, prints an answer a line.
        wanted: Kind to how many.
        schedule: Kinds, one a kill, to scenarios that hold them.

    Returns:
        Each scenario with its answer, and how many kills of each kind struck.
    """
    found: list[tuple[Scenario, Answer]] = []
    struck: Counter[str] = Counter()
    while short := list((Counter(wanted) - struck).elements()):
        scenarios = schedule(short)
        answers = carry_out(folder / f"round-{len(found)}", module, scenarios)
        found += zip(scenarios, answers, strict=True)
        struck.update(at for answer in answers for at in answer["struck"])
        print(f"{dict(struck)} of {dict(wanted)} kills, {len(found)} runs ended", flush=True)
        # A run that fails strikes no more; repeating it for ever would prove nothing else.
        if len(found) > 2 * sum(wanted.values()):
            raise SystemExit("kills do not strike: the runs fail, or end before them")
    return found, struck


def carry_out(folder: Path, module: str, scenarios: Sequence[Scenario]) -> list[Answer]:
    """One answer a scenario, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder)],
        input=json.dumps(list(scenarios)),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # One thread, since a process that forks must have no thread pool; TMPDIR, so that what a
        # killed attempt leaves behind goes with the folder.
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "TMPDIR": str(folder),
        },
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def dealt(points: Sequence[Any], a_run: int) -> list[list[Any]]:
    """Kills in the order drawn, so many to a run."""
    return [list(points[i : i + a_run]) for i in range(0, len(points), a_run)]


def shares(kinds: Sequence[str], kills: int) -> Counter[str]:
    """Kills of each kind, in equal shares; a kind that is named twice has two."""
    return Counter(kinds[i % len(kinds)] for i in range(kills))
