"""Learning replies: real tokens a second, ours against trl's SFTTrainer.

    python -m benchmarks.replies_speed [--python /path/to/python-with-trl] [--steps 12] [--rounds 3]

Both train LoRA of rank 16 on every linear layer of SmolLM2, in float32, on the rows of
`examples/replies` through the model's own chat template, with the loss on replies alone; each side
in a new process, in turns whose order reverses every round. trl runs with its defaults (batches of
8 rows, gradient checkpointing), with its packing (one sequence a batch, which is the faster: of
eight, a step took more than a minute and a half), and without checkpointing, which is faster where
memory allows; where no Python with trl is named, ours runs alone and says so. Takes about 15
minutes on two quiet cores.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._harness import (
    ROOT,
    Line,
    alternate,
    arguments,
    finish,
    machine,
    median_of,
    median_ratio,
)

from sartor.models.catalogue import find_backbone

HOW = ("plain", "packing", "lean")
NAMES = {
    "plain": "its defaults",
    "packing": "packing",
    "lean": "no gradient checkpointing",
}
_SIDE = Path(__file__).with_name("_trl_side.py")


def side(name: str, python: str, told: list[str]) -> dict[str, float]:
    """What a side measured.

    Raises:
        SystemExit: If it failed.
    """
    ours = [sys.executable, "-m", "benchmarks._replies_side", *told]
    command = ours if name == "ours" else [python, str(_SIDE), *told, name]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{name} failed: {ran.stderr[-2000:]}")
    return json.loads(ran.stdout.strip().splitlines()[-1])


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--python", default="", help="one that can import trl")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    backbone = find_backbone("smollm2", kind="llm")
    names = ["ours", *(HOW if options.python else ())]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        with (ROOT / "examples" / "replies" / "replies.csv").open(encoding="utf-8") as table:
            lines = [json.dumps(row) + "\n" for row in csv.DictReader(table)]
        file.write_text("".join(lines), encoding="utf-8")
        for number, name in alternate(names, options.rounds):
            model = "smollm2" if name == "ours" else backbone.path
            told = [model, str(file), str(options.steps), str(number)]
            found = side(name, options.python, told)
            runs[name].append(found)
            rate = found["tokens"] / found["seconds"]
            print(f"round {number + 1}  {name:<8} {rate:8,.0f} tokens/s", flush=True)
    rates = {name: [r["tokens"] / r["seconds"] for r in found] for name, found in runs.items()}
    shown = {"ours": "ours"} | {name: f"trl, {words}" for name, words in NAMES.items()}
    result = [
        Line.of(f"Learning replies, real tokens: {shown[name]}", median_of(each), "a second")
        for name, each in rates.items()
    ]
    goals = {"plain": "at least 2×", "packing": "at least 1×", "lean": ""}
    for name in names[1:]:
        found = median_ratio(rates["ours"], rates[name])
        what = "Learning replies, LoRA of rank 16"
        result.append(
            Line.of(what, found, "times", against=f"trl, {NAMES[name]}", goal=goals[name])
        )
    finish("replies_speed", facts, result, {"steps": options.steps, "runs": runs})


if __name__ == "__main__":
    main()
