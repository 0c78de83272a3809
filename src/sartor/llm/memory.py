"""Answers by content: a question that was answered is never put again.

One small file an answer, written whole: a run that is killed goes on behind the last answer it got,
and ends with the same bytes whatever the model would say today.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.durable import write_durably

_MOST_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Memory:
    """A folder of answers; several processes may share it."""

    folder: Path

    def recall(self, address: str) -> tuple[str | None] | None:
        """(label,) of an answered question, with None for one that got no usable answer; None
        where it was not asked yet."""
        place = self._place(address)
        try:
            if place.stat().st_size > _MOST_BYTES:
                return None
            found: Any = json.loads(place.read_bytes())
            label: Any = found["label"]
        except (FileNotFoundError, ValueError, RecursionError, LookupError, TypeError):
            # A damaged answer is asked for again.
            return None
        return (label,) if label is None or isinstance(label, str) else None

    def keep(self, address: str, label: str | None) -> None:
        """Remember what a question was answered with."""
        place = self._place(address)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_durably(place, json.dumps({"label": label}).encode("ascii"))

    def _place(self, address: str) -> Path:
        return self.folder / address[:2] / f"{address}.json"
