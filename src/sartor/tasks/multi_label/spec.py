"""Several labels a text: each is there or not, whatever the others are.

Decision rule, fitted on validation rows towards the criteria (see `settling`):
    p_k    = σ(slope · z_k + offset_k)             calibrated
    labels = {k : p_k >= threshold_k}              none is an answer too

A label that no training row has keeps its output: its logit is low for every text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError, Diverged
from sartor.core.likelihood import Truth
from sartor.core.near import near_miss
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief
from sartor.tasks._target.label_set import LabelSet
from sartor.tasks.multi_label.settling import Calibration, calibrate, fit_thresholds

_BROKEN = "the model's output is not a number"
_HUGE = 1e300  # stands for infinity: any slope times it stays finite
_TINY = 1e-12


@TASKS.add
@dataclass(frozen=True, slots=True)
class MultiLabel:
    """A text in, any number of a fixed set of labels out."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"text": "text"}, targets={"label": "labels"})

    @property
    def target(self) -> LabelSet:
        return LabelSet()

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """The declared labels in their order, else those that occur, sorted.

        Raises:
            DataError: If fewer than two labels occur.
        """
        found = sorted({label for labels in examples.target for label in labels})
        if len(found) < 2:
            raise DataError(
                f"The training rows hold {len(found)} label ({', '.join(found) or 'none'}).",
                fix="check data.label: with one label, yes or no, use task text_classification.",
            )
        return list(declared) if declared else found

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """(rows, outputs) 1 where the row has the label, else 0.

        Raises:
            DataError: If a label is not among the outputs.
        """
        index = {name: i for i, name in enumerate(outputs)}
        found = np.zeros((len(examples.target), len(outputs)), np.float32)
        for row, labels in enumerate(examples.target):
            for label in labels:
                if label not in index:
                    raise DataError(
                        f"label {label!r} is not among the outputs.", fix=near_miss(label, index)
                    )
                found[row, index[label]] = 1.0
        return found

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
    ) -> dict[str, Any]:
        """Fit slope and offsets, then a threshold a label, on validation rows.

        Args:
            logits: (examples, outputs).
            examples: Validation rows with their labels.
            outputs: Names of the labels in the order of the logits.
            criteria: Those about precision, recall, F1, whole sets and Hamming loss move
                thresholds.

        Raises:
            Diverged: If a logit is not a finite number.
            DataError: If a row has a label that `outputs` lacks.
        """
        scores = np.asarray(logits, np.float64)
        if bad := int((~np.isfinite(scores)).any(1).sum()):
            raise Diverged(
                f"The model's outputs are not numbers for {bad} of {len(scores)} validation rows.",
                fix="train with a smaller learning rate, or in float32.",
            )
        truth = self.truth(examples, outputs)
        fitted = calibrate(logits, truth)
        thresholds = fit_thresholds(fitted.probabilities(logits), truth, outputs, criteria)
        return {
            "slope": float(fitted.slope),
            "offsets": dict(zip(outputs, fitted.offsets.tolist(), strict=True)),
            "thresholds": dict(zip(outputs, thresholds.tolist(), strict=True)),
        }

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
            One mapping a row: `labels`, in the order of the outputs, or None; `probabilities`; and
            `reason` where `labels` is None. A row whose logits are not all finite numbers is never
            answered: it keeps the other rows of its batch from failing with it.
        """
        scores = np.asarray(logits, np.float64)
        broken = set(np.flatnonzero((~np.isfinite(scores)).any(1)).tolist())
        scores = np.clip(np.nan_to_num(scores, nan=-_HUGE), -_HUGE, _HUGE)
        offsets, thresholds = decision.get("offsets", {}), decision.get("thresholds", {})
        rule = Calibration(
            float(decision.get("slope", 1.0)),
            np.array([offsets.get(name, 0.0) for name in outputs], np.float64),
        )
        least = np.array([thresholds.get(name, 0.5) for name in outputs], np.float64)
        answers: list[dict[str, Any]] = []
        rows = rule.probabilities(scores)
        said_of: NDArray[np.bool_] = np.greater_equal(rows, least)
        for at, (row, said) in enumerate(zip(rows, said_of, strict=True)):
            failed = at in broken
            given = [name for name, yes in zip(outputs, said, strict=True) if yes]
            answer: dict[str, Any] = {
                "labels": None if failed else given,
                "probabilities": {
                    name: float(f"{p:.6g}") for name, p in zip(outputs, row, strict=True)
                },
            }
            if failed:
                answer["reason"] = _BROKEN
            answers.append(answer)
        return answers

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        """The set as text; its confidence is that of the label that is least sure."""
        labels, stated = answer["labels"], answer["probabilities"]
        text = self.target.text(labels or ())
        given = set(labels or ())
        sure = min((p if name in given else 1 - p for name, p in stated.items()), default=0.0)
        return Brief(None if labels is None else text, text, float(sure))

    def likelihood(self, answer: Mapping[str, Any], target: Sequence[str]) -> float:
        """The geometric mean over labels of the probability given to the truth about each."""
        given, stated = set(target), answer["probabilities"]
        right = np.array([p if name in given else 1 - p for name, p in stated.items()], np.float64)
        return float(np.exp(np.log(np.maximum(right, _TINY)).mean()))

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        names = list(outputs)
        share = {"type": "number", "minimum": 0, "maximum": 1}
        listed = {"type": "array", "items": {"enum": names}, "uniqueItems": True}
        return {
            "type": "object",
            "properties": {
                "labels": {"anyOf": [listed, {"type": "null"}]},
                "probabilities": {
                    "type": "object",
                    "properties": dict.fromkeys(names, share),
                    "required": names,
                },
                "reason": {"type": "string"},
            },
            "required": ["labels", "probabilities"],
        }

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            f"- f1_micro >= {proven:.2f}",
            f"# - recall[label={label}] >= 0.75",
            "# - f1_macro >= 0.60                    # every label counts the same",
            "# - map >= 0.70                         # before any threshold is chosen",
            "# - subset_accuracy >= 0.50             # the whole set of a text is right",
        ]
