"""A folder of text files, one folder a class; aclImdb's train/{neg,pos}, test/{neg,pos} too."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sartor.core.errors import DataError
from sartor.data.api import READERS, Limits
from sartor.data.encoding import encoding_of
from sartor.data.table import FILE, ROW, SPLIT

_OFFICIAL = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
# aclImdb's unlabelled reviews.
_UNLABELLED = {"unsup"}


@READERS.add
@dataclass(frozen=True, slots=True)
class Folders:
    """Gives columns `text` and `label`; a file is a row, its folder the label."""

    suffixes: tuple[str, ...] = ()

    def claims(self, path: Path) -> bool:
        marks = ("dataset_dict.json", "state.json")
        return path.is_dir() and not any((path / mark).is_file() for mark in marks)

    def read(self, path: Path, *, limits: Limits) -> pl.DataFrame:
        rows: dict[str, list[str | int | None]] = {
            name: [] for name in ("text", "label", FILE, ROW, SPLIT)
        }
        total = 0
        for file, label, official in _files(path):
            total += file.stat().st_size
            if total > limits.file_bytes or len(rows[ROW]) >= limits.rows:
                raise DataError(
                    f"{path}: more than {limits.file_bytes:,} bytes or {limits.rows:,} files.",
                    fix="pass a folder with a sample of the files.",
                )
            # An empty file is an empty row: cleaning drops it and says so.
            size = file.stat().st_size
            text = file.read_text(encoding=encoding_of(file, limits)) if size else ""
            if len(text) > limits.cell_characters:
                raise DataError(
                    f"{file} has {len(text):,} characters; the limit is"
                    f" {limits.cell_characters:,}.",
                    fix="shorten it; a model reads a few thousand characters.",
                )
            values = (text, label, file.relative_to(path).as_posix(), 1, official)
            for column, value in zip(rows.values(), values, strict=True):
                column.append(value)
        if not rows[ROW]:
            raise DataError(
                f"{path} holds no text files one folder a class.",
                fix="lay them out as LABEL/NAME.txt or train/LABEL/NAME.txt inside it.",
            )
        kinds = {ROW: pl.Int64}
        return pl.DataFrame(
            [pl.Series(n, v, dtype=kinds.get(n, pl.String)) for n, v in rows.items()]
        )


def _files(root: Path) -> Iterator[tuple[Path, str, str | None]]:
    """Text files with their class and official split, in a stable order."""
    official = {p: _OFFICIAL[p.name] for p in _folders(root) if p.name in _OFFICIAL and _folders(p)}
    tops: list[tuple[Path, str | None]] = list(official.items()) or [(root, None)]
    for top, split in tops:
        for folder in _folders(top):
            if folder.name in _UNLABELLED:
                continue
            for file in sorted(folder.rglob("*.txt")):
                if file.is_file():
                    yield file, folder.name, split


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
