"""Every benchmark in turn, the quick ones of each group first, then the page.

    python -m benchmarks [serving] [training] [choices] [faults] [tasks] [NAME ...]

Each runs with its defaults, or with the shorter ones given here; run by itself
(`python -m benchmarks.NAME --help`) it has its own, and says in its own words how long it takes.
By those words the training group takes two hours on two quiet cores; how long each really took is
printed. `choices` are what the search's own rules rest on, `faults` what kills and overload may not
change.
`search_time` compares with a recorded peer: on another machine than the trace's, run
`python -m benchmarks.search_time --record` first. One that fails does not keep the others from
running.
"""

import subprocess
import sys
from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType

from benchmarks._harness import ROOT, arguments

SHORT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "kill9_training": ("--kills", "20"),
        "kill9_run": ("--kills", "15"),
        "top_layers": ("--rows", "400"),
        "lora_speed": ("--dtypes", "bf16"),
        "pooled_masks": ("--seeds", "5"),
        # Tuning every candidate in full is the peer, whose times and scores are kept.
        "backbone_ranking": ("--recorded",),
        "label_forecast": ("--trials", "10"),
        "examples_time": ("--rounds", "1", "--examples", "reviews"),
        "few_rows": ("--rounds", "1"),
        "ablation": ("--rounds", "3", "--draws", "5"),
        "score_time": ("--seeds", "3", "--peer-seeds", "1"),
        "replies_speed": ("--rounds", "1"),
        "personal_gain": ("--plain", "20"),
        "entities": ("--seeds", "1", "--methods", "head"),
        "cross_lingual": ("--tasks", "intents"),
        "questions": ("--seeds", "1", "--methods", "top_layers"),
        "examples_served": ("--examples", "mastery", "credit", "topics", "mood", "opinions"),
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
            "serving_compressed",
            "cost_prediction",
            "install_size",
            "functions",
            "targets_alike",
            "offline_throughput",
            "compressors",
            "adapters",
            "students",
            "personal_gain",
        ),
        "training": (
            "backbone_ranking",
            "lora_speed",
            "top_layers",
            "ablation",
            "label_forecast",
            "search_time",
            "throughput",
            "memory",
            "score_time",
        ),
        "choices": ("joining", "examples_time", "pooled_masks", "token_share", "few_rows"),
        "faults": ("feedback_durability", "kill9_training", "kill9_run", "soak"),
        "tasks": (
            "label_heads",
            "tables",
            "recommending",
            "mastery",
            "base_sizes",
            "scores",
            "labels",
            "translations",
            "replies_speed",
            "answers",
            "entities",
            "cross_lingual",
            "questions",
            "examples_served",
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
    began = perf_counter()
    failed = [name for name in names if _run(name, SHORT.get(name, ()))]
    _run("page")
    print(f"== {(perf_counter() - began) / 60:.0f} minutes in all", flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _run(name: str, options: tuple[str, ...] = ()) -> int:
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    began = perf_counter()
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(f"== {name}: {(perf_counter() - began) / 60:.1f} minutes", flush=True)
    return code


if __name__ == "__main__":
    main()
