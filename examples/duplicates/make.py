"""Writes duplicates.csv: pairs of requests to a home assistant, and whether they ask for the same.

    pip install --no-deps home-assistant-intents==2026.10.27
    python examples/duplicates/make.py

Both sentences of a pair are drawn from the templates of `home-assistant-intents`, filled as those
of `examples/intents` are. They are the same where intent and every value agree (two templates, one
room). They are different where a value differs (the kitchen, the office) or the intent does (on,
off), which counting words cannot tell. Templates are dealt into cells, and both sentences of a pair
come from one cell: the need takes the column `cell` as the group, so no template is on both sides
of a split.
"""

import csv
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "intents"))

from templates import Drawer  # noqa: E402
from values import NAMES, WORDS  # noqa: E402

LANGUAGES = {"en": "en", "zh": "zh-CN"}
# Intents that are easily taken for one another share cells; one alone differs by its values only.
OPPOSITES = (
    ("HassTurnOn", "HassTurnOff"),
    ("HassIncreaseTimer", "HassDecreaseTimer"),
    ("HassStartTimer", "HassTimerStatus"),
    ("HassPauseTimer", "HassUnpauseTimer"),
    ("HassMediaNext", "HassMediaPrevious"),
    ("HassMediaPause", "HassMediaUnpause"),
    ("HassSetVolume", "HassSetVolumeRelative"),
    ("HassClimateGetTemperature", "HassClimateSetTemperature"),
    ("HassListAddItem", "HassListCompleteItem"),
    ("HassShoppingListAddItem", "HassShoppingListCompleteItem"),
    ("HassVacuumStart", "HassVacuumReturnToBase"),
    ("HassLightSet", "HassFanSetSpeed"),
    ("HassGetState", "HassGetState"),
    ("HassCancelTimer", "HassCancelTimer"),
)
CELL = 3
"""Templates of each intent in a cell."""
TRIES = 60
"""Pairs of each kind that are tried in a cell; most repeat a text, or two sentences are one."""
MOST = 5
"""Pairs of each label that are kept of a cell."""
CELLS = 20
"""Cells of two intents, at most: timers have templates for many more."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, the intent it has and the values it names."""

    text: str
    intent: str
    values: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Scene:
    """Values that several sentences share: a list that is asked for again gives the same."""

    grammar: dict[str, Any]
    rng: random.Random
    known: dict[str, str] = field(default_factory=dict)

    def filling(self, domains: tuple[str, ...]) -> tuple[Callable[..., str], dict[str, str]]:
        """A value function for the drawer, and the values that it will have given."""
        used: dict[str, str] = {}

        def value(name: str, _: random.Random) -> str:
            key = f"{name} {domains}" if name == "name" else name
            self.known.setdefault(key, self._drawn(name, domains))
            used[name] = self.known[key]
            return self.known[key]

        return value, used

    def _drawn(self, name: str, domains: tuple[str, ...]) -> str:
        lang = "zh" if self.grammar["language"].startswith("zh") else "en"
        if name == "name":
            known = [domain for domain in domains if domain in NAMES[lang]] or ["light"]
            return self.rng.choice(NAMES[lang][self.rng.choice(known)])
        if name in WORDS[lang]:
            return self.rng.choice(WORDS[lang][name])
        values = self.grammar["lists"][name]
        if "range" in values:
            span = values["range"]
            return str(self.rng.randrange(span["from"], span["to"] + 1, span.get("step", 1)))
        chosen = self.rng.choice(values["values"])
        return chosen["in"] if isinstance(chosen, dict) else chosen


Template = tuple[str, str, dict[str, Any]]
"""Intent, sentence template, and the block that it stands in."""


def say(template: Template, scene: Scene) -> Said:
    """A sentence of a template in a scene."""
    intent, sentence, block = template
    domains = block.get("requires_context", {}).get("domain", ["light"])
    domains = (domains,) if isinstance(domains, str) else tuple(domains)
    value, used = scene.filling(domains)
    sentence = sentence.replace("{floor} [floor]", "{floor} floor")
    sentence = sentence.replace("{floor}[楼|层]", "{floor}楼")
    text = Drawer(scene.grammar["expansion_rules"], value, scene.rng).draw(sentence)
    if scene.grammar["language"].startswith("zh"):
        text = re.sub("的+", "的", text).rstrip("的")
        text = re.sub("(?<=[把将让给])的", "", text)
    # What a block fixes (a domain, a kind of device) is part of what is asked for.
    fixed = [(name, str(value)) for name, value in block.get("slots", {}).items()]
    return Said(text, intent, tuple(sorted([*used.items(), *fixed])))


def cells(grammar: dict[str, Any], lang: str) -> Iterator[tuple[str, list[Template]]]:
    """Templates of two intents that are easily confused, some of each."""
    for one, other in OPPOSITES:
        dealt: list[list[list[Template]]] = []
        for intent in dict.fromkeys((one, other)):
            found = [
                (intent, sentence, block)
                for block in grammar["intents"][intent]["data"]
                for sentence in block["sentences"]
            ]
            random.Random(f"{intent}.{lang}").shuffle(found)
            dealt.append([found[i : i + CELL] for i in range(0, len(found), CELL)])
        for number in range(min(max(map(len, dealt)), CELLS)):
            # The intent with fewer templates is not repeated: its part of a later cell is empty.
            there = [part[number] for part in dealt if number < len(part)]
            yield f"{one}.{lang}.{number:02d}", [t for part in there for t in part]


def pairs(grammar: dict[str, Any], name: str, templates: list[Template]) -> Iterator[dict]:
    """Rows of one cell: as many that are the same as not."""
    rng = random.Random(name)
    taken: set[str] = set()
    found: dict[str, list[dict]] = {"same": [], "different": []}
    for _ in range(TRIES):
        for kind in ("same", "value", "intent"):
            label = "same" if kind == "same" else "different"
            if len(found[label]) == MOST:
                continue
            scene = Scene(grammar, rng)
            one = say(rng.choice(templates), scene)
            again = Scene(grammar, rng) if kind == "value" else scene
            other = say(rng.choice(templates), again)
            alike = one.values == other.values
            wanted = {
                "same": alike and one.intent == other.intent,
                "value": one.intent == other.intent
                and [n for n, _ in one.values] == [n for n, _ in other.values]
                and not alike,
                "intent": one.intent != other.intent,
            }[kind]
            texts = {one.text.casefold(), other.text.casefold()}
            if not wanted or len(texts) < 2 or texts & taken:
                continue
            taken |= texts
            found[label].append(
                {"request": one.text, "earlier": other.text, "label": label, "cell": name}
            )
    most = min(map(len, found.values()))
    for label in found:
        yield from found[label][:most]


def main() -> None:
    spec = find_spec("home_assistant_intents")
    if spec is None or spec.origin is None:
        raise SystemExit("home_assistant_intents is not installed; the top of this file says how.")
    rows: list[dict] = []
    for lang, file in LANGUAGES.items():
        path = Path(spec.origin).parent / "data" / f"{file}.json"
        grammar = json.loads(path.read_text(encoding="utf-8"))
        for name, templates in cells(grammar, lang):
            rows += [row | {"lang": lang} for row in pairs(grammar, name, templates)]
    seen: Counter[str] = Counter(text for row in rows for text in (row["request"], row["earlier"]))
    kept = [row for row in rows if seen[row["request"]] == seen[row["earlier"]] == 1]
    random.Random("order").shuffle(kept)
    with (HERE / "duplicates.csv").open("w", encoding="utf-8", newline="") as file:
        columns = ["request", "earlier", "label", "lang", "cell"]
        out = csv.DictWriter(file, columns, lineterminator="\n")
        out.writeheader()
        out.writerows(kept)
    counts = Counter((row["label"], row["lang"]) for row in kept)
    print(f"{len(kept)} pairs in {len({row['cell'] for row in kept})} cells: {dict(counts)}")


if __name__ == "__main__":
    main()
