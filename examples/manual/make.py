"""Writes manual.jsonl: sections of made-up manuals, English and Chinese, and questions about them.

    python examples/manual/make.py

A section says some of the facts in `facts.py` about a product that does not exist, in drawn words
and a drawn order. It is asked about most of them, and about some that it does not mention. The draw
is seeded, so the file comes out the same every time.
"""

import json
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from facts import CHINESE, ENGLISH, HANS_NAMES, NAMES, Fact  # noqa: E402

SECTIONS = {"en": 150, "zh": 100}
"""Of each language."""
SAID, ANSWERED, UNANSWERED = 7, 3, 1
"""Facts in a section; questions about those, and about others."""
JOINS = {"en": " ", "zh": ""}


def section(
    draw: random.Random, lang: str, facts: Mapping[str, Fact], name: str
) -> Iterator[dict[str, object]]:
    """The rows of one section."""
    told = draw.sample(sorted(facts), SAID)
    context, starts = "", dict[str, tuple[int, str]]()
    for key in told:
        fact = facts[key]
        value = draw.choice(fact.values)
        sentence = draw.choice(fact.said)
        before, after = (part.replace("{it}", name) for part in sentence.split("{v}"))
        before = before[:1].upper() + before[1:]
        context += JOINS[lang] if context else ""
        starts[key] = len(context) + len(before), value
        context += before + value + after
    others = [key for key in sorted(facts) if key not in told]
    for key in (*draw.sample(told, ANSWERED), *draw.sample(others, UNANSWERED)):
        question = draw.choice(facts[key].asked).replace("{it}", name)
        answers = []
        if key in starts:
            start, value = starts[key]
            assert context[start : start + len(value)] == value
            answers = [{"text": value, "start": start}]
        yield {
            "question": question,
            "context": context,
            "answers": answers,
            "fact": key,
            "lang": lang,
        }


def rows() -> Iterator[dict[str, object]]:
    draw = random.Random(0)
    for lang, facts, names in (("en", ENGLISH, NAMES), ("zh", CHINESE, HANS_NAMES)):
        for number in range(SECTIONS[lang]):
            yield from section(draw, lang, facts, names[number % len(names)])


if __name__ == "__main__":
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows())
    (HERE / "manual.jsonl").write_text(text, encoding="utf-8")
