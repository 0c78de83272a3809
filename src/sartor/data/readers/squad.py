"""Questions about paragraphs, as SQuAD and CMRC 2018 publish them, versions 1 and 2.

    {"data": [{"title": "…", "paragraphs": [{"context": "…", "qas": [
        {"id": "…", "question": "…", "answers": [{"text": "…", "answer_start": 31}]}]}]}]}

A row is a question with its paragraph. One that is marked impossible has no answer, whatever was
offered as plausible; one without the key `answers` is not labelled. A row's number is that of the
question in the file.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

from sartor.core.errors import DataError
from sartor.data.api import READERS, Limits
from sartor.data.encoding import encoding_of
from sartor.data.table import of_records

_FIX = 'write {"data": [{"paragraphs": [{"context": "…", "qas": […]}]}]}, or one object a line.'
_Json = Mapping[str, Any]


@READERS.add
@dataclass(frozen=True, slots=True)
class Squad:
    """Reads a SQuAD file into the columns question, context, answers, id and title."""

    suffixes: tuple[str, ...] = (".json",)

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() in self.suffixes

    def read(self, path: Path, *, limits: Limits) -> pl.DataFrame:
        # As one line it may be as long as the file may be.
        whole = Limits(file_bytes=limits.file_bytes, line_bytes=limits.file_bytes)
        encoding = encoding_of(path, whole)
        try:
            found = json.loads(path.read_text(encoding=encoding))
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {error.lineno:,}, column {error.colno}: not JSON ({error.msg}).",
                fix="export it again; a file with one object a line ends in .jsonl.",
            ) from error
        except (RecursionError, ValueError) as error:
            raise DataError(f"{path} is nested too deep to read.", fix=_FIX) from error
        records: list[dict[str, Any]] = []
        for record in _rows(path, found):
            records.append(record)
            if len(records) > limits.rows:
                raise DataError(
                    f"{path} has more than {limits.rows:,} questions.", fix="pass a sample of them."
                )
        if not records:
            raise DataError(f"{path} holds no questions.", fix=_FIX)
        return of_records(records)


def _rows(path: Path, found: Any) -> Iterator[dict[str, Any]]:
    number = 0
    for at, article in enumerate(_list(path, found, "data", "the file"), 1):
        paragraphs = _list(path, article, "paragraphs", f"article {at}")
        for place, paragraph in enumerate(paragraphs, 1):
            where = f"article {at}, paragraph {place}"
            context = _text(path, paragraph, "context", where)
            for asked in _list(path, paragraph, "qas", where):
                number += 1
                here = f"{where}, question {number:,}"
                yield {
                    "question": _text(path, asked, "question", here),
                    "context": context,
                    "answers": _answers(path, asked, here),
                    "id": asked.get("id"),
                    "title": cast("_Json", article).get("title"),
                }


def _answers(path: Path, asked: _Json, where: str) -> str | None:
    """The cell of the answers; None where there is no label."""
    if asked.get("is_impossible"):
        return "[]"
    if "answers" not in asked:
        return None
    listed: list[Any] = []
    for each in _list(path, asked, "answers", where):
        if not isinstance(each, Mapping):
            raise DataError(f"{path}, {where}: {str(each)[:60]!r} is no answer.", fix=_FIX)
        given = cast("_Json", each)
        listed.append({"text": given.get("text"), "answer_start": given.get("answer_start")})
    return json.dumps(listed, ensure_ascii=False)


def _list(path: Path, found: Any, key: str, where: str) -> list[Any]:
    value = cast("_Json", found).get(key) if isinstance(found, Mapping) else None
    if not isinstance(value, list):
        raise DataError(f"{path}, {where}: there is no list under {key!r}.", fix=_FIX)
    return cast("list[Any]", value)


def _text(path: Path, found: Any, key: str, where: str) -> str:
    value = cast("_Json", found).get(key) if isinstance(found, Mapping) else None
    if not isinstance(value, str):
        raise DataError(f"{path}, {where}: there is no text under {key!r}.", fix=_FIX)
    return value
