"""How much a learner gains from an answer, seen in their histories.

    log odds of right = a_i + θ_ls + γ_s · n       n answers of learner l to skill s before this one

a_i is how easy the model takes item i to be, θ_ls what the learner can in the skill at first, drawn
to 0; γ_s, how much an answer brings, is drawn to what it is over all skills. It is the additive
factors model (Cen, Koedinger and Junker 2006, doi:10.1007/11774303_17), whose one rate for all
learners is borne out in many courses: Koedinger et al. 2023, doi:10.1073/pnas.2221311120.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Answers = Sequence[tuple[str, int]]
_SEQUENCES = 4_000
"""Histories that are looked at, at most."""
_STEPS = 25
_SPREAD = 0.05
"""Standard deviation of the skills' rates around their mean, before the rows are seen."""
_ABOUT, _WIDE = 0.1, 0.1
"""Mean and standard deviation of the rate over all skills, before the rows are seen: Koedinger et
al. 2023 find about 0.1 in 27 sets of data."""
_MOST_SEEN = 50
"""Answers to one skill beyond which another one brings nothing."""


def growth(
    histories: Sequence[Answers], easy: Mapping[str, float], skill_of: Mapping[str, str]
) -> dict[str, float]:
    """Skill to what an answer adds to the log odds of the next; "" for skills without answers.

    Args:
        histories: Item and 1 where it was answered right, else 0; the newest last. One that is the
            beginning of another is not counted beside it.
        easy: Item to its log odds for an average learner.
        skill_of: Item to its skill; others are passed by.
    """
    rows = _rows(_whole(histories), skill_of)
    names = sorted({skill for _, skill, _, _, _ in rows})
    if not rows:
        return {"": _ABOUT}
    place = {name: at for at, name in enumerate(names)}
    groups = {key: at for at, key in enumerate(dict.fromkeys((who, s) for who, s, *_ in rows))}
    group = np.array([groups[who, skill] for who, skill, *_ in rows])
    skill = np.array([place[row[1]] for row in rows])
    count = np.array([min(row[3], _MOST_SEEN) for row in rows], np.float64)
    right = np.array([row[4] for row in rows], np.float64)
    offset = np.array([easy.get(row[2], 0.0) for row in rows])
    rates, mean = _fitted(offset, right, count, (group, skill))
    return {"": float(mean), **{name: float(rates[at]) for name, at in place.items()}}


def _fitted(
    offset: Doubles, right: Doubles, count: Doubles, of: tuple[NDArray[Any], NDArray[Any]]
) -> tuple[Doubles, float]:
    """(skills,) rates and their mean, by Newton steps; the θ are eliminated in each."""
    group, skill = of
    skills, groups = int(skill.max()) + 1, int(group.max()) + 1
    owner = np.zeros(groups, np.int64)
    owner[group] = skill
    start, rates, mean = np.zeros(groups), np.full(skills, _ABOUT), _ABOUT
    for _ in range(_STEPS):
        said = 1 / (1 + np.exp(-(offset + start[group] + rates[skill] * count)))
        weight, missed = said * (1 - said), right - said
        own = np.bincount(group, weight, groups) + 1.0
        cross = np.bincount(group, weight * count, groups)
        pull = np.bincount(group, missed, groups) - start
        curve = np.bincount(skill, weight * count**2, skills)
        curve -= np.bincount(owner, cross**2 / own, skills)
        slope = np.bincount(skill, missed * count, skills)
        slope -= np.bincount(owner, cross * pull / own, skills)
        curve = np.maximum(curve, 1e-9)
        alone = rates + slope / curve
        # The mean's own weight of a skill: what its rows say, blurred by how rates differ.
        sure = 1 / (1 / curve + _SPREAD**2)
        mean = (sure @ alone + _ABOUT / _WIDE**2) / (sure.sum() + 1 / _WIDE**2)
        found = (curve * alone + mean / _SPREAD**2) / (curve + 1 / _SPREAD**2)
        start = start + (pull - cross * (found - rates)[owner]) / own
        rates = found
    return rates, mean


def _whole(histories: Sequence[Answers]) -> list[Answers]:
    """Those that are not the beginning of another, at most some thousands."""
    seen, kept = set[int](), list[Answers]()
    for history in sorted(histories, key=len, reverse=True):
        ends, at = list[int](), 0
        for name, mark in history:
            at = hash((at, name, mark))
            ends.append(at)
        if ends and ends[-1] not in seen:
            kept.append(history)
            seen.update(ends)
    return kept[:_SEQUENCES]


def _rows(
    histories: Sequence[Answers], skill_of: Mapping[str, str]
) -> list[tuple[int, str, str, int, int]]:
    """(learner, skill, item, answers to the skill before, right) of every answer."""
    found: list[tuple[int, str, str, int, int]] = []
    for who, history in enumerate(histories):
        counts: dict[str, int] = {}
        for name, mark in history:
            if (skill := skill_of.get(name)) is None:
                continue
            found.append((who, skill, name, counts.get(skill, 0), mark))
            counts[skill] = counts.get(skill, 0) + 1
    return found
