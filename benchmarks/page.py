"""Fill the benchmarks page from the result files.

    python -m benchmarks.page [--check]

Rewrites what stands between two markers in docs/explanation/benchmarks.md; nothing in there is
written by hand. With --check nothing is written, and a page that is out of date is a failure.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks._harness import RESULTS, ROOT, Line, arguments

PAGE = ROOT / "docs" / "explanation" / "benchmarks.md"
BEGIN, END = "<!-- results: written by python -m benchmarks.page -->\n", "<!-- end of results -->"
EMPTY = "Nothing was measured yet.\n"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the page is out of date")
    options = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    filled = fill(text, results(RESULTS))
    if options.check and filled != text:
        raise SystemExit(f"{PAGE.relative_to(ROOT)} is out of date: run python -m benchmarks.page")
    if not options.check:
        PAGE.write_text(filled, encoding="utf-8")
        sys.stdout.write(f"filled {PAGE.relative_to(ROOT)}\n")


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Benchmark to its result file; what lies beside them, such as a peer's trace, has no lines."""
    every = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }
    return {name: found for name, found in every.items() if "lines" in found}


def fill(text: str, found: dict[str, dict[str, Any]]) -> str:
    """The page with its block replaced.

    Raises:
        SystemExit: If the markers are not there.
    """
    before, began, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not began or not ended:
        raise SystemExit(f"{PAGE.relative_to(ROOT)} has lost its markers: {BEGIN.strip()} … {END}")
    body = "\n".join(_section(name, result) for name, result in found.items())
    return f"{before}{BEGIN}\n{body or EMPTY}\n{END}{after}"


def _section(name: str, result: dict[str, Any]) -> str:
    lines = [Line(**line) for line in result["lines"]]
    facts = result["machine"]
    rows = [
        f"| {_cell(line.what)} | {_cell(line.against)} | {line.figure()} | {_cell(line.goal)} |"
        for line in lines
    ]
    load = ", ".join(str(value) for value in facts["load_average"])
    versions = ", ".join(f"{library} {v}" for library, v in facts["versions"].items())
    able = f" with {' and '.join(facts['instructions'])}" if facts.get("instructions") else ""
    took = f"took {facts['seconds'] / 60:,.1f} min; " if "seconds" in facts else ""
    return "\n".join(
        [
            f"### [{name}](../../benchmarks/{name}.py)",
            "",
            "| measured | against | result | goal |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"`{facts['command']}`, {facts['when'][:10]}, commit {facts['commit'] or 'unknown'}: "
            f"{facts['processor']}{able}, {facts['cores']} cores, load at the start {load}; "
            f"{took}Python {facts['python']}, {versions}.",
            "",
        ]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
