"""What cleaning and splitting did to a row, and why; nothing is dropped without a line here."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from sartor.core.errors import DataError

Action = Literal["dropped", "changed"]
_EXCERPT = 80


@dataclass(frozen=True, slots=True)
class Change:
    """One row that is not as the user gave it.

    Args:
        file: As in `__file__`.
        row: As in `__row__`.
        action: "dropped" or "changed".
        reason: A few words, the same for all rows of a kind, e.g. "duplicate".
        detail: What exactly, e.g. the row it duplicates.
        text: The first characters of the text.
    """

    file: str
    row: int
    action: Action
    reason: str
    detail: str = ""
    text: str = ""


def excerpt(text: str | None) -> str:
    """The first characters of a text, on one line."""
    flat = " ".join((text or "").split())
    return flat if len(flat) <= _EXCERPT else flat[: _EXCERPT - 1] + "…"


def _inert(cell: object) -> object:
    """A text that a spreadsheet would run as a formula, made plain text."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") else cell


def summary(changes: Iterable[Change]) -> dict[str, int]:
    """Rows by reason, most frequent first."""
    return dict(Counter(change.reason for change in changes).most_common())


def write_changes(changes: Sequence[Change], path: Path) -> None:
    """Write changes as json lines or csv, by the path's ending.

    Raises:
        DataError: If the ending is neither .jsonl nor .csv.
    """
    if path.suffix == ".jsonl":
        lines = (json.dumps(asdict(change), ensure_ascii=False) for change in changes)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            rows = csv.DictWriter(file, [field.name for field in fields(Change)])
            rows.writeheader()
            rows.writerows({k: _inert(v) for k, v in asdict(c).items()} for c in changes)
    else:
        raise DataError(
            f"Changes cannot be written as {path.suffix!r} ({path}).", fix="use .jsonl or .csv."
        )
