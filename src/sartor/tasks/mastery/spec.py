"""Mastery: how likely a learner answers an item right, from what they answered before; and so what
they can in every skill, what to take next, and how long it will take.

A row is one answer: the history before it, the item that was asked, and whether the answer was
right. The items are the outputs: one pass tells the chance of each.

    chance = σ(z_item / temperature),   label = right where chance > ½

No learner is an input: who never was in the training rows is known by their history, as all are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError
from sartor.core.histories import HISTORY
from sartor.core.likelihood import Truth, fit_temperature
from sartor.core.protocols import Floats
from sartor.core.texts import Text, cells_of
from sartor.core.types import ITEM, SKILL, USER, Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief, Target
from sartor.tasks._decision.logits import BROKEN, finite, refuse_broken, shown, whole_rows
from sartor.tasks._target.right_ones import places_of
from sartor.tasks._target.right_wrong import RIGHT, WRONG, RightWrong
from sartor.tasks._target.schema import PLACE, SHARE, TEXT, list_of, object_of, or_null
from sartor.tasks.mastery.growing import growth
from sartor.tasks.mastery.telling import Course

_NOTHING_LEFT = "every item was answered right already"
_FURTHEST = 500.0
"""Logit beyond which a chance is 0 or 1 in double precision."""


@TASKS.add
@dataclass(frozen=True, slots=True)
class Mastery:
    """A history of answers in, the chance of every item out."""

    @property
    def roles(self) -> Roles:
        return Roles(
            inputs={USER: "group", ITEM: "id", SKILL: "category"},
            targets={"label": "label"},
            optional=(SKILL,),
        )

    @property
    def target(self) -> Target:
        return RightWrong()

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """Ids of the items: the declared ones, else those that the rows ask, sorted.

        Raises:
            DataError: If there are none.
        """
        asked = {name for cells in cells_of(examples.texts) for name in cells.values()[ITEM]}
        found = list(declared or sorted(asked))
        if not found:
            raise DataError("No row asks an item.", fix="check data.item.")
        return found

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """(rows, 2) unsigned: the place of the item that was asked, and 1 where it was right.

        Raises:
            DataError: If an item is not among the outputs.
        """
        asked = (cells.values()[ITEM][0] for cells in cells_of(examples.texts))
        right = [target == RIGHT for target in examples.target]
        return np.stack([places_of(asked, outputs, "item"), right], axis=1).astype(np.uint32)

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """Fit the temperature, and what an answer brings, on validation rows.

        Args:
            logits: (examples, items).
            examples: Validation rows with their answers.
            outputs: Ids of the items in the order of the logits.
            criteria: None moves anything: every one is about chances, or about the likelier of two.
            test_rows: Moves nothing.

        Raises:
            Diverged: If a logit is not a finite number.
            DataError: If a row asks an item that `outputs` lacks.
        """
        refuse_broken(logits)
        temperature = fit_temperature(logits, self.truth(examples, outputs))
        level = np.asarray(logits, np.float64).mean(0) / temperature
        easy = dict(zip(outputs, level.tolist(), strict=True))
        histories: list[list[tuple[str, int]]] = []
        skill_of: dict[str, str] = {}
        for cells, target in zip(cells_of(examples.texts), examples.target, strict=True):
            values = cells.values()
            (name,) = values[ITEM]
            skill_of[name] = values.get(SKILL) or ""
            before = [(each, mark) for each, mark in values.get(HISTORY) or ()]
            histories.append([*before, (name, int(target == RIGHT))])
        return {"temperature": float(temperature), "growth": growth(histories, easy, skill_of)}

    def labels(self, outputs: Sequence[str]) -> list[str]:
        return [WRONG, RIGHT]

    def decode(
        self,
        logits: Floats,
        outputs: Sequence[str],
        decision: Mapping[str, Any],
        texts: Sequence[Text] = (),
    ) -> list[dict[str, Any]]:
        """Log odds to answers.

        Args:
            logits: (rows, items).
            outputs: Ids of the items.
            decision: From `settle`; with `skills`, one an item, answers tell of each, and with
                `documents`, id to words, they quote the items.
            texts: Rows; where one asks no item, its answer is about the next one to take.

        Returns:
            One mapping a row: `item`, `label` (or None), `best`, `probabilities`, `skills`, `next`,
            `asked`, and `reason` where `label` is None. A row whose logits are not all finite
            numbers is never answered.
        """
        z = finite(logits) / float(decision.get("temperature", 1.0))
        chances = 1 / (1 + np.exp(-np.clip(z, -_FURTHEST, _FURTHEST)))
        course = Course(
            outputs,
            decision.get("skills", ()),
            decision.get("documents", {}),
            decision.get("growth", {}),
        )
        rows = [cells.values() for cells in cells_of(texts)] or [{}] * len(chances)
        fine = whole_rows(logits).tolist()
        return [_answer(course, *row) for row in zip(rows, chances, fine, strict=True)]

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        best = answer["best"]
        return Brief(answer["label"], best, float(answer["probabilities"][best]))

    def likelihood(self, answer: Mapping[str, Any], target: str) -> float:
        return float(answer["probabilities"][target])

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        item = object_of(
            {"item": TEXT, "chance": SHARE, "skill": TEXT, "text": TEXT, "aim": SHARE},
            ("skill", "text", "aim"),
        )
        skill = object_of(
            {
                "skill": TEXT,
                "mastery": SHARE,
                "mastered": {"type": "boolean"},
                "answers": PLACE,
                "right": PLACE,
                "pace": or_null(PLACE),
            }
        )
        properties = {
            "item": or_null(TEXT),
            "label": {"enum": [WRONG, RIGHT, None]},
            "best": {"enum": [WRONG, RIGHT]},
            "probabilities": object_of({WRONG: SHARE, RIGHT: SHARE}),
            "skills": list_of(skill),
            "next": or_null(item),
            "asked": list_of(item),
            "reason": TEXT,
            "notes": list_of(TEXT),
        }
        return object_of(properties, ("reason", "notes"))

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            "- auc >= 0.65",
            "# - log_loss <= 0.60                     # beside it stands what each item's share of",
            "#                                        # right answers gives on the same rows",
            "# - calibration_error <= 0.05            # chances that can be planned with",
            "# - 'log_loss[where: history_length == 0] <= 0.65'   # learners who are new",
            "# - 'log_loss[where: answered_before == 0] <= 0.70'  # items that nobody had answered",
        ]


def _answer(
    course: Course, values: Mapping[str, Any], chances: NDArray[np.float64], fine: bool
) -> dict[str, Any]:
    about = course.about(values, chances)
    unknown = [name for name in values.get(ITEM) or () if name not in course.place]
    first = next(iter(about["asked"]), None if unknown else about["next"])
    skill = values.get(SKILL)
    strange = next(((ITEM, name) for name in unknown), None)
    if strange is None and skill is not None and skill not in course.names:
        strange = (SKILL, skill)
    chance = float(chances.mean()) if first is None else float(first["chance"])
    best = RIGHT if chance > 0.5 else WRONG
    answer: dict[str, Any] = {
        "item": None if first is None else first["item"],
        "label": best if fine and first is not None else None,
        "best": best,
        "probabilities": {WRONG: shown(1 - chance), RIGHT: shown(chance)},
        **about,
    }
    if not fine:
        answer["reason"] = BROKEN
    elif first is None:
        answer["reason"] = f"no {strange[0]} is called {strange[1]!r}" if strange else _NOTHING_LEFT
    if strange and first is not None:
        answer["notes"] = [f"{strange[0]} names what is no {strange[0]} here: {strange[1]!r}."]
    return answer
