"""Parquet, sized from its footer before any row is read."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from sartor.core.errors import DataError
from sartor.data.api import READERS, Limits
from sartor.data.encoding import size_of
from sartor.data.table import plain


@READERS.add
@dataclass(frozen=True, slots=True)
class Parquet:
    """Reads one parquet file; categories become text, lists and structs their JSON."""

    suffixes: tuple[str, ...] = (".parquet", ".pq")

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() in self.suffixes

    def read(self, path: Path, *, limits: Limits) -> pl.DataFrame:
        size_of(path, limits)
        try:
            with pq.ParquetFile(path) as file:
                footer = file.metadata
                unpacked = sum(
                    footer.row_group(i).total_byte_size for i in range(footer.num_row_groups)
                )
            if footer.num_rows > limits.rows or unpacked > limits.unpacked_bytes:
                raise DataError(
                    f"{path}: {footer.num_rows:,} rows, {unpacked:,} bytes unpacked; the limits are"
                    f" {limits.rows:,} rows and {limits.unpacked_bytes:,} bytes.",
                    fix="write a sample of the rows, or fewer columns.",
                )
            frame = pl.read_parquet(path)
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{path} is not a whole parquet file: {reason}", fix="write or download it again."
            ) from error
        if not len(frame):
            raise DataError(f"{path} has no rows.", fix="export it again with its rows.")
        return plain(frame)
