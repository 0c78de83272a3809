"""Writes intents.csv from `home-assistant-intents` (templates) and `chatterbot-corpus` (questions).

    pip install --no-deps home-assistant-intents==2026.10.27 chatterbot-corpus==1.3.3
    python examples/intents/make.py

Every intent gets up to 90 distinct sentences a language, drawn evenly from its templates with a
generator seeded by intent and language, so the file comes out the same every time. The column
`template` names where a sentence came from: sentences of one template are alike, so the need takes
it as the group, and no template is on both sides of a split.
"""

import csv
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

from ruamel.yaml import YAML
from templates import Drawer
from values import NAMES, WORDS

HERE = Path(__file__).parent
PER_LABEL = 90
LANGUAGES = {"en": ("en", "english"), "zh": ("zh-CN", "chinese")}
LABELS = {
    "turn_on": ("HassTurnOn",),
    "turn_off": ("HassTurnOff",),
    "set_light": ("HassLightSet",),
    "set_temperature": ("HassClimateSetTemperature",),
    "get_temperature": ("HassClimateGetTemperature",),
    "get_state": ("HassGetState",),
    "start_timer": ("HassStartTimer",),
    "cancel_timer": ("HassCancelTimer", "HassCancelAllTimers"),
    "extend_timer": ("HassIncreaseTimer",),
    "shorten_timer": ("HassDecreaseTimer",),
    "pause_timer": ("HassPauseTimer",),
    "timer_status": ("HassTimerStatus",),
    "set_volume": ("HassSetVolume", "HassSetVolumeRelative"),
    "next_track": ("HassMediaNext",),
    "previous_track": ("HassMediaPrevious",),
    "pause_media": ("HassMediaPause",),
    "add_to_list": ("HassShoppingListAddItem", "HassListAddItem"),
    "weather": ("HassGetWeather",),
    "vacuum": ("HassVacuumStart", "HassVacuumCleanArea", "HassVacuumReturnToBase"),
}
SMALL_TALK = (
    *("ai", "botprofile", "computers", "conversations", "food", "greetings", "history"),
    *("literature", "money", "movies", "science", "sports", "trivia"),
)


@dataclass(frozen=True, slots=True)
class Row:
    text: str
    label: str
    lang: str
    template: str


def package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is not installed; the top of this file says how.")
    return Path(spec.origin).parent


Mark = Callable[[str, str], str]
"""Name of a list and a value of it, to what stands for the value in a sentence."""


def as_it_is(_: str, value: str) -> str:
    """Marks nothing."""
    return value


def commands(lang: str, mark: Mark = as_it_is) -> Iterator[Row]:
    """Sentences of the home intents."""
    file = package("home_assistant_intents") / "data" / f"{LANGUAGES[lang][0]}.json"
    grammar = json.loads(file.read_text(encoding="utf-8"))
    for label, intents in LABELS.items():
        rng = random.Random(f"{label}.{lang}")
        templates = [
            (f"{intent}.{lang}.{i:03d}", sentence, block)
            for intent in intents
            for i, (sentence, block) in enumerate(
                (s, b) for b in grammar["intents"][intent]["data"] for s in b["sentences"]
            )
        ]
        rng.shuffle(templates)
        found = dict[str, Row]()
        for turn, (name, sentence, block) in enumerate(cycle(templates)):
            if len(found) == PER_LABEL or turn > 40 * PER_LABEL:
                break
            text = sentence_of(grammar, sentence, block, rng, mark)
            found.setdefault(text, Row(text, label, lang, name))
        yield from found.values()


def sentence_of(
    grammar: dict, sentence: str, block: dict, rng: random.Random, mark: Mark = as_it_is
) -> str:
    lang = "zh" if grammar["language"].startswith("zh") else "en"
    domains = block.get("requires_context", {}).get("domain", ["light"])

    def value(name: str, rng: random.Random) -> str:
        return mark(name, drawn(name, rng))

    def drawn(name: str, rng: random.Random) -> str:
        if name == "name":
            return rng.choice(NAMES[lang][rng.choice([d for d in domains if d in NAMES[lang]])])
        if name in WORDS[lang]:
            return rng.choice(WORDS[lang][name])
        values = grammar["lists"][name]
        if "range" in values:
            span = values["range"]
            return str(rng.randrange(span["from"], span["to"] + 1, span.get("step", 1)))
        chosen = rng.choice(values["values"])
        return chosen["in"] if isinstance(chosen, dict) else chosen

    # A floor is called by a number: without its noun the sentence would say "lights in the second".
    sentence = sentence.replace("{floor} [floor]", "{floor} floor")
    sentence = sentence.replace("{floor}[楼|层]", "{floor}楼")
    text = Drawer(grammar["expansion_rules"], value, rng).draw(sentence)
    if lang == "zh":  # optional parts leave a particle with nothing before or after it
        text = re.sub("的+", "的", text).rstrip("的")
        text = re.sub("(?<=[把将让给])的", "", text)
    return text


def small_talk(lang: str) -> Iterator[Row]:
    """Questions that are no command: what the assistant should leave alone."""
    folder = package("chatterbot_corpus") / "data" / LANGUAGES[lang][1]
    found = dict[str, Row]()
    for topic in SMALL_TALK:
        file = folder / f"{topic}.yml"
        if not file.exists():
            continue
        for number, talk in enumerate(YAML(typ="safe").load(file)["conversations"]):
            text = " ".join(str(talk[0]).split())
            found.setdefault(text, Row(text, "small_talk", lang, f"{topic}.{lang}.{number:03d}"))
    chosen = sorted(found)
    random.Random(f"small_talk.{lang}").shuffle(chosen)
    for text in chosen[:PER_LABEL]:
        yield found[text]


def main() -> None:
    rows = [row for lang in LANGUAGES for part in (commands, small_talk) for row in part(lang)]
    labels = {row.text: set[str]() for row in rows}
    for row in rows:
        labels[row.text].add(row.label)
    kept = [row for row in rows if len(labels[row.text]) == 1]
    random.Random("order").shuffle(kept)
    with (HERE / "intents.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("text", "label", "lang", "template"))
        out.writerows((row.text, row.label, row.lang, row.template) for row in kept)
    counts = Counter((row.label, row.lang) for row in kept)
    print(f"{len(kept)} rows; fewest of a label in a language: {min(counts.values())}")


if __name__ == "__main__":
    main()
