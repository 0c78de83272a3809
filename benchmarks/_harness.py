"""What every benchmark shares: machine facts, alternating rounds, intervals and the result file.

A result file holds the lines that the page shows, the machine they were measured on, the command
that measured them, and whatever detail the benchmark adds.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
DEMO = ROOT / "examples" / "reviews" / "need.yaml"
LIBRARIES = ("numpy", "onnxruntime", "tokenizers", "torch", "transformers", "scikit-learn")
DRAWS = 2_000
_DECISIVE = {
    "avx2": "AVX2",
    "asimd": "NEON",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI",
    "avx512_bf16": "BF16",
    "amx_tile": "AMX",
}
_SYMBOL = {"times": "×"}


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between its 2.5 % and its 97.5 % bootstrap percentile."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """One figure, as the page shows it.

    Args:
        what: What was measured.
        value: Estimate.
        unit: "s", "ms", "MB", "%", "times", or what is counted.
        low: Lower end of its interval or range; None for a count or an exact size.
        high: Upper end.
        against: The named peer, or "".
        goal: What it was meant to reach, or "".
    """

    what: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    against: str = ""
    goal: str = ""

    @staticmethod
    def of(what: str, found: Interval, unit: str, *, against: str = "", goal: str = "") -> "Line":
        if found.low == found.high:  # one sample has no interval
            return Line(what, found.middle, unit, against=against, goal=goal)
        return Line(what, found.middle, unit, found.low, found.high, against, goal)

    def figure(self) -> str:
        """Value, unit and interval, to three digits."""
        unit = _SYMBOL.get(self.unit, f" {self.unit}")
        shown = f"{short(self.value)}{unit}".rstrip()
        if self.low is None or self.high is None:
            return shown
        return f"{shown} ({short(self.low)} to {short(self.high)})"

    def __str__(self) -> str:
        goal = f"   goal: {self.goal}" if self.goal else ""
        peer = f"   against {self.against}" if self.against else ""
        return f"{self.what}: {self.figure()}{peer}{goal}"


def short(value: float) -> str:
    """Three significant digits, thousands apart, no exponent."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def machine() -> dict[str, Any]:
    """The machine and its state now; call it first, so that the load is not the benchmark's own."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "instructions": _instructions(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
        "commit": _commit(),
        "command": _command(),
    }


def alternate(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Round number and name, every name once a round, the order reversed every other round.

    A machine that warms up or slows down then favours nobody.
    """
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            yield number, name


def rate(mine: NDArray[np.float64], other: NDArray[np.float64] | None = None) -> Interval:
    """Amount a second, or the ratio of two such rates, bootstrapped over samples.

    Args:
        mine: (samples, 2), amount of work and seconds; a sample is a run, or a block of steps.
        other: Likewise, of the peer.
    """
    if other is None:
        return bootstrap([mine], lambda parts: _rate(parts[0]))
    return bootstrap([mine, other], lambda parts: _rate(parts[0]) / _rate(parts[1]))


def faster(mine: Sequence[float], other: Sequence[float]) -> Interval:
    """How many times less time ours takes: ratio of mean seconds, bootstrapped over runs."""
    return rate(_once(mine), _once(other))


def median_ratio(mine: Sequence[float], other: Sequence[float]) -> Interval:
    """Median over rounds of `mine / other`, each pair of one round; bootstrapped over rounds."""
    ratios = np.array(mine, dtype=np.float64) / np.array(other, dtype=np.float64)
    return bootstrap([ratios], lambda parts: float(np.median(parts[0])))


def paired(differences: Sequence[float]) -> Interval:
    """Mean of the differences of pairs, with Student's 95 % interval.

    A bootstrap of eight pairs is too narrow by a sixth; one pair has no interval.
    """
    from scipy.stats import t

    found = np.array(differences, dtype=np.float64)
    mean = float(found.mean())
    if len(found) < 2:
        return Interval(mean, mean, mean)
    half = float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    return Interval(mean - half, mean, mean + half)


def median_of(values: Sequence[float]) -> Interval:
    """Median over rounds, bootstrapped over them."""
    found = np.array(values, dtype=np.float64)
    return bootstrap([found], lambda parts: float(np.median(parts[0])))


def gate(held: bool, fault: str) -> str:
    """What a ratio's line says besides: nothing, or that it buys its speed with quality."""
    return "" if held else f" (does not count: {fault})"


def bootstrap(parts: Sequence[NDArray[Any]], measure: Any) -> Interval:
    """Resample the first axis of each part by itself, and measure.

    Args:
        parts: Arrays whose first axis is the sample.
        measure: List of arrays to a number.
    """
    draw = np.random.default_rng(0)
    samples = [
        measure([part[draw.integers(0, len(part), len(part))] for part in parts])
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(samples, [2.5, 97.5])
    return Interval(float(low), float(measure(list(parts))), float(high))


def spread(values: Sequence[float]) -> Interval:
    """Median between the least and the greatest."""
    return Interval(min(values), float(np.median(values)), max(values))


def told_by(
    command: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, Any], float]:
    """The JSON that a fresh process prints last, and the seconds from its start to its end.

    Args:
        command: Run from the root of the checkout, off line.
        environment: Further variables.

    Raises:
        SystemExit: If it fails, with the end of what it complained of.
    """
    began = time.perf_counter()
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if ran.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{ran.stderr[-4000:]}")
    return json.loads(ran.stdout.splitlines()[-1]), seconds


def finish(
    name: str, facts: Mapping[str, Any], lines: Sequence[Line], detail: Mapping[str, Any]
) -> None:
    """Print the lines and write them, with the machine and the detail, to results/NAME.json.

    Beside the machine stands how long it all took, from `machine()` until now.
    """
    took = datetime.now(UTC) - datetime.fromisoformat(facts["when"])
    told = {**facts, "seconds": round(took.total_seconds())}
    result = {"lines": [asdict(line) for line in lines], "machine": told, **detail}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    for line in lines:
        print(line)


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser that describes itself by the module's first line."""
    return argparse.ArgumentParser(description=(doc or "").partition("\n")[0])


def takes_bundle(parser: argparse.ArgumentParser) -> None:
    """Add the optional argument that `bundle` reads."""
    parser.add_argument(
        "bundle",
        nargs="?",
        type=Path,
        help="folder; default: the newest bundle of the reviews example, made where there is none",
    )


def bundle(given: Path | None) -> str:
    """A bundle to serve: the given one, else what `make demo` left or would leave."""
    if given is not None:
        return str(given.resolve())
    if not (found := _demo_bundles()):
        print(f"making a bundle from {DEMO.relative_to(ROOT)}", flush=True)
        command = [sys.executable, "-c", "from sartor.cli import main; main()"]
        ran = subprocess.run(
            [*command, "run", str(DEMO), "--workspace", str(ROOT), "--json", "--quiet"],
            check=False,
            stdout=subprocess.PIPE,
        )
        # 1 says that a criterion is unmet or unproven; the bundle is there all the same.
        if ran.returncode > 1:
            raise SystemExit(f"the reviews example ended with status {ran.returncode}")
        found = _demo_bundles()
    return str(found[-1])


def _demo_bundles() -> list[Path]:
    folders = (ROOT / ".sartor" / "bundles").glob("reviews-*")
    return sorted(folders, key=lambda folder: folder.stat().st_mtime)


def _once(seconds: Sequence[float]) -> NDArray[np.float64]:
    return np.column_stack([np.ones(len(seconds)), np.array(seconds, dtype=np.float64)])


def _rate(samples: NDArray[np.float64]) -> float:
    return float(samples[:, 0].sum() / samples[:, 1].sum())


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _instructions() -> list[str]:
    """Those that decide how fast matrix products are; none where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    words = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set[str]()
    return [shown for flag, shown in _DECISIVE.items() if flag in words]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """Short hash, with a + where the checkout differs from it; "" outside a checkout."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()


def _command() -> str:
    script = Path(sys.argv[0]).stem
    return shlex.join(["python", "-m", f"benchmarks.{script}", *map(_portable, sys.argv[1:])])


def _portable(argument: str) -> str:
    """A path of this machine says nothing to a reader: what is left is its place in a workspace,
    or its last name."""
    place = Path(argument)
    if not place.is_absolute():
        return argument
    inside = place.parts.index(".sartor") if ".sartor" in place.parts else -1
    return str(Path(*place.parts[inside:]))
