"""Several labels a text: each is there or not, whatever the others are.

Decision rule, fitted on validation rows towards the criteria (see `settling`):
    p_k    = σ(slope · z_k + offset_k)             calibrated
    labels = {k : p_k >= threshold_k}              none is an answer too

A label that no training row has keeps its output: its logit is low for every text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief
from sartor.tasks._decision.logits import BROKEN, finite, refuse_broken, shown, whole_rows
from sartor.tasks._decision.margins import counted
from sartor.tasks._target.label_set import LabelSet
from sartor.tasks._target.outputs import told_apart
from sartor.tasks._target.right_ones import places_of
from sartor.tasks._target.schema import SHARE, TEXT, list_of, object_of, or_null
from sartor.tasks.multi_label.settling import Calibration, calibrate, fit_thresholds

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
        fix = "check data.label: with one label, yes or no, use task text_classification."
        return told_apart(chain.from_iterable(examples.target), declared, fix)

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """(rows, outputs) 1 where the row has the label, else 0.

        Raises:
            DataError: If a label is not among the outputs.
        """
        rows = [row for row, labels in enumerate(examples.target) for _ in labels]
        found = np.zeros((len(examples.target), len(outputs)), np.float32)
        found[rows, places_of(chain.from_iterable(examples.target), outputs)] = 1.0
        return found

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """Fit slope and offsets, then a threshold a label, on validation rows.

        Args:
            logits: (examples, outputs).
            examples: Validation rows with their labels.
            outputs: Names of the labels in the order of the logits.
            criteria: Those about precision, recall, F1, whole sets and Hamming loss move
                thresholds.
            test_rows: Rows that the criteria will be proven on; 0 for as many as these.

        Raises:
            Diverged: If a logit is not a finite number.
            DataError: If a row has a label that `outputs` lacks.
        """
        refuse_broken(logits)
        truth = self.truth(examples, outputs)
        fitted = calibrate(logits, truth)
        count = counted(len(truth), test_rows)
        shares = fitted.probabilities(logits)
        thresholds = fit_thresholds(shares, truth, outputs, criteria, count)
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
        offsets, thresholds = decision.get("offsets", {}), decision.get("thresholds", {})
        rule = Calibration(
            float(decision.get("slope", 1.0)),
            np.array([offsets.get(name, 0.0) for name in outputs], np.float64),
        )
        least = np.array([thresholds.get(name, 0.5) for name in outputs], np.float64)
        answers: list[dict[str, Any]] = []
        probabilities = rule.probabilities(finite(logits))
        said_of: NDArray[np.bool_] = np.greater_equal(probabilities, least)
        for row, said, whole in zip(probabilities, said_of, whole_rows(logits), strict=True):
            given = [name for name, yes in zip(outputs, said, strict=True) if yes]
            answer: dict[str, Any] = {
                "labels": given if whole else None,
                "probabilities": {name: shown(p) for name, p in zip(outputs, row, strict=True)},
            }
            if not whole:
                answer["reason"] = BROKEN
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
        listed = {**list_of({"enum": list(outputs)}), "uniqueItems": True}
        properties = {
            "labels": or_null(listed),
            "probabilities": object_of(dict.fromkeys(outputs, SHARE)),
            "reason": TEXT,
        }
        return object_of(properties, ("reason",))

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            f"- f1_micro >= {proven:.2f}",
            f"# - recall[label={label}] >= 0.75",
            "# - f1_macro >= 0.60                    # every label counts the same",
            "# - map >= 0.70                         # before any threshold is chosen",
            "# - subset_accuracy >= 0.50             # the whole set of a text is right",
        ]
