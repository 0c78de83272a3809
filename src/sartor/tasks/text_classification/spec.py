"""Text classification, binary and multi-class: one label a text, or none when unsure.

Decision rule, fitted on validation rows towards the criteria:
    p     = softmax(logits / temperature)                   Guo et al. 2017, arXiv:1706.04599
    best  = argmax over classes of weight · p               Elkan 2001, doi:10.5555/1642194.1642224
    label = best if p[best] >= abstain_below, else none     Chow 1970, doi:10.1109/TIT.1970.1054406
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError
from sartor.core.likelihood import Truth, fit_temperature
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief, Target
from sartor.tasks._decision.abstaining import asked_threshold, unsure
from sartor.tasks._decision.logits import (
    BROKEN,
    finite,
    refuse_broken,
    shown,
    softmax,
    whole_rows,
)
from sartor.tasks._decision.margins import counted
from sartor.tasks._target.one_label import OneLabel
from sartor.tasks._target.outputs import told_apart
from sartor.tasks._target.right_ones import places_of
from sartor.tasks._target.schema import SHARE, TEXT, object_of
from sartor.tasks.text_classification.settling import fit_weights


@TASKS.add
@dataclass(frozen=True, slots=True)
class TextClassification:
    """A text in, one of a fixed set of labels out."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"text": "text"}, targets={"label": "label"})

    @property
    def target(self) -> Target:
        return OneLabel()

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """The declared labels in their order, else those that occur, sorted.

        Raises:
            DataError: If fewer than two labels occur.
        """
        fix = "check data.label, or add rows with another label."
        return told_apart(map(str, examples.target), declared, fix)

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """(rows,) class indices.

        Raises:
            DataError: If a label is not among the outputs.
        """
        return places_of(examples.target, outputs)

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """Fit temperature, class weights and the abstention threshold on validation rows.

        Args:
            logits: (examples, classes).
            examples: Validation rows with their labels.
            outputs: Class names in the order of the logits.
            criteria: Only those about labels, precision, recall and automation move anything.
            test_rows: Rows that the criteria will be proven on; 0 for as many as these.

        Raises:
            Diverged: If a logit is not a finite number.
            DataError: If a row has a label that `outputs` lacks.
        """
        refuse_broken(logits)
        if unknown := sorted({str(label) for label in examples.target} - set(outputs)):
            raise DataError(
                f"The validation rows hold the label {unknown[0]!r}, which no training row has.",
                fix="add training rows with that label, or list the labels under data.labels.",
            )
        truth = places_of(examples.target, outputs)
        temperature = fit_temperature(logits, truth)
        probabilities = softmax(np.asarray(logits, np.float64) / temperature)
        count = counted(len(truth), test_rows)
        rule = self.rule(probabilities, truth, outputs, criteria, count)
        best = self.chosen(probabilities, outputs, rule)
        confidence = probabilities[np.arange(len(best)), best]
        threshold = asked_threshold(confidence, best == truth, criteria, count) or 0.0
        return {"temperature": float(temperature), **rule, "abstain_below": threshold}

    def rule(
        self,
        probabilities: NDArray[np.float64],
        truth: NDArray[np.intp],
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        count: float,
    ) -> dict[str, Any]:
        """What of the decision says which label is best, fitted on validation rows: JSON values.

        Args:
            probabilities: (rows, classes).
            truth: (rows,) class indices.
            outputs: Class names.
            criteria: Of the need.
            count: See `counted`.
        """
        weights = fit_weights(probabilities, truth, outputs, criteria, count)
        return {"weights": {name: float(w) for name, w in zip(outputs, weights, strict=True)}}

    def chosen(
        self,
        probabilities: NDArray[np.float64],
        outputs: Sequence[str],
        decision: Mapping[str, Any],
    ) -> NDArray[np.intp]:
        """(rows,) index of the best label of (rows, classes) probabilities, by the decision."""
        weights = decision.get("weights", {})
        by_class = np.array([weights.get(name, 1.0) for name in outputs], np.float64)
        return (probabilities * by_class).argmax(1)

    def labels(self, outputs: Sequence[str]) -> list[str]:
        return list(outputs)

    def decode(
        self,
        logits: Floats,
        outputs: Sequence[str],
        decision: Mapping[str, Any],
        texts: Sequence[Text] = (),
    ) -> list[dict[str, Any]]:
        """Logits to answers.

        Returns:
            One mapping a row: `label` (or None), `best` (the forced answer), `probabilities`,
            and `reason` where `label` is None. A row whose logits are not all finite numbers is
            never answered: it keeps the other rows of its batch from failing with it.
        """
        probabilities = softmax(finite(logits) / float(decision.get("temperature", 1.0)))
        best = self.chosen(probabilities, outputs, decision)
        floor = float(decision.get("abstain_below", 0.0))
        answers: list[dict[str, Any]] = []
        rows = zip(probabilities, best.tolist(), whole_rows(logits).tolist(), strict=True)
        for row, index, whole in rows:
            name, confidence = outputs[index], float(row[index])
            answer: dict[str, Any] = {
                "label": name if confidence >= floor and whole else None,
                "best": name,
                "probabilities": {output: shown(p) for output, p in zip(outputs, row, strict=True)},
            }
            if answer["label"] is None:
                answer["reason"] = unsure(confidence, floor) if whole else BROKEN
            answers.append(answer)
        return answers

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        best = answer["best"]
        return Brief(answer["label"], best, float(answer["probabilities"][best]))

    def likelihood(self, answer: Mapping[str, Any], target: str) -> float:
        return float(answer["probabilities"][target])

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        names = list(outputs)
        properties = {
            "label": {"enum": [*names, None]},
            "best": {"enum": names},
            "probabilities": object_of(dict.fromkeys(names, SHARE)),
            "reason": TEXT,
        }
        return object_of(properties, ("reason",))

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            f"- accuracy >= {proven:.2f}",
            f"# - recall[label={label}] >= 0.75",
            "# - accuracy >= baseline + 0.03        # needs data.baseline: today's answers",
            "# - automation_rate[precision >= 0.97] >= 0.5",
        ]
