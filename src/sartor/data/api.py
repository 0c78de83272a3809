"""What a reader is: it turns one file, folder or hub id into a frame of the user's columns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from sartor.core.registry import Registry


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before it can fill the memory."""

    file_bytes: int = 2 << 30
    """Largest file; for a folder of texts, the sum of its files."""
    unpacked_bytes: int = 4 << 30
    """Largest size after decompression (parquet, xlsx): a zip bomb is small on disk."""
    rows: int = 5_000_000
    """Most rows of one source."""
    line_bytes: int = 4 << 20
    """Longest line of a csv or jsonl file. A longer one is a file without line ends."""
    cell_characters: int = 1_000_000
    """Longest cell. A model reads a few thousand characters of it."""
    columns: int = 10_000
    """Most columns of one source."""


class Reader(Protocol):
    """One format."""

    suffixes: tuple[str, ...]
    """Endings of the files it reads, with the dot, lower case; empty for folders and ids."""

    def claims(self, path: Path) -> bool:
        """Whether this reader takes the source; may look into a folder, never into a file."""
        ...

    def read(self, path: Path, *, limits: Limits) -> pl.DataFrame:
        """The user's columns, one row an example.

        A reader that knows better than "the n-th row of this file" also returns `__file__`
        (relative to `path`), `__row__` or `__split__` (official "train", "validation", "test").

        Raises:
            DataError: With file and row, if the source cannot be used.
        """
        ...


READERS: Registry[Reader] = Registry(
    "reader", package="sartor.data.readers", group="sartor.readers"
)
