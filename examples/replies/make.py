"""Writes replies.csv: what people say to a chatting program, and what it is to reply.

    pip install --no-deps chatterbot-corpus==1.3.3
    python examples/replies/make.py

Every conversation of the English files gives one row: its first line and the reply to it. Files
whose replies are programs or repeat ten texts are left out, and so are replies of more than 200
characters: the example is small talk and trivia.
"""

import csv
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).parent
LEFT_OUT = ("coding", "tech_support")
LONGEST = 200


def found() -> Path:
    """The folder with the English files.

    Raises:
        SystemExit: If the package is not installed.
    """
    spec = find_spec("chatterbot_corpus")
    if spec is None or spec.origin is None:
        sys.exit("pip install --no-deps chatterbot-corpus==1.3.3")
    return Path(spec.origin).parent / "data" / "english"


def rows(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Text, reply and topic, in the order of the files."""
    for file in sorted(folder.glob("*.yml")):
        if file.stem in LEFT_OUT:
            continue
        content: Any = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        for turns in content["conversations"]:
            text, reply = (" ".join(str(turn).split()) for turn in turns[:2])
            if text and reply and len(reply) <= LONGEST:
                yield text, reply, file.stem


def main() -> None:
    with (HERE / "replies.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("text", "reply", "topic"))
        writer.writerows(dict.fromkeys(rows(found())))


if __name__ == "__main__":
    main()
