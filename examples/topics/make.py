"""Writes weaknesses.csv from `cwe2`: what each known weakness of software puts at stake.

    pip install --no-deps cwe2==3.0.0
    python examples/topics/make.py

A text is the name and the description of a weakness; its labels are the scopes that MITRE lists
under its common consequences. Weaknesses that are withdrawn, or whose consequences nobody has
listed, are left out. The order is drawn with a fixed seed, so the file comes out the same every
time.
"""

import csv
import random
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent
CATALOGUE = "database_v49/cwec_v4.14.xml"


def rows() -> list[tuple[str, str, str]]:
    """(id, text, labels with "; " between them), by id."""
    spec = find_spec("cwe2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("cwe2 is not installed: pip install --no-deps cwe2==3.0.0")
    root = ElementTree.parse(Path(spec.submodule_search_locations[0]) / CATALOGUE).getroot()
    names = {"cwe": root.tag.strip("{").partition("}")[0]}
    found: list[tuple[str, str, str]] = []
    for weakness in root.iterfind(".//cwe:Weakness", names):
        scopes = weakness.iterfind(".//cwe:Common_Consequences/cwe:Consequence/cwe:Scope", names)
        labels = sorted({(scope.text or "").strip() for scope in scopes})
        said = weakness.find("cwe:Description", names)
        if weakness.get("Status") == "Deprecated" or not labels or said is None:
            continue
        text = " ".join(f"{weakness.get('Name')}. {''.join(said.itertext())}".split())
        found.append((f"CWE-{weakness.get('ID')}", text, "; ".join(labels)))
    return sorted(found)


def main() -> None:
    found = rows()
    random.Random(0).shuffle(found)
    with (HERE / "weaknesses.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "text", "scopes"])
        writer.writerows(found)


if __name__ == "__main__":
    main()
