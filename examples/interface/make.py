"""Writes interface.csv: the messages of Django's interface in English and in simplified Chinese.

    pip install --no-deps django==5.2.19
    python examples/interface/make.py

Every translated message of the .po files gives one row; of a message with a plural that form is
taken, which is the only one Chinese has. Messages that nobody has translated or looked at since
they changed are left out.
"""

import csv
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from babel.messages.pofile import read_po

HERE = Path(__file__).parent
LANGUAGE = "zh_Hans"


def found() -> Path:
    """The folder of the package.

    Raises:
        SystemExit: If it is not installed.
    """
    spec = find_spec("django")
    if spec is None or spec.origin is None:
        sys.exit("pip install --no-deps django==5.2.19")
    return Path(spec.origin).parent


def rows(folder: Path) -> Iterator[tuple[str, str, str]]:
    """English, Chinese, and which part of Django it is from, in the order of the files."""
    for path in sorted(folder.glob(f"**/locale/{LANGUAGE}/LC_MESSAGES/*.po")):
        part = path.relative_to(folder).parts[-5]
        with path.open("rb") as file:
            catalogue = read_po(file)
        for message in catalogue:
            english, chinese = message.id, message.string
            if isinstance(english, tuple | list):
                english, chinese = english[-1], chinese[0]
            if english and chinese and not message.fuzzy:
                yield english, chinese, "core" if part == "conf" else part


def main() -> None:
    with (HERE / "interface.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("english", "chinese", "part"))
        writer.writerows(dict.fromkeys(rows(found())))


if __name__ == "__main__":
    main()
