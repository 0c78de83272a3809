"""Writes the rows of the pack from those of ../intents, ../answers and ../replies.

    python examples/customer_service/make.py

The parts and the product must not share rows: a part that has learnt a message says nothing of how
the product does on it. So every template of a command, every report and every other message is
drawn once, by a hash of its name, for the parts or for the product.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
PARTS, TEST = 0.60, 0.55
"""Share of the names that the parts learn from; of the rest, the share that judges the product."""
COMMANDS, REPORTED, LEARNT_REPORTS = 20, 260, 300
"""Most rows: of each command and of reports in the product; of reports that `kind` learns."""
PERSONAL = ("emotion", "psychology")
"""Topics of ../replies that are about the person who writes: a person should answer."""
UNKNOWN = ("gossip", "humor", "politics")
"""Topics of ../replies that no part has learnt anything of: a person should answer too."""
KINDS, REPORTS = "kinds.csv", "reports.csv"


def drawn(name: str) -> float:
    """A number from 0 to 1 that depends on the name alone."""
    return int.from_bytes(sha256(name.encode()).digest()[:8]) / 2**64


def rows_of(place: str) -> list[dict[str, str]]:
    with (HERE.parent / place).open(encoding="utf-8", newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: drawn(json.dumps(row)))


def written(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(head)
        out.writerows(rows)


def told_in_two(report: str) -> str:
    """The report as a conversation: its beginning first, the rest when asked for more."""
    words = report.split()
    half = len(words) // 2
    said = ("user", " ".join(words[:half])), ("assistant", "What else can you tell me?")
    turns = (*said, ("user", " ".join(words[half:])))
    return json.dumps([{"role": role, "content": words} for role, words in turns])


def commands() -> tuple[list[list[str]], list[list[str]]]:
    """(rows of the part, rows of the product) of the commands and of small talk, in English."""
    part: list[list[str]] = []
    product: list[list[str]] = []
    taken: dict[str, int] = {}
    for row in rows_of("intents/intents.csv"):
        if row["lang"] != "en":
            continue
        label, text = row["label"], row["text"]
        if drawn(row["template"]) < PARTS:
            part.append([text, label, row["template"]])
        elif taken.get(label, 0) < COMMANDS:
            taken[label] = taken.get(label, 0) + 1
            product.append([text, label, label, "", row["template"]])
    return part, product


def for_a_person(known: set[str]) -> tuple[list[list[str]], list[list[str]]]:
    """(rows of the part, rows of the product) of messages that a person should answer."""
    part: list[list[str]] = []
    product: list[list[str]] = []
    for row in rows_of("replies/replies.csv"):
        text, topic = row["text"], row["topic"]
        name = text.casefold()
        if topic not in (*PERSONAL, *UNKNOWN) or name in known:
            continue
        known.add(name)
        if topic in UNKNOWN:
            product.append([text, "hand_off", "", "", name])
        elif drawn(name) < PARTS:
            part.append([text, "personal", name])
        else:
            product.append([text, "hand_off", "personal", "", name])
    return part, product


def main() -> None:
    kinds, product = commands()
    reports: list[tuple[str, str]] = []
    for row in rows_of("answers/reports.csv"):
        text, right = row["report"], row["weakness"]
        if drawn(text) < PARTS:
            reports.append((text, right))
            continue
        if sum(row[2] == "report" for row in product) < REPORTED:
            # One in eight comes in two messages.
            said = told_in_two(text) if drawn(f"{text} in two") < 1 / 8 else text
            product.append([said, right, "report", right, text])
    kinds += [[text, "report", text] for text, _ in reports[:LEARNT_REPORTS]]
    personal, left = for_a_person({row[0].casefold() for row in [*kinds, *product]})
    kinds, product = [*kinds, *personal], [*product, *left]
    kinds.sort(key=lambda row: drawn(f"order {row[0]}"))
    product.sort(key=lambda row: drawn(f"order {row[0]}"))
    named = [[text, kind, sha256(source.encode()).hexdigest()[:8]] for text, kind, source in kinds]
    written(KINDS, ("text", "kind", "source"), named)
    written(REPORTS, ("report", "weakness"), reports)
    head = ("message", "outcome", "kind", "weakness", "source")
    for name, chosen in (("messages.csv", False), ("test.csv", True)):
        some = [
            [*row[:4], sha256(row[4].encode()).hexdigest()[:8]]
            for row in product
            if (drawn(f"test {row[4]}") < TEST) is chosen
        ]
        written(name, head, some)
        print(f"{name}: {len(some)} rows")


if __name__ == "__main__":
    main()
