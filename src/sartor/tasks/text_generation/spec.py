"""Text generation: a text or a conversation in, a reply in the model's own words out.

There is no decision rule: a model writes one reply, token by token the likeliest. What stands in
the place of the logits is the reply itself, in numbers (see `core.replies`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.errors import DataError, Diverged
from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats
from sartor.core.replies import Said, as_numbers, as_said, rouge_l, sureness
from sartor.core.texts import Text
from sartor.core.types import Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief
from sartor.tasks._decision.logits import shown
from sartor.tasks._target.reply import FreeText
from sartor.tasks._target.schema import SHARE, TEXT, list_of, object_of, or_null

OUTPUT = "reply"
"""The one output there is."""
_BROKEN = "the model's output is no text"
_EMPTY = "the model wrote nothing"
_LEAST = 0.01


@TASKS.add
@dataclass(frozen=True, slots=True)
class TextGeneration:
    """A text in, a reply out."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"text": "text"}, targets={"label": "text"})

    @property
    def target(self) -> FreeText:
        return FreeText()

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """One, whatever was written.

        Raises:
            DataError: If the need lists labels.
        """
        if declared:
            raise DataError(
                f"data.labels lists {len(declared)} labels, and what is written is not chosen from"
                " a list.",
                fix="leave data.labels out, or choose the task text_classification.",
            )
        return [OUTPUT]

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """The right replies in numbers, as a model that was sure of them would give them."""
        said = [Said(str(reply), 0.0, 0, True) for reply in examples.target]
        return as_numbers(said).astype(np.float64)

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """Nothing is to be chosen.

        Raises:
            Diverged: If a row is no reply.
        """
        if any(as_said(row) is None for row in np.asarray(logits)):
            raise Diverged(
                "The model's output is no text on some validation rows.",
                fix="lower the learning rate.",
            )
        return {}

    def labels(self, outputs: Sequence[str]) -> list[str]:
        return []

    def decode(
        self,
        logits: Floats,
        outputs: Sequence[str],
        decision: Mapping[str, Any],
        texts: Sequence[Text] = (),
    ) -> list[dict[str, Any]]:
        """Rows of numbers to answers.

        Returns:
            One mapping a row: `label`, the reply, or None where there is none; `best`, the same, or
            empty; `confidence`, the geometric mean of its tokens' probabilities; `tokens`;
            `finish`, "stop" or "length", as the model or the limit ended it; `reason` where `label`
            is None; and where it was asked for, `right`: ln p of the right reply, and its tokens.
        """
        return [_answer(as_said(row)) for row in np.asarray(logits)]

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        return Brief(answer["label"], answer["best"], float(answer["confidence"]))

    def likelihood(self, answer: Mapping[str, Any], target: Any) -> float:
        """Its overlap with the right reply stands for it: to order candidates, no probability."""
        return max(rouge_l(str(answer["best"]), str(target)), _LEAST)

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        optional = {"reason": TEXT, "right": list_of({"type": "number"})}
        properties = {
            "label": or_null(TEXT),
            "best": TEXT,
            "confidence": SHARE,
            "tokens": {"type": "number", "minimum": 0},
            "finish": {"enum": ["stop", "length"]},
            **optional,
        }
        return object_of(properties, optional)

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            "- rouge_l >= 0.20                       # words shared with the right reply, in order",
            "# - exact_match >= 0.10",
            "# - first_token_p95_ms <= 1000",
            "# - rouge_l >= baseline + 0.05          # needs data.baseline: today's replies",
        ]


def _answer(said: Said | None) -> dict[str, Any]:
    text = "" if said is None else said.text.strip()
    answer: dict[str, Any] = {
        "label": text or None,
        "best": text,
        "confidence": 0.0 if said is None else shown(sureness(said)),
        "tokens": 0 if said is None else said.tokens,
        "finish": "stop" if said is not None and said.ended else "length",
    }
    if said is not None and said.right_tokens:
        answer["right"] = [said.right_log_p, said.right_tokens]
    if not text:
        answer["reason"] = _BROKEN if said is None else _EMPTY
    return answer
