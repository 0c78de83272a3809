"""Recommendation: the items of a catalogue that somebody is likely to choose next, the best first.

A row is a moment: what one user chose before it, in the order of time, and what they chose then.
The items are the outputs, as documents are those of retrieval, and so are the answers, the decision
rule and the ranks. What differs: what was chosen already is not recommended again, unless the rows
show that items come again, and a request may leave items out or ask for another number of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.histories import COUNT, HISTORY, mask_of
from sartor.core.protocols import Floats
from sartor.core.texts import Text, cells_of
from sartor.core.types import USER, Examples, Roles
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, Brief
from sartor.tasks.retrieval.spec import Retrieval

_OUT = -1e4
"""Logit of an item that is left out."""
_NOTHING = "every item was chosen before or is left out"


@TASKS.add
@dataclass(frozen=True, slots=True)
class Recommendation(Retrieval):
    """A history in, items of a catalogue out."""

    @property
    def roles(self) -> Roles:
        return Roles(inputs={USER: "group"}, targets={"label": "documents"})

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """As `Retrieval.settle`; `repeats` says whether rows chose what they had chosen before."""
        repeats = chosen_again(examples)
        open_to = _masked(logits, examples.texts, outputs, repeats)
        # Spelt out: with slots, `super()` would look in the class that the decorator replaced.
        rule = Retrieval.settle(self, open_to, examples, outputs, criteria, test_rows)
        return {**rule, "repeats": repeats}

    def decode(
        self,
        logits: Floats,
        outputs: Sequence[str],
        decision: Mapping[str, Any],
        texts: Sequence[Text] = (),
    ) -> list[dict[str, Any]]:
        """As `Retrieval.decode`, without what is left out; `texts` say what that is.

        Args:
            logits: (rows, items).
            outputs: Ids of the items.
            decision: From `settle`.
            texts: Histories, one a row; nothing is left out where there are none.
        """
        rows = [cells.values() for cells in cells_of(texts)]
        shown = int(decision.get("shown", 0)) or len(outputs)
        counts = [int(row.get(COUNT, shown)) for row in rows] or [shown] * len(logits)
        repeats = bool(decision.get("repeats", False))
        mask = mask_of(cells_of(texts), _places(outputs), repeats=repeats)
        open_to = _masked(logits, texts, outputs, repeats)
        asked = {**decision, "shown": max([shown, *counts])}
        answers = Retrieval.decode(self, open_to, outputs, asked, texts)
        if not len(mask):
            return answers
        return [
            _without(answer, {outputs[at] for at in np.flatnonzero(gone).tolist()}, count)
            for answer, gone, count in zip(answers, mask, counts, strict=True)
        ]

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        if not answer["documents"]:
            return Brief(None, self.target.text(()), 0.0)
        return Retrieval.brief(self, answer)

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        found = Retrieval.schema(self, outputs)
        notes = {"type": "array", "items": {"type": "string"}}
        return {**found, "properties": {**found["properties"], "notes": notes}}

    def starters(self, proven: float, label: str) -> list[str]:
        return [
            "- recall_at_10 >= 0.10",
            "# - recall_at_10 >= baseline + 0.02   # with `baseline: most_chosen` under data",
            "# - ndcg_at_10 >= 0.05",
            "# - coverage_at_10 >= 0.30",
            "# - recall_at_10[where: chosen_before == 0] >= 0.05   # items that nobody had chosen",
        ]


def chosen_again(examples: Examples) -> bool:
    """Whether a row chose what is in its own history."""
    histories = (set(cells.values().get(HISTORY) or ()) for cells in cells_of(examples.texts))
    rows = zip(histories, examples.target, strict=False)
    return any(not history.isdisjoint(names) for history, names in rows)


def _places(outputs: Sequence[str]) -> dict[str, int]:
    return {name: at for at, name in enumerate(outputs)}


def _masked(
    logits: Floats, texts: Sequence[Text], outputs: Sequence[str], repeats: bool
) -> NDArray[Any]:
    """Logits with those of left out items far below all others; what is no number stays."""
    mask = mask_of(cells_of(texts), _places(outputs), repeats=repeats)
    wide = np.asarray(logits)
    return np.where(mask & np.isfinite(wide), _OUT, wide) if len(mask) else wide


def _without(answer: dict[str, Any], gone: set[str], count: int) -> dict[str, Any]:
    """An answer that lists so many items and none that is left out."""
    kept = [entry for entry in answer["documents"] if entry["id"] not in gone][:count]
    found = {**answer, "documents": kept}
    if not kept:
        return {**found, "answer": None, "confidence": 0.0, "reason": _NOTHING}
    return found
