"""JSON lines: one object a line. A row's number is its line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sartor.core.errors import DataError
from sartor.data.api import READERS, Limits
from sartor.data.encoding import encoding_of
from sartor.data.table import ROW, of_records


@READERS.add
@dataclass(frozen=True, slots=True)
class Jsonl:
    """Reads `{"text": "…", "label": "…"}` line by line; a missing key is a missing value."""

    suffixes: tuple[str, ...] = (".jsonl", ".ndjson")

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() in self.suffixes

    def read(self, path: Path, *, limits: Limits) -> pl.DataFrame:
        records: list[dict[str, Any]] = []
        numbers: list[int] = []
        with path.open(encoding=encoding_of(path, limits), newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    records.append(_record(path, number, line, limits))
                    numbers.append(number)
                if len(records) > limits.rows:
                    raise DataError(
                        f"{path} has more than {limits.rows:,} rows.", fix="pass a sample of them."
                    )
        if not records:
            raise DataError(f"{path} holds no objects.", fix="write one JSON object a line.")
        return of_records(records).with_columns(pl.Series(ROW, numbers, dtype=pl.Int64))


def _record(path: Path, number: int, line: str, limits: Limits) -> dict[str, Any]:
    where = f"{path}, line {number:,}"
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}, column {error.colno}: not JSON ({error.msg}): {line.strip()[:60]!r}.",
            fix='write one whole object a line, e.g. {"text": "…", "label": "…"}.',
        ) from error
    except (RecursionError, ValueError) as error:
        raise DataError(
            f"{where}: the object is nested too deep or holds a number too long to read.",
            fix="write flat objects: a column name and a text, number or boolean.",
        ) from error
    if not isinstance(found, dict):
        raise DataError(
            f"{where}: {line.strip()[:60]!r} is not an object.",
            fix='write {"text": "…", "label": "…"} on every line.',
        )
    if len(found) > limits.columns:
        raise DataError(
            f"{where}: {len(found):,} keys in one object.", fix="drop what you do not need."
        )
    for name, value in found.items():
        if isinstance(value, str) and len(value) > limits.cell_characters:
            raise DataError(
                f"{where}: {name!r} has {len(value):,} characters; the limit is"
                f" {limits.cell_characters:,}.",
                fix="shorten it; a model reads a few thousand characters.",
            )
    return found
