"""Writes slots.jsonl: the commands of examples/intents, and which part of each names what.

    pip install --no-deps home-assistant-intents==2026.10.27 chatterbot-corpus==1.3.3
    python examples/slots/make.py

The sentences are drawn as those of examples/intents are, from the same templates, with what the
lists hold put between marks; the marks then say where a part begins and ends. So the file comes out
the same every time. A row's parts are in the column `slots`, as start and end in characters.
"""

import importlib.util
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INTENTS = HERE.parent / "intents"
PER_LANGUAGE = 1_200
_OPEN, _MIDDLE, _CLOSE = "\ue000", "\ue001", "\ue002"
"""Private characters: no template holds them."""
_PART = re.compile(f"{_OPEN}([^{_MIDDLE}]*){_MIDDLE}([^{_CLOSE}]*){_CLOSE}")
SLOTS = {
    "area": "area",
    "floor": "floor",
    "name": "device",
    "temperature": "temperature",
    "timer_hours": "hours",
    "timer_minutes": "minutes",
    "timer_seconds": "seconds",
    "timer_name": "timer",
    "todo_list_item": "item",
    "shopping_list_item": "item",
    "brightness": "level",
    "volume": "level",
    "volume_percentage": "level",
    "volume_step_up": "level",
    "volume_step_down": "level",
    "color": "color",
    "color_temperature_names": "color",
}
"""List of values to slot; what other lists hold is no slot of its own."""
NAMED = {"weather": "place", "add_to_list": "list"}
"""Intent to slot of what is called by a name there; else it is a device."""


def intents() -> Any:
    """make.py of examples/intents."""
    sys.path.insert(0, str(INTENTS))
    spec = importlib.util.spec_from_file_location("intents_make", INTENTS / "make.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"{INTENTS / 'make.py'} is not there.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def marked(name: str, value: str) -> str:
    """A value between marks, with the name of its list."""
    return f"{_OPEN}{name}{_MIDDLE}{value}{_CLOSE}"


def parted(sentence: str, intent: str) -> tuple[str, list[dict[str, Any]]]:
    """A sentence without its marks, and its slots."""
    text, slots, at = "", [], 0
    for match in _PART.finditer(sentence):
        text += sentence[at : match.start()]
        name, value = match.groups()
        slot = NAMED.get(intent, SLOTS["name"]) if name == "name" else SLOTS.get(name)
        if slot is not None and value.strip():
            slots.append({"start": len(text), "end": len(text) + len(value), "label": slot})
        text, at = text + value, match.end()
    return text + sentence[at:], slots


def rows(lang: str) -> Iterator[dict[str, Any]]:
    """Sentences of one language, each once."""
    found = dict[str, dict[str, Any]]()
    for row in intents().commands(lang, marked):
        text, slots = parted(row.text, row.label)
        row_of = {"text": text, "slots": slots, "intent": row.label}
        found.setdefault(text, row_of | {"lang": lang, "template": row.template})
    chosen = sorted(found)
    random.Random(f"slots.{lang}").shuffle(chosen)
    for text in chosen[:PER_LANGUAGE]:
        yield found[text]


def main() -> None:
    kept = [row for lang in ("en", "zh") for row in rows(lang)]
    random.Random("order").shuffle(kept)
    with (HERE / "slots.jsonl").open("w", encoding="utf-8", newline="") as file:
        for row in kept:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(len(kept), Counter(slot["label"] for row in kept for slot in row["slots"]))


if __name__ == "__main__":
    main()
