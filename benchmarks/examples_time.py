"""The examples from need to verdict: this checkout against Sartor as it was at an earlier commit.

    python -m benchmarks.examples_time [--before 5e82b20] [--rounds 3]

`sartor run` on each example, from the start of the process to its end, in an empty workspace, ours
and the earlier commit's sources in turn with the same libraries. The scores are those of the final
verdict, on the same test rows: 5e82b20 is the last commit before the ladder had more than a frozen
head, LoRA and full fine-tuning. Two rounds of the reviews take ten minutes on two cores; one
run of the intents at the earlier commit takes more than six.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks._harness import ROOT, Line, alternate, arguments, faster, finish, machine, spread

EXAMPLES = ("reviews", "intents", "chinese_reviews")
_COMMAND = "from sartor.cli import main; main()"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one example.

    Args:
        seconds: From exec to exit.
        state: Of the need.
        accuracy: Value of the first criterion on the test rows.
        low: Lower end of its interval.
        high: Upper end.
    """

    seconds: float
    state: str
    accuracy: float
    low: float
    high: float


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--before", default="5e82b20")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--examples", nargs="+", default=EXAMPLES)
    options = parser.parse_args()
    lines: list[Line] = []
    detail: dict[str, object] = {"before": options.before}
    with tempfile.TemporaryDirectory() as folder:
        earlier = _checkout(options.before, Path(folder))
        for example in options.examples:
            runs: dict[str, list[Run]] = {"now": [], "before": []}
            for number, side in alternate(list(runs), options.rounds):
                source = ROOT if side == "now" else earlier
                runs[side].append(_run(source, example))
                print(f"{example}, round {number + 1}, {side}: {runs[side][-1]}", flush=True)
            lines += _lines(example, runs, options.before)
            detail[example] = {side: [asdict(run) for run in found] for side, found in runs.items()}
            finish("examples_time", facts, lines, detail)


def _checkout(commit: str, folder: Path) -> Path:
    """The commit's files, without touching this checkout."""
    archive = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def _run(source: Path, example: str) -> Run:
    need = source / "examples" / example / "need.yaml"
    environment = {**os.environ, "PYTHONPATH": str(source / "src"), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as workspace:
        command = [sys.executable, "-c", _COMMAND, "run", str(need), "--workspace", workspace]
        began = time.perf_counter()
        ran = subprocess.run(
            [*command, "--json", "--quiet"],
            env=environment,
            cwd=workspace,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - began
    # 1 says that a criterion is unmet or unproven: a verdict, not a failure.
    if ran.returncode > 1:
        raise SystemExit(f"{example} ended with status {ran.returncode}:\n{ran.stderr[-2000:]}")
    told = json.loads(ran.stdout)
    first = told["verdicts"][0]
    return Run(seconds, told["state"], first["value"], first["low"], first["high"])


def _lines(example: str, runs: dict[str, list[Run]], before: str) -> list[Line]:
    named = example.replace("_", " ")
    lines = []
    for side, found in runs.items():
        who = "now" if side == "now" else f"at {before}"
        run = found[-1]
        seconds = spread([r.seconds for r in found])
        lines += [
            Line.of(f"Exec to verdict, {named}, {who}; median, fastest, slowest", seconds, "s"),
            Line(
                f"Accuracy on the test rows, {named}, {who} ({run.state})",
                100 * run.accuracy,
                "%",
                100 * run.low,
                100 * run.high,
            ),
        ]
    ratio = faster([r.seconds for r in runs["now"]], [r.seconds for r in runs["before"]])
    lines.append(
        Line.of(f"Faster to the verdict, {named}", ratio, "times", against=f"Sartor {before}")
    )
    return lines


if __name__ == "__main__":
    main()
