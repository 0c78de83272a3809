"""Every benchmark in turn, the quick ones of each group first, then the page.

    python -m benchmarks [serving] [training] [tasks] [NAME ...]

Each runs with its defaults, or with the shorter ones given here; run by itself
(`python -m benchmarks.NAME --help`) it has its own, and says in its own words how long it takes:
three to four hours in all on two quiet cores.
`search_time` compares with a recorded peer: on another machine than the trace's, run
`python -m benchmarks.search_time --record` first. One that fails does not keep the others from
running.
"""

import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType

from benchmarks._harness import ROOT, arguments

SHORT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "replies_speed": ("--rounds", "1"),
        "top_layers": ("--rows", "400"),
        "personal_gain": ("--plain", "20"),
        "score_time": ("--seeds", "3", "--peer-seeds", "1"),
        "entities": ("--seeds", "1", "--methods", "head"),
        "cross_lingual": ("--tasks", "intents"),
        "questions": ("--seeds", "1", "--methods", "top_layers"),
    }
)
"""What keeps a benchmark short."""
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "serving": (
            "first_answer",
            "serving_load",
            "serving_overhead",
            "serving_peers",
            "cost_prediction",
            "feedback_durability",
            "install_size",
            "functions",
            "targets_alike",
            "offline_throughput",
            "compressors",
            "adapters",
            "soak",
            "students",
            "personal_gain",
        ),
        "training": (
            "kill9_training",
            "kill9_run",
            "top_layers",
            "lora_speed",
            "pooled_masks",
            "backbone_ranking",
            "label_forecast",
            "memory",
            "examples_time",
            "search_time",
            "few_rows",
            "ablation",
            "joining",
            "throughput",
            "score_time",
        ),
        "tasks": (
            "label_heads",
            "tables",
            "recommending",
            "mastery",
            "base_sizes",
            "scores",
            "replies_speed",
            "answers",
            "entities",
            "cross_lingual",
            "questions",
        ),
    }
)
"""Benchmarks in their order, the quick ones of each group first."""
NAMES = tuple(name for names in GROUPS.values() for name in names)


def main() -> None:
    parser = arguments(__doc__)
    known = ", ".join([*GROUPS, *NAMES])
    parser.add_argument("names", nargs="*", help=f"among {known}; default: all")
    asked = parser.parse_args().names or list(GROUPS)
    if unknown := [name for name in asked if name not in {*GROUPS, *NAMES}]:
        parser.error(f"no benchmark is called {unknown[0]!r}: choose among {known}")
    names = [name for each in asked for name in GROUPS.get(each, (each,))]
    failed = [name for name in names if _run(name, SHORT.get(name, ()))]
    _run("page")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _run(name: str, options: tuple[str, ...] = ()) -> int:
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    main()
