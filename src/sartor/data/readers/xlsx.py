"""The first sheet of an Excel workbook; its first row is the header, every cell its shown text."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sartor.core.errors import DataError
from sartor.data.api import READERS, Limits
from sartor.data.encoding import size_of
from sartor.data.table import ROW

_PIECE = 1 << 20


@READERS.add
@dataclass(frozen=True, slots=True)
class Xlsx:
    """Reads .xlsx through calamine, after measuring what the archive unpacks to."""

    suffixes: tuple[str, ...] = (".xlsx", ".xlsm")

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() in self.suffixes

    def read(self, path: Path, *, limits: Limits) -> pl.DataFrame:
        size_of(path, limits)
        _measure(path, limits)
        # Excel itself stores at most 2**20 rows; fastexcel costs 0.1 s to import.
        import fastexcel

        try:
            sheet = fastexcel.read_excel(path).load_sheet(0, dtypes="string")
            frame = sheet.to_polars()
        except fastexcel.FastExcelError as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{path} is not a workbook that can be read: {reason}.",
                fix="open it in Excel and save it as .xlsx or csv.",
            ) from error
        if frame.width:
            numbers = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW)
            blank = pl.all_horizontal(pl.exclude(ROW).is_null())
            frame = frame.with_columns(numbers).filter(~blank)
        if not len(frame):
            raise DataError(
                f"{path}: the first sheet has no rows.",
                fix="put the table on the first sheet, its header in the first row.",
            )
        if len(frame) > limits.rows or frame.width > limits.columns:
            raise DataError(
                f"{path}: {len(frame):,} rows × {frame.width:,} columns; the limits are"
                f" {limits.rows:,} and {limits.columns:,}.",
                fix="keep the rows and columns you need.",
            )
        return frame


def _measure(path: Path, limits: Limits) -> None:
    """Unpack once into nothing: sizes that the archive declares may lie."""
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    while piece := file.read(_PIECE):
                        total += len(piece)
                        if total > limits.unpacked_bytes:
                            raise DataError(
                                f"{path} unpacks to more than {limits.unpacked_bytes:,} bytes.",
                                fix="export the sheet as csv; do not open files you do not trust.",
                            )
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{path} is not a whole .xlsx file: {error}.", fix="save it again as .xlsx or csv."
        ) from error
