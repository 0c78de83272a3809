"""Question answering: a question and a context in, the part of the context that answers out.

An answer is a substring of the context with its place, or that there is none; how one is chosen,
and with what probability, is in `choosing`. A context that is longer than the model reads is read
in windows, each with the question (`core.windows`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.errors import DataError
from sartor.core.likelihood import Truth
from sartor.core.pieces import pieces
from sartor.core.protocols import Floats
from sartor.core.spans import Passage
from sartor.core.texts import CONTEXT, Text, parts_of
from sartor.core.types import Examples, Roles
from sartor.core.windows import LEAD
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief
from sartor.tasks._decision.logits import BROKEN, refuse_broken, shown, whole_rows
from sartor.tasks._decision.margins import counted
from sartor.tasks._target.passages import Passages
from sartor.tasks._target.schema import PLACE, SHARE, TEXT, list_of, object_of, or_null
from sartor.tasks.question_answering.choosing import Choice, Part, Rule, choose
from sartor.tasks.question_answering.settling import settled

START, END = "start", "end"
_BEST = 4
"""Parts that an answer lists, its own included."""
_TINY = 1e-12


@TASKS.add
@dataclass(frozen=True, slots=True)
class QuestionAnswering:
    """A question and a context in, a part of the context out, or that none answers."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"question": "text", CONTEXT: "text"}, targets={"label": "answer"})

    @property
    def target(self) -> Passages:
        return Passages()

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """How well an answer begins at a place, and how well it ends there.

        Raises:
            DataError: If no row has an answer.
        """
        if not any(examples.target):
            raise DataError(
                "No training row has an answer.",
                fix="check data.label, or add questions that their context answers.",
            )
        return [START, END]

    def labels(self, outputs: Sequence[str]) -> list[str]:
        return []

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """(rows, 2, most right answers) places of first and last pieces; 0 where there is none.

        Raises:
            DataError: If the outputs are not those of this task.
        """
        if missing := next((name for name in (START, END) if name not in outputs), None):
            raise DataError(
                f"The outputs lack {missing!r}.", fix="run the need again: the model is another's."
            )
        most = max((len(answers) for answers in examples.target), default=1)
        found = np.full((len(examples), 2, max(most, 1)), -1, np.int64)
        for row, (text, answers) in enumerate(zip(examples.texts, examples.target, strict=True)):
            found[row, :, 0] = 0
            places = pieces(parts_of(text)[-1])
            starts = {start: at for at, (start, _) in enumerate(places)}
            ends = {end: at for at, (_, end) in enumerate(places)}
            for at, answer in enumerate(answers):
                found[row, :, at] = LEAD + starts[answer.start], LEAD + ends[answer.end]
        return found

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """Fit the temperature, then how readily no answer is given.

        Args:
            logits: (examples, places, 2).
            examples: Validation rows with their right answers.
            outputs: Of the model.
            criteria: Those about exact match, F1 and rows without an answer move the second.
            test_rows: Rows that the criteria will be proven on; 0 for as many as these.

        Raises:
            Diverged: If a logit is not a finite number.
            DataError: If the outputs are not those of this task.
        """
        refuse_broken(logits)
        contexts = [parts_of(text)[-1] for text in examples.texts]
        rows = list(zip(contexts, examples.target, strict=True))
        count = counted(len(rows), test_rows)
        return settled(logits, rows, self.truth(examples, outputs), criteria, count).as_decision()

    def decode(
        self,
        logits: Floats,
        outputs: Sequence[str],
        decision: Mapping[str, Any],
        texts: Sequence[Text] = (),
    ) -> list[dict[str, Any]]:
        """Logits to answers.

        Returns:
            One mapping a row: `answer`, the part of the context, "" where there is none and None
            where the row cannot be answered; its `start` and `end`, None where there is none; its
            `confidence`; the next likely `alternatives`, likewise; and `reason` where `answer` is
            None. A row whose logits are not all finite numbers is never answered.
        """
        rule = Rule.of(decision)
        return [
            _answered(parts_of(text)[-1], choose(scores, rule, _BEST))
            if whole
            else {**_said(None, 0.0), "alternatives": [], "reason": BROKEN}
            for text, scores, whole in zip(texts, logits, whole_rows(logits), strict=False)
        ]

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        """The part of the context as an answer, or none."""
        text = self.target.text(_passages(answer))
        label = None if answer["answer"] is None else text
        return Brief(label, text, float(answer["confidence"]))

    def likelihood(self, answer: Mapping[str, Any], target: Sequence[Passage]) -> float:
        """What the answer gives to the right ones it lists; else what it left to all others."""
        listed = [answer, *answer.get("alternatives", ())]
        right = {(each.start, each.end) for each in target} or {(None, None)}
        if answer["answer"] is None:
            return _TINY
        shares = [float(e["confidence"]) for e in listed if (e["start"], e["end"]) in right]
        left = 1 - sum(float(each["confidence"]) for each in listed)
        return max(min(sum(shares), 1.0) if shares else left, _TINY)

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        place = or_null(PLACE)
        said = {"answer": or_null(TEXT), "start": place, "end": place, "confidence": SHARE}
        properties = {**said, "alternatives": list_of(object_of(said)), "reason": TEXT}
        return object_of(properties, ("reason",))

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            f"- f1 >= {proven:.2f}",
            "# - exact_match >= 0.60                 # the answer to the letter, but for articles",
            "# - no_answer_accuracy >= 0.80          # nothing is said where nothing is known",
        ]


def _answered(context: str, choice: Choice) -> dict[str, Any]:
    places = pieces(context)
    parts = [
        (part.probability, _part(context, (places[part.first][0], places[part.last][1]), part))
        for part in choice.parts
    ]
    ranked = sorted([*parts, (choice.none, _said("", choice.none))], key=lambda each: -each[0])
    best, *others = [said for _, said in ranked[:_BEST]]
    return {**best, "alternatives": others}


def _part(context: str, place: tuple[int, int], part: Part) -> dict[str, Any]:
    start, end = place
    return _said(context[start:end], part.probability) | {"start": start, "end": end}


def _said(answer: str | None, probability: float) -> dict[str, Any]:
    return {"answer": answer, "start": None, "end": None, "confidence": shown(probability)}


def _passages(answer: Mapping[str, Any]) -> list[Passage]:
    if not answer["answer"]:
        return []
    return [Passage(answer["start"], answer["end"], answer["answer"])]
