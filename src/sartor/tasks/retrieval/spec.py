"""Retrieval: the documents of a fixed base that answer a text, the best first; or "I don't know".

The documents are the outputs, and the logits of a row are its similarities to them:

    z_k   = 20 · cos(e(text), e(document_k))
    score = softmax(z / T)
    sure  = how likely the first document is right (see `settling`)
    answer = the first document if sure >= answer_from, else none

The documents themselves, their words and their vectors, lie beside the graph (see `index`), so that
they can be replaced while the model stays.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import DataError
from sartor.core.likelihood import Truth, hits
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief
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
from sartor.tasks._target.outputs import all_named
from sartor.tasks._target.right_ones import right_ones
from sartor.tasks._target.schema import SHARE, TEXT, list_of, object_of, or_null
from sartor.tasks.retrieval.settling import fit_sureness, signs, sureness, temperature_of
from sartor.tasks.retrieval.target import Documents

_SHOWN, _MOST_SHOWN = 10, 100
"""Documents that an answer lists, unless a criterion looks at more; and at most."""
_AT = re.compile(r"_at_(\d+)$")
_UNLISTED = 0.01
"""Share of what the listed documents leave over that one which is not listed is taken to have."""


@TASKS.add
@dataclass(frozen=True, slots=True)
class Retrieval:
    """A text in, documents of a fixed base out."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"text": "text"}, targets={"label": "documents"})

    @property
    def target(self) -> Documents:
        return Documents()

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """Ids of the documents: the declared ones, else those that rows name, sorted.

        Raises:
            DataError: If there are fewer than two documents.
        """
        found = all_named(examples.target, declared)
        if len(found) < 2:
            raise DataError(
                f"There are {len(found)} documents; there is nothing to choose among.",
                fix="check data.documents and data.label.",
            )
        return found

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """(rows, 1, most) indices of the right documents of each row, then −1.

        Raises:
            DataError: If a document is not among the outputs.
        """
        return right_ones(examples.target, outputs, "document")

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """Fit temperature, sureness and the threshold on validation rows.

        Without a criterion on the automation rate the threshold is where right and wrong are
        equally likely if some rows have no document, else there is none.

        Args:
            logits: (examples, documents).
            examples: Validation rows with the ids of their documents.
            outputs: Ids of the documents in the order of the logits.
            criteria: Those on the automation rate move the threshold; ranks say how many documents
                an answer must list.
            test_rows: Rows that the criteria will be proven on; 0 for as many as these.

        Raises:
            Diverged: If a logit is not a finite number.
            DataError: If a row names a document that `outputs` lacks.
        """
        scores = np.asarray(logits, np.float32)
        refuse_broken(scores)
        truth = self.truth(examples, outputs)
        temperature = temperature_of(scores, truth)
        weights = fit_sureness(scores, truth, temperature)
        sure = sureness(signs(scores, temperature), weights)
        right = hits(scores, truth)
        unanswered = bool((truth < 0).all((1, 2)).any())
        threshold = asked_threshold(sure, right, criteria, counted(len(right), test_rows))
        if threshold is None:
            threshold = 0.5 if unanswered else 0.0
        return {
            "temperature": float(temperature),
            "sureness": weights,
            "answer_from": threshold,
            "shown": listed(criteria),
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
        """Similarities to answers.

        Args:
            logits: (rows, documents).
            outputs: Ids of the documents.
            decision: From `settle`; with `documents`, id to words, an answer quotes them.
            texts: Not read.

        Returns:
            One mapping a row: `answer` (an id or None), `confidence`, `documents` (id and score of
            the nearest, best first), and `reason` where `answer` is None. A row whose logits are
            not all finite numbers is never answered.
        """
        scores, whole = finite(logits), whole_rows(logits)
        temperature = float(decision.get("temperature", 1.0))
        sure = sureness(signs(scores, temperature), decision.get("sureness", (0.0, 0.0, 0.0)))
        shares = softmax(scores / temperature)
        floor = float(decision.get("answer_from", 0.0))
        words: Mapping[str, str] = decision.get("documents", {})
        count = shown_by(decision, len(outputs))
        answers: list[dict[str, Any]] = []
        for at, order in enumerate(_first(scores, count)):
            listed: list[dict[str, Any]] = []
            for place in map(int, order):
                entry: dict[str, Any] = {
                    "id": outputs[place],
                    "score": shown(float(shares[at, place])),
                }
                if outputs[place] in words:
                    entry["text"] = words[outputs[place]]
                listed.append(entry)
            confidence = float(sure[at]) if whole[at] else 0.0
            stands = confidence >= floor and whole[at]
            answer: dict[str, Any] = {
                "answer": listed[0]["id"] if stands else None,
                "confidence": shown(confidence),
                "documents": listed,
            }
            if not stands:
                answer["reason"] = unsure(confidence, floor) if whole[at] else BROKEN
            answers.append(answer)
        return answers

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        text = self.target.text
        said = None if answer["answer"] is None else text((answer["answer"],))
        return Brief(said, text((answer["documents"][0]["id"],)), float(answer["confidence"]))

    def likelihood(self, answer: Mapping[str, Any], target: Sequence[str]) -> float:
        """Of a row with documents what their scores add up to; of one without, that it is none."""
        if not target:
            return 1.0 - float(answer["confidence"])
        listed = {entry["id"]: float(entry["score"]) for entry in answer["documents"]}
        left = max(1.0 - sum(listed.values()), 0.0) * _UNLISTED
        return min(sum(listed.get(name, left) for name in target), 1.0)

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        entry = object_of({"id": TEXT, "score": SHARE, "text": TEXT}, ("text",))
        properties = {
            "answer": or_null(TEXT),
            "confidence": SHARE,
            "documents": list_of(entry),
            "reason": TEXT,
        }
        return object_of(properties, ("reason",))

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            f"- recall_at_5 >= {proven:.2f}",
            "# - recall_at_1 >= 0.60",
            "# - mrr >= 0.70",
            '# - automation_rate[precision >= 0.95] >= 0.5   # the rest hears "I don\'t know"',
        ]


def listed(criteria: Sequence[Criterion]) -> int:
    """Documents that an answer lists: as many as a criterion looks at, ten at least."""
    ranks = [int(found[1]) for c in criteria if (found := _AT.search(c.metric))]
    return min(max([_SHOWN, *ranks]), _MOST_SHOWN)


def shown_by(decision: Mapping[str, Any], documents: int) -> int:
    """Documents that an answer lists, by the decision rule.

    Args:
        decision: From `Retrieval.settle`.
        documents: That there are.
    """
    return min(int(decision.get("shown", _SHOWN)), documents)


def _first(scores: NDArray[np.float64], count: int) -> list[NDArray[np.intp]]:
    """Of each row the places of its highest scores, the best first; of equals the first."""
    found: list[NDArray[np.intp]] = []
    for row in scores:
        if count < len(row):
            # Everything that is as high as the last one taken, so that of equals the first is kept.
            floor = row[np.argpartition(-row, count - 1)[count - 1]]
            places = np.flatnonzero(row >= floor)
        else:
            places = np.arange(len(row))
        found.append(places[np.argsort(-row[places], kind="stable")][:count])
    return found
