"""Every benchmark in turn with its defaults, the quick ones first, then the page.

    python -m benchmarks [NAME ...]

All of them take about two and a half hours on two cores; each says in its own words how long. One
that fails does not keep the others from running.
"""

import subprocess
import sys

from benchmarks._harness import ROOT, arguments

NAMES = (
    "first_answer",
    "serving_load",
    "kill9_training",
    "feedback_durability",
    "install_size",
    "kill9_run",
    "backbone_ranking",
    "label_forecast",
    "memory",
    "score_time",
    "throughput",
)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("names", nargs="*", help=f"among {', '.join(NAMES)}; default: all")
    names = parser.parse_args().names or list(NAMES)
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"no benchmark is called {unknown[0]!r}: choose among {', '.join(NAMES)}")
    failed = [name for name in names if _run(name)]
    _run("page")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _run(name: str) -> int:
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    main()
