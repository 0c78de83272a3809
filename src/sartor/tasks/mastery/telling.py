"""What chances of right answers say of a learner: what they can, what to take next, how long yet.

    mastery of a skill   mean over its items of the chance of a right answer: how a learner would do
                         on an exercise of the skill drawn at random
    pace                 answers until it reaches `mastered_at`: the distance in log odds by what an
                         answer brings (see `growing`), rounded up
    next                 of the items that were not answered right yet, of skills not mastered yet,
                         the one whose chance is nearest to `aim`

0.75 as an aim is what a large practice site keeps children at (Klinkenberg, Straatemeier and van
der Maas 2011, doi:10.1016/j.compedu.2011.02.003); 0.85 is where a learner who descends a gradient
learns fastest (Wilson et al. 2019, doi:10.1038/s41467-019-12552-4), and what counts as mastered.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.histories import AIM, HISTORY, MASTERED_AT
from sartor.core.types import ITEM, SKILL
from sartor.tasks._decision.logits import shown

AIMED, MASTERED = 0.75, 0.85
_MOST_PACE = 200
"""Answers beyond which none are foretold."""
_LEAST_RATE = 0.005
"""What an answer must bring for a pace to be told."""
_END = 1e-6


@dataclass(frozen=True)
class Course:
    """The items and what is known of them.

    Args:
        outputs: Their ids.
        skills: Of each its skill; all are of one, which has no name, where it is empty.
        words: Item to what it says.
        growth: Skill to what an answer brings; see `growing`.
    """

    outputs: Sequence[str]
    skills: Sequence[str]
    words: Mapping[str, str]
    growth: Mapping[str, float]

    @cached_property
    def place(self) -> dict[str, int]:
        """Item to its place."""
        return {name: at for at, name in enumerate(self.outputs)}

    @cached_property
    def names(self) -> list[str]:
        """Of the skills, sorted."""
        return sorted(set(self.skills)) or [""]

    @cached_property
    def skill(self) -> NDArray[np.int64]:
        """(items,) the number of each item's skill."""
        number = {name: at for at, name in enumerate(self.names)}
        named = self.skills or [""] * len(self.outputs)
        return np.array([number[name] for name in named], np.int64)

    def about(self, values: Mapping[str, Any], chances: NDArray[np.float64]) -> dict[str, Any]:
        """What an answer holds beside the chance of the item that it is about.

        Args:
            values: Of the row.
            chances: (items,).
        """
        history = [
            (self.place[name], mark)
            for name, mark in values.get(HISTORY) or ()
            if name in self.place
        ]
        aim, bar = values.get(AIM, AIMED), values.get(MASTERED_AT, MASTERED)
        mastery = self._means(chances)
        done = [at for at, mark in history if mark]
        chosen = self._next((done, values.get(SKILL)), chances, mastery >= bar, aim)
        asked = [self.place[name] for name in values.get(ITEM) or () if name in self.place]
        return {
            "skills": self._skills(history, mastery, bar),
            "next": None if chosen is None else {**self._item(chosen, chances), "aim": aim},
            "asked": [self._item(at, chances) for at in asked],
        }

    def _means(self, chances: NDArray[np.float64]) -> NDArray[np.float64]:
        """(skills,) the mean chance of each."""
        count = len(self.names)
        return np.bincount(self.skill, chances, count) / np.bincount(self.skill, minlength=count)

    def _item(self, at: int, chances: NDArray[np.float64]) -> dict[str, Any]:
        found: dict[str, Any] = {"item": self.outputs[at], "chance": shown(float(chances[at]))}
        if name := self.names[self.skill[at]]:
            found["skill"] = name
        if self.outputs[at] in self.words:
            found["text"] = self.words[self.outputs[at]]
        return found

    def _skills(
        self, history: Sequence[tuple[int, int]], mastery: NDArray[np.float64], bar: float
    ) -> list[dict[str, Any]]:
        answers, right = [0] * len(self.names), [0] * len(self.names)
        for at, mark in history:
            answers[self.skill[at]] += 1
            right[self.skill[at]] += mark
        return [
            {
                "skill": name,
                "mastery": shown(float(level)),
                "mastered": bool(level >= bar),
                "answers": answers[at],
                "right": right[at],
                "pace": self._pace(name, float(level), bar),
            }
            for at, (name, level) in enumerate(zip(self.names, mastery, strict=True))
            # Items whose skill nothing names are none to be told of beside others.
            if name or len(self.names) == 1
        ]

    def _pace(self, skill: str, level: float, bar: float) -> int | None:
        """Answers that are yet to come; None where they cannot be told."""
        rate = self.growth.get(skill, self.growth.get("", 0.0))
        if level >= bar:
            return 0
        if rate < _LEAST_RATE:
            return None
        answers = math.ceil((_odds(bar) - _odds(level)) / rate)
        return answers if answers <= _MOST_PACE else None

    def _next(
        self,
        asked: tuple[Sequence[int], str | None],
        chances: NDArray[np.float64],
        mastered: NDArray[np.bool_],
        aim: float,
    ) -> int | None:
        """The place of the item to take next.

        Args:
            asked: Places of what was answered right, and the skill that is wanted, if any.
            chances: (items,).
            mastered: (skills,).
            aim: Chance that it should have.
        """
        done, wanted = asked
        there = np.ones(len(self.outputs), bool)
        there[list(done)] = False
        if wanted is not None:
            there &= self.skill == (self.names.index(wanted) if wanted in self.names else -1)
        # A skill that is mastered is left alone while there is another one.
        fresh = there & ~mastered[self.skill]
        places = np.flatnonzero(fresh if fresh.any() else there)
        if not len(places):
            return None
        return int(places[np.abs(chances[places] - aim).argmin()])


def _odds(share: float) -> float:
    inside = min(max(share, _END), 1 - _END)
    return math.log(inside / (1 - inside))
