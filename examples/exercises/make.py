"""Writes exercises.csv and answers.csv: made-up learners who choose and answer made-up exercises.

    python examples/exercises/make.py

Nothing here was observed: it is a simulation, to try things on. An exercise has a skill, a level
and a text. A learner has a strength in every skill, which grows with practice. They take the skills
in the order of a course, mostly go on with the skill they are at, at a level near their strength,
now and then go back or look ahead, and take no exercise twice. An answer is right with the
probability of a one-parameter logistic model: σ(1.7 · (strength − level)). Some exercises are added
late, so that nobody had chosen them before. Drawn with a fixed seed, so the files come out the same
every time.
"""

import csv
import math
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
LEARNERS, LEVELS, EACH = 420, 5, 4
START = datetime(2026, 1, 5, 8)
DAYS = 180
LATE = 0.12
"""Share of the exercises that are added in the last third of the time."""
SKILLS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("fractions", "Add the fractions {a}/{b} and {c}/{d}.", ("common denominator", "sum")),
    ("decimals", "Write {a}/{b} as a decimal and round it to {c} places.", ("rounding", "decimal")),
    ("percentages", "A coat of {a}0 euros is {b} % cheaper. What does it cost now?", ("discount",)),
    ("ratios", "Mix juice and water {a} to {b}. How much water is in {c} litres?", ("mixture",)),
    ("negative numbers", "Work out −{a} − (−{b}) · {c}.", ("signs", "brackets")),
    ("powers", "Simplify {a}^{b} · {a}^{c}.", ("exponent", "base")),
    ("linear equations", "Solve {a}x + {b} = {c}x − {d}.", ("unknown", "both sides")),
    ("systems of equations", "Solve x + {a}y = {b} and {c}x − y = {d}.", ("two unknowns",)),
    ("angles", "Two angles of a triangle are {a}0° and {b}5°. Find the third.", ("triangle",)),
    (
        "areas",
        "A circle has a radius of {a} cm. Find its area and that of its square.",
        ("circle",),
    ),
    ("probability", "A bag holds {a} red and {b} blue balls. Draw {c} at once.", ("draw", "urn")),
    ("statistics", "Find mean and median of {a}, {b}, {c}, {d} and {a}{b}.", ("average", "middle")),
)
HOW = ("Warm-up", "Basic", "Standard", "Advanced", "Challenge")


@dataclass(slots=True)
class Exercise:
    """One exercise; `level` is on the scale of a learner's strength."""

    name: str
    skill: int
    step: int
    level: float
    text: str
    since: float


@dataclass(slots=True)
class Learner:
    """One learner: where in the course they are, and what they can."""

    at: int
    strength: list[float]
    done: set[str] = field(default_factory=set[str])


def worded(draw: random.Random, step: int, skill: int) -> str:
    """The text of an exercise."""
    name, pattern, words = SKILLS[skill]
    numbers = {key: draw.randint(2, 9) for key in "abcd"}
    return f"{HOW[step]}, {name}: {pattern.format(**numbers)} ({draw.choice(words)})"


def catalogue(draw: random.Random) -> list[Exercise]:
    """The exercises, those of one skill together."""
    found: list[Exercise] = []
    for skill, (name, _, _) in enumerate(SKILLS):
        for step in range(LEVELS):
            for place in range(EACH):
                said = {exercise.text for exercise in found}
                while (text := worded(draw, step, skill)) in said:
                    pass
                late = draw.random() < LATE
                since = draw.uniform(0.66, 0.95) * DAYS if late else 0.0
                level = (step - 2) * 0.8 + draw.gauss(0, 0.25)
                number = f"{name.replace(' ', '-')}-{step + 1}{'abcd'[place]}"
                found.append(Exercise(number, skill, step, level, text, since))
    return found


def choice(draw: random.Random, learner: Learner, there: list[Exercise]) -> Exercise | None:
    """What the learner takes next, or nothing where the skill is through."""
    move = draw.random()
    skill = learner.at if move < 0.86 else max(0, learner.at - 1) if move < 0.95 else learner.at + 1
    skill = min(skill, len(SKILLS) - 1)
    open_to = [e for e in there if e.skill == skill and e.name not in learner.done]
    if not open_to:
        return None
    strength = learner.strength[skill]
    weights = [math.exp(-1.5 * abs(e.level - strength - 0.2)) for e in open_to]
    return draw.choices(open_to, weights)[0]


def answers(
    draw: random.Random, exercises: list[Exercise]
) -> list[tuple[datetime, str, Exercise, int]]:
    """(time, learner, exercise, 1 for right) of everybody, in the order of time."""
    found: list[tuple[datetime, str, Exercise, int]] = []
    for number in range(LEARNERS):
        ability = draw.gauss(0, 0.8)
        strength = [ability + draw.gauss(-0.6, 0.4) for _ in SKILLS]
        learner = Learner(draw.randrange(len(SKILLS) - 2), strength)
        day = draw.uniform(0, DAYS * 0.9)
        for _ in range(draw.randint(1, 9)):
            now = day
            for _ in range(draw.randint(2, 6)):
                taken = choice(draw, learner, [e for e in exercises if e.since <= now])
                if taken is None:
                    learner.at = min(learner.at + 1, len(SKILLS) - 1)
                    continue
                mine = learner.strength[taken.skill]
                right = draw.random() < 1 / (1 + math.exp(-1.7 * (mine - taken.level)))
                learner.strength[taken.skill] += 0.22 if right else 0.12
                learner.done.add(taken.name)
                time = START + timedelta(minutes=int(now * 24 * 60))
                found.append((time, f"L{number:03}", taken, int(right)))
                now += draw.uniform(0.004, 0.02)
                if learner.strength[taken.skill] > 0.9 and draw.random() < 0.5:
                    learner.at = min(learner.at + 1, len(SKILLS) - 1)
            day += draw.expovariate(1 / 4)
            if day >= DAYS:
                break
    return sorted(found, key=lambda each: (each[0], each[1]))


def write(name: str, columns: list[str], rows: list[list[object]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def main() -> None:
    draw = random.Random(0)
    exercises = catalogue(draw)
    skills = [name for name, _, _ in SKILLS]
    listed: list[list[object]] = [[e.name, e.text, skills[e.skill]] for e in exercises]
    write("exercises.csv", ["id", "text", "skill"], listed)
    taken = answers(draw, exercises)
    rows: list[list[object]] = [
        [learner, e.name, skills[e.skill], time.isoformat(timespec="minutes"), right]
        for time, learner, e, right in taken
    ]
    write("answers.csv", ["learner", "exercise", "skill", "time", "correct"], rows)
    print(
        f"{len(exercises)} exercises, {len(rows)} answers of {len({r[0] for r in rows})} learners"
    )


if __name__ == "__main__":
    main()
