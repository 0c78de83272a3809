"""Memory and disk that a hundred thousand texts take on their way up the ladder.

    python -m benchmarks.memory [--rows 100000] [--steps 60] [--keep FOLDER]

Rows are made from the sentences of the reviews example: three short ones of reviews with one label
make a text, drawn by seed, no text twice (about 33 tokens a text). A need that nothing reaches is
run through `zero_shot static head top_layers lora` in a process of its own and a fresh workspace;
a fit through the loop ends after `--steps` steps, for a step more takes no more memory.

*Resident* is the sum of `Rss` over the process's mappings in /proc/PID/smaps, without the mappings
of files in the workspace's two cache folders: those pages are the page cache's, and the kernel
takes them back when it likes. Everything else counts, the libraries' code included. It is read five
times a second, so a peak shorter than that can be missed; the kernel's own high-water mark, which
misses nothing and counts the cache's pages too, stands beside it. Disk is what the cache folders
hold at the end, against their bounds. Takes about 25 minutes on two quiet cores.
"""

import csv
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._harness import DEMO, ROOT, Line, arguments, finish, machine

from sartor.core.activations import DEFAULT_BYTES

METHODS = ("zero_shot", "static", "head", "top_layers", "lora")
CACHES = ("activations", "states")
PAUSE_S = 0.2
MB = 1e6
_WORDS = range(4, 12)
_SENTENCES = 3
_BREAK = re.compile(r"(?<=[.!?])\s+|<br\s*/?>")


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of the process.

    Args:
        at: `time.monotonic()`.
        resident: Bytes of all mappings but the cache's files.
        anonymous: Bytes of those that no file backs.
        cached: Bytes of the cache's mapped files.
    """

    at: float
    resident: int
    anonymous: int
    cached: int


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="folder to work in, which stays")
    options = parser.parse_args()
    with _folder(options.keep) as folder:
        need = write_need(folder, options.rows)
        began = time.monotonic()
        command = [str(need), str(folder), str(options.steps), *METHODS]
        marks, samples, peak = watched(command, folder / ".sartor")
        seconds = time.monotonic() - began
        disk = {name: _size(folder / ".sartor" / name) for name in CACHES}
    stages = by_stage(marks, samples)
    highest = max(samples, key=lambda sample: sample.resident)
    texts = f"{options.rows:,} texts"
    lines = [
        Line(
            f"Peak resident memory of a run, mapped cache pages aside, {texts}",
            highest.resident / MB,
            "MB",
            goal="under 4,000 MB",
        ),
        *(Line(f"The same while at {stage}", found / MB, "MB") for stage, found in stages.items()),
        Line("The kernel's high-water mark, mapped cache pages included", peak / MB, "MB"),
        *(
            Line(f"Cache {name} on disk, {texts}", disk[name] / MB, "MB", goal=_bound())
            for name in CACHES
        ),
        Line(f"The whole run, {texts}", seconds, "s"),
    ]
    detail = {
        "rows": options.rows,
        "at_the_peak": {
            "anonymous": highest.anonymous,
            "files_that_are_not_the_cache": highest.resident - highest.anonymous,
            "mapped_cache": highest.cached,
        },
        "samples": len(samples),
    }
    finish("memory", facts, lines, detail)


def write_need(folder: Path, rows: int) -> Path:
    """Texts and a need that no candidate reaches, so that every rung is climbed."""
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(texts(rows, seed=0))
    need = folder / "need.yaml"
    need.write_text(
        "name: memory\ntask: text_classification\n"
        "data: {train: texts.csv, text: text, label: label}\n"
        "accept: [accuracy >= 0.9999, f1_macro >= 0.9999]\n",
        encoding="utf-8",
    )
    return need


def texts(rows: int, *, seed: int) -> Iterator[tuple[str, str]]:
    """(text, label) of distinct texts, the labels in turn."""
    pools = _sentences()
    draw, seen, labels = random.Random(seed), set[str](), sorted(pools)
    while len(seen) < rows:
        label = labels[len(seen) % len(labels)]
        text = " ".join(draw.sample(pools[label], _SENTENCES))
        if text not in seen:
            seen.add(text)
            yield text, label


def _sentences() -> dict[str, list[str]]:
    """Label to the distinct short sentences of its reviews, in their order."""
    pools: dict[str, dict[str, None]] = {}
    with (DEMO.parent / "reviews.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            pool = pools.setdefault(row["label"], {})
            for sentence in _BREAK.split(row["text"]):
                if len(sentence.split()) in _WORDS:
                    pool[sentence.strip()] = None
    return {label: list(pool) for label, pool in pools.items()}


def watched(
    command: Sequence[str], workspace: Path
) -> tuple[list[tuple[float, str]], list[Sample], int]:
    """Run the need; (time, stage) of every beginning, the samples, and the kernel's peak."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._memory_run", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    marks: list[tuple[float, str]] = []
    assert child.stdout is not None
    samples: list[Sample] = []
    reader = threading.Thread(target=_read_marks, args=(child.stdout, marks, samples))
    reader.start()
    peak = 0
    caches = [str((workspace / name).resolve()) + "/" for name in CACHES]
    while child.poll() is None:
        # Gone between two readings: what was read before counts.
        if found := sample(child.pid, caches):
            samples.append(found)
        peak = max(peak, _high_water(child.pid))
        time.sleep(PAUSE_S)
    reader.join()
    if child.returncode:
        raise SystemExit(f"the run ended with status {child.returncode}")
    return marks, samples, peak


def _read_marks(lines: Any, marks: list[tuple[float, str]], samples: list[Sample]) -> None:
    """Note where stages begin, and say how the one before ended."""
    for line in lines:
        at, _, stage = line.strip().partition(" ")
        if marks:
            peak = by_stage(marks, samples).get(marks[-1][1], 0) / MB
            ended = (
                f"{float(at) - marks[0][0]:8.1f} s  {marks[-1][1]} ended, {peak:,.0f} MB at most"
            )
            print(ended, file=sys.stderr, flush=True)
        marks.append((float(at), stage))


def sample(process: int, caches: Sequence[str]) -> Sample | None:
    """What is resident now; None where the process has gone.

    Args:
        process: Its id.
        caches: Folders, each with a slash at its end.
    """
    at = time.monotonic()
    try:
        text = Path(f"/proc/{process}/smaps").read_text(errors="replace")
    except OSError:
        return None
    resident = anonymous = cached = 0
    of_cache = False
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            of_cache = any(folder in rest for folder in caches)
        elif name == "Rss:":
            size = 1024 * int(rest.split()[0])
            cached += size if of_cache else 0
            resident += 0 if of_cache else size
        elif name == "Anonymous:":
            anonymous += 1024 * int(rest.split()[0])
    return Sample(at, resident, anonymous, cached) if resident else None


def _high_water(process: int) -> int:
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def by_stage(marks: Sequence[tuple[float, str]], samples: Sequence[Sample]) -> dict[str, int]:
    """Stage to the most that was resident in it, in the order they began."""
    found: dict[str, int] = {}
    for each in samples:
        stage = next((stage for at, stage in reversed(marks) if at <= each.at), "start")
        found[stage] = max(found.get(stage, 0), each.resident)
    return found


def _size(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _bound() -> str:
    return f"at most {DEFAULT_BYTES / MB:,.0f} MB"


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


if __name__ == "__main__":
    main()
