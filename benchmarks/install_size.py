"""What each install tier weighs, and how fast `sartor --help` answers.

    python -m benchmarks.install_size [--tiers base server data train all] [--rounds 10]

Each tier is installed by `pip install --target` from this checkout, with constraints.txt, into an
empty folder. Its size is that of all files, with the bytecode that pip writes. Help is timed with
the first tier's files before those of this interpreter on the path. Installs from the package
index that pip is set up for; takes about 8 minutes and 2 GB of disk, mostly torch and its peers.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._harness import ROOT, Line, arguments, finish, machine, spread

BASE = "base"
TIERS = (BASE, "server", "data", "train", "all")
HELP = "import sys; sys.argv = ['sartor', '--help']; from sartor.cli import main; main()"


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--tiers", nargs="+", choices=TIERS, default=list(TIERS))
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    sizes: dict[str, float] = {}
    packages: dict[str, list[str]] = {}
    helped: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        wheel = _build(Path(folder))
        for tier in options.tiers:
            # One at a time: all of them together would fill a small disk.
            with tempfile.TemporaryDirectory(dir=folder) as target:
                _install(wheel, tier, Path(target))
                sizes[tier] = _size_mb(Path(target))
                packages[tier] = sorted(p.stem for p in Path(target).glob("*.dist-info"))
                print(f"{tier}: {sizes[tier]:,.0f} MB, {len(packages[tier])} packages", flush=True)
                if tier == options.tiers[0]:
                    helped = _time_help(Path(target), options.rounds)
    lines = [
        Line(f"Installed size of {_shown(tier)}, {len(packages[tier])} packages", size, "MB")
        for tier, size in sizes.items()
    ]
    what = f"`sartor --help`, {options.rounds} times; median, fastest, slowest"
    lines.append(Line.of(what, spread(helped), "s", goal="at most 0.3 s"))
    finish("install_size", facts, lines, {"packages": packages, "help_s": helped})


def _build(folder: Path) -> Path:
    """A wheel of this checkout."""
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("sartor-*.whl")
    return wheel


def _install(wheel: Path, tier: str, target: Path) -> None:
    wanted = str(wheel) if tier == BASE else f"{wheel}[{tier}]"
    _pip("install", "--target", str(target), "-c", str(ROOT / "constraints.txt"), wanted)


def _pip(*options: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pip", *options], check=False, capture_output=True, text=True
    )
    if ran.returncode:
        raise SystemExit(f"pip {' '.join(options)} failed:\n{ran.stderr[-4000:]}")


def _size_mb(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def _time_help(target: Path, rounds: int) -> list[float]:
    """Seconds from exec to exit; the first run, which reads from disk, is not counted."""
    environment = {**os.environ, "PYTHONPATH": str(target)}
    # Without this interpreter's own packages: the tier has to be enough by itself.
    _help(environment, "-S")
    return [_help(environment) for _ in range(rounds)]


def _help(environment: dict[str, str], *flags: str) -> float:
    began = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, *flags, "-c", HELP],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    if ran.returncode or "Usage" not in ran.stdout:
        raise SystemExit(f"`sartor --help` failed:\n{ran.stderr[-4000:]}")
    return seconds


def _shown(tier: str) -> str:
    return "sartor" if tier == BASE else f"sartor[{tier}]"


if __name__ == "__main__":
    main()
