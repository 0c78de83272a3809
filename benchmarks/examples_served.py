"""Every task from need to served answers: the examples run, and their bundles asked over HTTP.

    python -m benchmarks.examples_served [--examples topics mood …] [--seconds 5] [--work FOLDER]

Each example with its own need file, in an empty workspace: `sartor run` in a fresh process, from
exec to the verdict. Then its bundle is served with `sartor serve`'s defaults and asked its test
rows, one a request, by one client and by eight, each of whom asks again when it is answered.
Nothing is compared: texts, models and answers differ from task to task, and so does what an answer
takes. Examples of files that are not in the checkout (people_daily, movies, imdb) are left out.
With `--work` what was run stays there, and is not run again. An hour and a half on two cores; the
quick ones come first, and `--keep` keeps the recorded lines of examples that are not asked for.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._harness import RESULTS, ROOT, Line, arguments, finish, machine
from benchmarks._load import Closed, Sent
from benchmarks._server import command, free_port, post

from sartor.core.store import Store
from sartor.need.file import load_need
from sartor.search.documents import with_documents
from sartor.search.judging import held_out, roles_of

EXAMPLES = (
    "mastery",
    "credit",
    "exercises",
    "topics",
    "mood",
    "opinions",
    "education",
    "answers",
    "duplicates",
    "slots",
    "interface",
    "replies",
    "financial_risk",
    "smart_home",
    "intents",
    "chinese_reviews",
    "reviews",
    "manual",
    "customer_service",
)
CLIENTS, ROWS, WARM = 8, 200, 8
_SARTOR = "from sartor.cli import main; main()"


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--examples", nargs="+", default=EXAMPLES, choices=EXAMPLES)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--work", type=Path, help="folder to keep what was run in")
    parser.add_argument("--keep", action="store_true", help="other examples' recorded lines too")
    given = parser.parse_args()
    lines, detail = _recorded(given.examples) if given.keep else ([], {})
    with tempfile.TemporaryDirectory() as folder:
        for example in given.examples:
            place = (given.work or Path(folder)).resolve() / example
            told = ran(example, place)
            served = asked(example, place, told["bundle"], given.seconds)
            lines += lines_of(example, told, served)
            detail[example] = {"run": told, **served}
            # After each: an interrupted hour leaves what it measured.
            finish("examples_served", facts, lines, detail)


def ran(example: str, place: Path) -> dict[str, Any]:
    """What `sartor run` says at its end, and the seconds it took; kept in `place`."""
    kept = place / "told.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    place.mkdir(parents=True, exist_ok=True)
    need = ROOT / "examples" / example / "need.yaml"
    words = ["run", str(need), "--workspace", str(place), "--json", "--quiet"]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    began = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", _SARTOR, *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    # 1 says that a criterion is unmet or unproven: a verdict, not a failure.
    if process.returncode > 1:
        raise SystemExit(f"{example}: status {process.returncode}\n{process.stderr[-2000:]}")
    found = json.loads(process.stdout)
    told = {
        "state": found["state"],
        "bundle": str((place / found["bundle"]).resolve()),
        "seconds": seconds,
        "criteria": {each["criterion"]: each["state"] for each in found["verdicts"]},
    }
    kept.write_text(json.dumps(told), encoding="utf-8")
    return told


def rows_of(example: str, place: Path) -> list[dict[str, Any]]:
    """Test rows as requests hold them, by the split that the run drew."""
    file = ROOT / "examples" / example / "need.yaml"
    need = with_documents(load_need(file, roles_of), str(file), file.parent)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "rows.db") as store:
        test, _ = held_out(need, file.parent, store)
    order = np.random.default_rng(0).permutation(len(test))[:ROWS]
    return list(test.take(order.tolist()).rows())


def asked(example: str, place: Path, bundle: str, seconds: float) -> dict[str, Any]:
    """Requests a second and milliseconds, of one client and of several."""
    rows = [post("/v1/predict", {"inputs": [row]}) for row in rows_of(example, place)]
    found: dict[str, Any] = {}
    with serving(bundle, place) as port:
        _closed(port, rows, 1, seconds=None, most=WARM)
        for clients in (1, CLIENTS):
            sent = _closed(port, rows, clients, seconds=seconds)
            took = np.array([one.seconds for one in sent])
            found[f"clients_{clients}"] = {
                "a_second": len(sent) / seconds,
                "p50_ms": float(np.percentile(took, 50)) * 1_000,
                "p99_ms": float(np.percentile(took, 99)) * 1_000,
            }
    return found


@contextmanager
def serving(bundle: str, place: Path) -> Iterator[int]:
    """The port of a server that starts, and ends with this block."""
    port = free_port()
    with (place / "serve.log").open("wb") as said:
        process = subprocess.Popen(
            command(bundle, place / "served.db", port), cwd=ROOT, stdout=said, stderr=said
        )
        try:
            yield port
        finally:
            process.terminate()
            process.wait()


def _closed(
    port: int, rows: list[bytes], clients: int, seconds: float | None, most: int | None = None
) -> list[Sent]:
    """What was answered.

    Raises:
        SystemExit: If a request was not.
    """
    load = Closed(port, rows, lambda reply: "" if len(reply["outputs"]) == 1 else "no", most)
    sent = asyncio.run(load.run(clients, seconds))
    if failed := [one for one in sent if one.status != 200 or one.wrong]:
        raise SystemExit(f"{len(failed)} of {len(sent)} requests failed: {failed[0]}")
    return sent


def lines_of(example: str, told: Mapping[str, Any], served: Mapping[str, Any]) -> list[Line]:
    file = ROOT / "examples" / example / "need.yaml"
    name = f"{example.replace('_', ' ')} ({load_need(file, roles_of).task.replace('_', ' ')})"
    one, many = served["clients_1"], served[f"clients_{CLIENTS}"]
    met = sum(state == "met" for state in told["criteria"].values())
    state = f"{met} of {len(told['criteria'])} criteria met"
    return [
        Line(f"{name}: exec to verdict; {state}", told["seconds"], "s"),
        Line(f"{name}: an answer, one client, median", one["p50_ms"], "ms"),
        Line(f"{name}: answers, {CLIENTS} clients", many["a_second"], "a second"),
        Line(f"{name}: of those, p99", many["p99_ms"], "ms"),
    ]


def _recorded(again: Sequence[str]) -> tuple[list[Line], dict[str, Any]]:
    """Lines and detail of the result file that are of other examples.

    The machine of an earlier run stays in the detail, under `earlier`.
    """
    place = RESULTS / "examples_served.json"
    if not place.exists():
        return [], {}
    found = json.loads(place.read_text(encoding="utf-8"))
    names = [f"{each.replace('_', ' ')} (" for each in again]
    lines = [Line(**line) for line in found.pop("lines")]
    kept = [line for line in lines if not any(line.what.startswith(name) for name in names)]
    earlier = [*found.pop("earlier", []), found.pop("machine")]
    others = {key: value for key, value in found.items() if key not in again}
    return kept, {**others, "earlier": earlier}


if __name__ == "__main__":
    main()
