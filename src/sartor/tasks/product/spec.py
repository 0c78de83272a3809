"""A product of several bundles: a text or a conversation in, an outcome out, or a person.

The bundles find a row's outcome (`serve.composed`), each part sure of its own answer with some
probability. What stands in the place of the logits is a product of those, in the column of the
outcome: how likely the whole way is right, if each part is as calibrated as its own need made it.

    confidence = Π of the confidences of the parts on the row's way on which the outcome hangs
    outcome    = the one found if confidence >= hand_off_below, else a person

A row that a part or a case leaves to a person has no confidence in any outcome. A part that writes
says in words what was found, once the rule has decided, and has no say in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError, Diverged
from sartor.core.likelihood import Truth, hits
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import HAND_OFF, Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief
from sartor.tasks._decision.abstaining import asked_threshold, unsure
from sartor.tasks._decision.logits import shown, whole_rows
from sartor.tasks._decision.margins import counted
from sartor.tasks._target.outputs import all_named
from sartor.tasks._target.right_ones import right_ones
from sartor.tasks._target.schema import SHARE, TEXT, list_of, object_of
from sartor.tasks.product.target import Outcomes

_BROKEN = "a part's output is not a number"
_ANY = {"type": "object", "additionalProperties": True}
"""What a part answers, in its own form."""
_NOBODY = "no part answers it"
_LEAST = 0.01
"""Share of what an answer is unsure of that another outcome is taken to have."""


@TASKS.add
@dataclass(frozen=True, slots=True)
class Product:
    """A text in, an outcome out."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"text": "text"}, targets={"label": "outcome"}, parts=True)

    @property
    def target(self) -> Outcomes:
        return Outcomes()

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """The outcomes that the parts may find, else those that rows name, sorted.

        Raises:
            DataError: If there is none.
        """
        found = all_named(examples.target, declared)
        if not found:
            raise DataError(
                f"Every row is left to a person ({HAND_OFF}); there is nothing to answer.",
                fix="check data.label.",
            )
        return found

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """(rows, 1, most) indices of the right outcomes of each row, then −1.

        Raises:
            DataError: If an outcome is not among the outputs.
        """
        return right_ones(examples.target, outputs, "outcome")

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """Choose on validation rows below which confidence a row is left to a person.

        Without a criterion on the automation rate it is where most rows end right, those for a
        person among them.

        Args:
            logits: (examples, outcomes) confidences.
            examples: Validation rows with their outcomes.
            outputs: The outcomes in the order of the logits.
            criteria: Those on the automation rate move the threshold.
            test_rows: Rows that the criteria will be proven on; 0 for as many as these.

        Raises:
            Diverged: If a confidence is not a finite number.
            DataError: If a row names an outcome that `outputs` lacks.
        """
        scores = np.asarray(logits, np.float64)
        if bad := int((~whole_rows(scores)).sum()):
            raise Diverged(
                f"The parts' outputs are not numbers for {bad} of {len(scores)} validation rows.",
                fix="build the parts again.",
            )
        truth, confidence = self.truth(examples, outputs), scores.max(1)
        right = hits(scores, truth) & (confidence > 0)
        count = counted(len(right), test_rows)
        threshold = asked_threshold(confidence, right, criteria, count)
        if threshold is None:
            some = confidence > 0  # a person answers the others, whatever the threshold
            person = truth.max((1, 2)) < 0
            threshold = _most_right(confidence[some], right[some], person[some])
        return {"hand_off_below": threshold}

    def labels(self, outputs: Sequence[str]) -> list[str]:
        return [*outputs, HAND_OFF]

    def decode(
        self,
        logits: Floats,
        outputs: Sequence[str],
        decision: Mapping[str, Any],
        texts: Sequence[Text] = (),
    ) -> list[dict[str, Any]]:
        """Confidences to answers.

        Returns:
            One mapping a row: `outcome`, "hand_off" where a person should answer; `best`, the
            outcome that was found; `confidence`; and `reason` where the outcome is a person. The
            runtime adds the way there: `path` and, where words are given, `say`.
        """
        scores = np.asarray(logits, np.float64)
        whole = whole_rows(scores).tolist()
        scores = np.clip(np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)
        floor = float(decision.get("hand_off_below", 0.0))
        answers: list[dict[str, Any]] = []
        for row, place, heard in zip(scores, scores.argmax(1).tolist(), whole, strict=True):
            confidence = float(row[place]) if heard else 0.0
            found = confidence > 0
            stands = found and confidence >= floor
            answer: dict[str, Any] = {
                "outcome": outputs[place] if stands else HAND_OFF,
                "best": outputs[place] if found else HAND_OFF,
                "confidence": shown(confidence),
            }
            if not stands:
                why = unsure(confidence, floor) if found else _NOBODY
                answer["reason"] = why if heard else _BROKEN
            answers.append(answer)
        return answers

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        text, said = self.target.text, answer["outcome"]
        return Brief(
            None if said == HAND_OFF else text((said,)),
            text((answer["best"],)),
            float(answer["confidence"]),
        )

    def likelihood(self, answer: Mapping[str, Any], target: Sequence[str]) -> float:
        """Of a row for a person that no outcome is right; of others that the best one is."""
        sure = float(answer["confidence"])
        if not target:
            return 1.0 - sure
        return sure if answer["best"] in target else (1.0 - sure) * _LEAST

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        step = {"part": TEXT, "best": TEXT, "confidence": SHARE, "answer": _ANY}
        optional = {"reason": TEXT, "say": TEXT, "path": list_of(object_of(step))}
        properties = {"outcome": TEXT, "best": TEXT, "confidence": SHARE, **optional}
        return object_of(properties, optional)

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            f"- end_to_end >= {proven:.2f}                   # right answers, and right hand-offs",
            "- automation_rate[precision >= 0.90] >= 0.30",
            "# - hand_off_recall >= 0.70             # of the rows that a person should answer",
            "# - part_accuracy[part=intent] >= 0.85  # needs a column named as the part",
            "# - rouge_l[part=writer] >= 0.30        # so do the words of a part that writes",
        ]


def _most_right(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], person: NDArray[np.bool_]
) -> float:
    """The threshold above which most rows end right; the lowest of those that are as good."""
    if not len(confidence):
        return 0.0
    order = np.argsort(confidence, kind="stable")
    ordered = confidence[order]
    # Cut before row i: those before it go to a person, the others are answered.
    left = np.concatenate([[0], np.cumsum(person[order])])
    kept = right.sum() - np.concatenate([[0], np.cumsum(right[order])])
    starts = np.concatenate([[True], np.diff(ordered) > 0, [False]])
    ended = np.where(starts, left + kept, -1)
    cut = int(ended.argmax())
    return 0.0 if cut == 0 else float(ordered[cut])
