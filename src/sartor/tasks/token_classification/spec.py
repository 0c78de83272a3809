"""Token classification: a text in, its labelled parts out, as places of characters.

Decision rule, fitted on validation rows towards the criteria (see `settling`):
    p_t      = softmax((z_t + outside · [O]) / temperature)    a tag for each piece (`core.pieces`)
    entities = those of the likeliest sequence of tags that is an answer (`tagging`)

Probabilities are those of the sequences that are answers: of an entity, and of all of them at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.errors import DataError
from sartor.core.likelihood import NO_PIECE, Truth
from sartor.core.near import near_miss
from sartor.core.pieces import pieces
from sartor.core.protocols import Floats
from sartor.core.ragged import widened
from sartor.core.spans import Span
from sartor.core.texts import Text, parts_of
from sartor.core.types import Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief
from sartor.tasks._decision.logits import BROKEN, refuse_broken, shown, whole_rows
from sartor.tasks._decision.margins import counted
from sartor.tasks._target.schema import PLACE, SHARE, TEXT, list_of, object_of, or_null
from sartor.tasks._target.spans import Spans
from sartor.tasks.token_classification.settling import settled
from sartor.tasks.token_classification.tagging import (
    OUTSIDE,
    Sums,
    best_tags,
    entities,
    labels_of,
    log_shares,
    read_columns,
    tagged,
    tags_of,
)

_ROWS = 256
"""Rows decoded at a time: bounds the memory of long texts."""
_TINY = 1e-12


@TASKS.add
@dataclass(frozen=True, slots=True)
class TokenClassification:
    """A text in, any number of its parts out, each with one of a fixed set of labels."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={"text": "text"}, targets={"label": "spans"})

    @property
    def target(self) -> Spans:
        return Spans()

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """O, and two tags for each declared label in their order, else for those that occur.

        Raises:
            DataError: If no row has a labelled part.
        """
        found = sorted({span.label for spans in examples.target for span in spans})
        if not found:
            raise DataError(
                "No training row has a labelled part.",
                fix="check data.label, or add rows with labelled parts.",
            )
        return tags_of(list(declared) if declared else found)

    def labels(self, outputs: Sequence[str]) -> list[str]:
        return labels_of(outputs)

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """(rows, most pieces) tags as places among the outputs, `NO_PIECE` behind a row's last.

        Raises:
            DataError: If a label is not among the outputs.
        """
        index = {name: i for i, name in enumerate(outputs)}
        wanted = tags_of(sorted({span.label for spans in examples.target for span in spans}))
        if absent := next((tag for tag in wanted if tag not in index), None):
            label = absent.partition("-")[2]
            raise DataError(
                f"label {label!r} (its tag {absent!r}) is not among the outputs.",
                fix=near_miss(label, labels_of(outputs)),
            )
        rows = [
            tagged(_one(text), spans, index)
            for text, spans in zip(examples.texts, examples.target, strict=True)
        ]
        found = np.full((len(rows), max(map(len, rows), default=0)), NO_PIECE, np.int64)
        for row, tags in enumerate(rows):
            found[row, : len(tags)] = tags
        return found

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """Fit the temperature, then how readily a piece is taken to be outside.

        Args:
            logits: (examples, pieces, outputs).
            examples: Validation rows with their labelled parts.
            outputs: Tags, in the order of the logits.
            criteria: Those about precision, recall and F1 of entities move the second.
            test_rows: Rows that the criteria will be proven on; 0 for as many as these.

        Raises:
            Diverged: If a logit is not a finite number.
            DataError: If a row has a label that `outputs` lacks.
        """
        refuse_broken(logits)
        truth = self.truth(examples, outputs)
        wide, count = widened(logits, truth.shape[1]), counted(len(truth), test_rows)
        rule = settled(wide, truth, labels_of(outputs), criteria, count)
        return {"temperature": rule.temperature, "outside": rule.outside}

    def decode(
        self,
        logits: Floats,
        outputs: Sequence[str],
        decision: Mapping[str, Any],
        texts: Sequence[Text] = (),
    ) -> list[dict[str, Any]]:
        """Logits to answers.

        Returns:
            One mapping a row: `entities` (or None), each with start, end, label, text and
            confidence; the `confidence` that they are all right and there are no others; and
            `reason` where `entities` is None. A row whose logits are not all finite numbers is
            never answered: it keeps the other rows of its batch from failing with it.
        """
        labels = labels_of(outputs)
        temperature, outside = (
            float(decision.get(name, default))
            for name, default in (("temperature", 1.0), ("outside", 0.0))
        )
        found: list[dict[str, Any]] = []
        for start in range(0, len(texts), _ROWS):
            part, some = logits[start : start + _ROWS], texts[start : start + _ROWS]
            whole = whole_rows(part)
            part = np.where(whole[:, None, None], part, 0.0)
            read = read_columns(part)
            shares = log_shares(part[:, read], temperature, outside)
            tags, sums = best_tags(shares), Sums.of(shares)
            sure = sums.of_tags(tags)
            for row, text in enumerate(some):
                if not whole[row]:
                    found.append({"entities": None, "confidence": 0.0, "reason": BROKEN})
                    continue
                places = pieces(_one(text))
                named = [
                    _entity(
                        _one(text),
                        (places[read[first]][0], places[read[end - 1]][1]),
                        labels[label],
                    )
                    | {"confidence": shown(sums.of_entity(row, first, end, label))}
                    for first, end, label in entities(tags[row].tolist())
                ]
                found.append({"entities": named, "confidence": shown(float(sure[row]))})
        return found

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        """All labelled parts of a text as one answer."""
        given = answer["entities"]
        text = self.target.text(_spans(given or ()))
        return Brief(None if given is None else text, text, float(answer["confidence"]))

    def likelihood(self, answer: Mapping[str, Any], target: Sequence[Span]) -> float:
        """The geometric mean of what the answer gives to the truth about each part in question.

        In question is what the answer names or the truth holds, or else that there is nothing. A
        part that the answer names and the truth does not has what the answer left it to be wrong;
        one that it passed over, what it left all other answers.
        """
        confidence = float(answer["confidence"])
        named = {
            (each["start"], each["end"], each["label"]): float(each["confidence"])
            for each in answer["entities"] or ()
        }
        true = {tuple(span) for span in target}
        right = [p if place in true else 1 - p for place, p in named.items()]
        right += [1 - confidence] * len(true - set(named))
        right = right or [confidence]
        return float(np.exp(np.log(np.maximum(right, _TINY)).mean()))

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        entity = {
            "start": PLACE,
            "end": PLACE,
            "label": {"enum": labels_of(outputs)},
            "text": TEXT,
            "confidence": SHARE,
        }
        properties = {
            "entities": or_null(list_of(object_of(entity))),
            "confidence": SHARE,
            "reason": TEXT,
        }
        return object_of(properties, ("reason",))

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            f"- f1_micro >= {proven:.2f}",
            f"# - recall[label={label}] >= 0.75",
            "# - f1_macro >= 0.60                    # every label counts the same",
            "# - f1_partial >= 0.85                  # edges may be off",
            "# - exact_match >= 0.50                 # all parts of a text are right",
        ]


def _one(text: Text) -> str:
    (one,) = parts_of(text)
    return one


def _entity(text: str, place: tuple[int, int], label: str) -> dict[str, Any]:
    start, end = place
    return {"start": start, "end": end, "label": label, "text": text[start:end]}


def _spans(given: Sequence[Mapping[str, Any]]) -> list[Span]:
    return [Span(each["start"], each["end"], each["label"]) for each in given]


__all__ = ["OUTSIDE", "TokenClassification"]
