"""Writes the rows of the pack from those of ../slots, ../intents and ../replies.

    python examples/smart_home/make.py

As in ../customer_service, no template and no question is both with the parts and with the product.
"""

import csv
import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
PARTS, TEST = 0.65, 0.55
"""Share of the names that the parts learn from; of the rest, the share that judges the product."""
UNKNOWN = ("gossip", "humor", "politics")
"""Topics of ../replies that no part has learnt anything of: a person should answer."""
KNOWN, TALK = "commands.jsonl", "talk.jsonl"
Row = dict[str, object]


def drawn(name: str) -> float:
    """A number from 0 to 1 that depends on the name alone."""
    return int.from_bytes(sha256(name.encode()).digest()[:8]) / 2**64


def table(place: str) -> list[dict[str, str]]:
    with (HERE.parent / place).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def written(name: str, rows: Iterable[Row]) -> int:
    lines = sorted((json.dumps(row, ensure_ascii=False) for row in rows), key=drawn)
    (HERE / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def commands() -> list[Row]:
    lines = (HERE.parent / "slots/slots.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def talk() -> list[Row]:
    return [
        {
            "text": row["text"],
            "intent": "small_talk",
            "lang": row["lang"],
            "template": row["template"],
        }
        for row in table("intents/intents.csv")
        if row["label"] == "small_talk"
    ]


def unknown(known: set[object]) -> list[Row]:
    found = {row["text"]: row for row in table("replies/replies.csv") if row["topic"] in UNKNOWN}
    return [{"text": text, "lang": "en", "template": text} for text in found if text not in known]


def main() -> None:
    rows = {KNOWN: commands(), TALK: talk()}
    product: list[Row] = []
    for name, some in rows.items():
        learnt = [row for row in some if drawn(str(row["template"])) < PARTS]
        print(f"{name}: {written(name, learnt)} rows")
        product += [row for row in some if drawn(str(row["template"])) >= PARTS]
    said = {row["text"] for some in rows.values() for row in some}
    product += [{**row, "outcome": "hand_off"} for row in unknown(said)]
    asked = [{"outcome": row.get("intent"), **row} for row in product]
    for name, chosen in (("messages.jsonl", False), ("test.jsonl", True)):
        some = [row for row in asked if (drawn(f"test {row['template']}") < TEST) is chosen]
        print(f"{name}: {written(name, some)} rows")


if __name__ == "__main__":
    main()
