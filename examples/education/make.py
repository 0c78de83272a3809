"""Writes answers.csv and test.csv: made-up short answers, with the points that they are worth.

    python examples/education/make.py

Nobody wrote these answers. Each is put together of what `wordings.py` holds for one question in one
wording: some of the three points, in any order, now and then a mistake (always, where there is no
point) or a sentence that says nothing. It is worth as many points as it holds; a mistake costs one,
since it shows that the answer is not understood, and none is worth less than 0. Test answers have a
wording of their own. Drawn with a fixed seed, so the files come out the same every time.
"""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

from wordings import CHINESE, ENGLISH, FILLERS, Question

HERE = Path(__file__).parent
TRAIN, TEST = 20, 24
"""Answers a question, language and wording."""
MISTAKE, FILLER = 0.35, 0.4
"""Share of answers with one."""
Row = tuple[str, str, int, str, str]


def answers(
    question: Question, wording: int, lang: str, count: int, draw: random.Random
) -> list[tuple[str, int]]:
    """(answer, points), all different."""
    *points, mistake = question.wordings[wording]
    gap = "" if lang == "zh" else " "
    found: dict[str, int] = {}
    while len(found) < count:
        held = draw.sample(points, draw.randint(0, 3))
        wrong = not held or draw.random() < MISTAKE
        said = [*held, *([mistake] if wrong else [])]
        if draw.random() < FILLER:
            said.append(draw.choice(FILLERS[lang]))
        draw.shuffle(said)
        found.setdefault(gap.join(said), max(len(held) - wrong, 0))
    return list(found.items())


def rows(wordings: Sequence[int], count: int, draw: random.Random) -> list[Row]:
    """(text, question, points, lang, wording)"""
    made: list[Row] = []
    for lang, questions in (("en", ENGLISH), ("zh", CHINESE)):
        for question in questions:
            for wording in wordings:
                for answer, points in answers(question, wording, lang, count, draw):
                    name = f"{question.name}-{lang}-{wording}"
                    text = f"{question.text} {answer}"
                    made.append((text, question.name, points, lang, name))
    draw.shuffle(made)
    return made


def main() -> None:
    draw = random.Random(0)
    last = len(ENGLISH[0].wordings) - 1
    files = {"answers.csv": rows(range(last), TRAIN, draw), "test.csv": rows([last], TEST, draw)}
    for name, made in files.items():
        with (HERE / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "text", "question", "points", "lang", "wording"])
            writer.writerows((f"{name[0]}{at}", *row) for at, row in enumerate(made))


if __name__ == "__main__":
    main()
