"""Every benchmark in turn, the quick ones first, then the page.

    python -m benchmarks [NAME ...]

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
        "first_answer": (),
        "serving_load": (),
        "serving_overhead": (),
        "serving_peers": (),
        "cost_prediction": (),
        "offline_throughput": (),
        "soak": (),
        "kill9_training": (),
        "feedback_durability": (),
        "install_size": (),
        "functions": (),
        "targets_alike": (),
        "kill9_run": (),
        "top_layers": ("--rows", "400"),
        "lora_speed": (),
        "replies_speed": ("--rounds", "1"),
        "pooled_masks": (),
        "backbone_ranking": (),
        "label_forecast": (),
        "label_heads": (),
        "scores": (),
        "answers": (),
        "base_sizes": (),
        "tables": (),
        "recommending": (),
        "mastery": (),
        "memory": (),
        "examples_time": (),
        "search_time": (),
        "few_rows": (),
        "ablation": (),
        "joining": (),
        "compressors": (),
        "students": (),
        "adapters": (),
        "personal_gain": ("--plain", "20"),
        "throughput": (),
        "score_time": ("--seeds", "3", "--peer-seeds", "1"),
        "entities": ("--seeds", "1", "--methods", "head"),
        "cross_lingual": ("--tasks", "intents"),
        "questions": ("--seeds", "1", "--methods", "top_layers"),
    }
)
"""Benchmarks in their order, with what keeps them short."""
NAMES = tuple(SHORT)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("names", nargs="*", help=f"among {', '.join(NAMES)}; default: all")
    names = parser.parse_args().names or list(NAMES)
    if unknown := [name for name in names if name not in NAMES]:
        parser.error(f"no benchmark is called {unknown[0]!r}: choose among {', '.join(NAMES)}")
    failed = [name for name in names if _run(name, SHORT[name])]
    _run("page")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _run(name: str, options: tuple[str, ...] = ()) -> int:
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    main()
