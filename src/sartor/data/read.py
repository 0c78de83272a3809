"""Sources to one table: choose the reader, stamp every row with where it came from."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import polars as pl

from sartor.core.errors import DataError
from sartor.core.hashing import file_sha256
from sartor.data.api import READERS, Limits, Reader
from sartor.data.table import (
    CELLS,
    FILE,
    MOMENT,
    OURS,
    ROW,
    SPLIT,
    SPLITS,
    Source,
    Table,
    as_frame,
    stack,
)

_HUB = "hub:"
_PIECE = 50_000


def read(
    sources: Sequence[str | object] | str,
    root: Path,
    *,
    split: str | None = None,
    limits: Limits | None = None,
) -> Table:
    """Read files, folders, hub ids and Python objects into one table, in the order given.

    Args:
        sources: Paths relative to `root`, `hub:` ids, or objects that `as_frame` takes.
        root: Folder of the need file.
        split: Official split of every row here ("train", "validation", "test"), or None to leave
            it to the source's own layout, if it has one.
        limits: What is refused for its size.

    Raises:
        DataError: With file and row, if a source cannot be used.
    """
    listed = [sources] if isinstance(sources, str) else list(sources)
    if not listed:
        raise DataError("No data source is given.", fix="name a file under data.train.")
    tables = [_one(source, root, limits or Limits()) for source in listed]
    frame = stack(table.frame for table in tables)
    if split is not None:
        frame = frame.with_columns(pl.lit(split).alias(SPLIT))
    return Table(frame, tuple(s for table in tables for s in table.sources))


def read_splits(
    sources: Mapping[str, Sequence[str | object]], root: Path, *, limits: Limits | None = None
) -> Table:
    """Read `data.train`, `data.validation` and `data.test` into one table.

    Rows of the training sources stay free to be split (unless their own layout is official);
    rows of the other two are fixed.

    Args:
        sources: "train", "validation", "test" to sources; absent or empty ones are skipped.
        root: Folder of the need file.
        limits: What is refused for its size.

    Raises:
        DataError: As `read`.
    """
    tables = [
        read(sources[name], root, split=None if name == "train" else name, limits=limits)
        for name in SPLITS
        if sources.get(name)
    ]
    if not tables:
        raise DataError("No data source is given.", fix="name a file under data.train.")
    return join(tables)


def join(tables: Sequence[Table]) -> Table:
    """One table under the other."""
    return Table(stack(t.frame for t in tables), tuple(s for t in tables for s in t.sources))


def _one(source: str | object, root: Path, limits: Limits) -> Table:
    if not isinstance(source, str | Path):
        frame = as_frame(source)
        name = type(source).__name__
        if not len(frame):
            raise DataError(f"The {name} has no rows.", fix="pass at least one row.")
        return _stamp(frame, name, _rows_sha256(frame))
    hub = str(source).startswith(_HUB)
    path = Path(source) if hub else root / source
    reader = _reader_for(path, str(source))
    frame = reader.read(path, limits=limits)
    # A hub id names what may change there: its rows are hashed.
    return _stamp(frame, str(source), _rows_sha256(frame) if hub else _path_sha256(path))


def _reader_for(path: Path, shown: str) -> Reader:
    readers = [READERS.get(name)() for name in READERS.names()]
    for reader in readers:
        if reader.claims(path):
            return reader
    if not path.exists():
        beside = sorted(p.name for p in path.parent.glob("*"))[:8] if path.parent.is_dir() else []
        near = f" Beside it lie {', '.join(beside)}." if beside else ""
        raise DataError(f"{shown}: no such file or folder.", fix=f"check the path.{near}")
    known = ", ".join(s for reader in readers for s in reader.suffixes)
    raise DataError(
        f"{shown}: no reader takes files ending in {path.suffix!r}.",
        fix=f"convert it to one of {known}, or a folder of texts; `hub:NAME` reads from the hub.",
    )


def _stamp(frame: pl.DataFrame, shown: str, sha: str) -> Table:
    kinds = {FILE: pl.String, ROW: pl.Int64, SPLIT: pl.String}
    for name in {*OURS, CELLS, MOMENT} & set(frame.columns):
        strange = set(frame[SPLIT].drop_nulls()) - set(SPLITS) if name == SPLIT else ()
        if frame.schema[name] != kinds.get(name) or strange:
            raise DataError(f"{shown}: column {name!r} is reserved.", fix="rename it.")
    if FILE not in frame.columns:
        frame = frame.with_columns(pl.lit(shown).alias(FILE))
    else:
        frame = frame.with_columns((pl.lit(f"{shown.rstrip('/')}/") + pl.col(FILE)).alias(FILE))
    if ROW not in frame.columns:
        frame = frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW))
    if SPLIT not in frame.columns:
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(SPLIT))
    user = [name for name in frame.columns if name not in OURS]
    return Table(frame.select(*user, *OURS), (Source(shown, sha, len(frame)),))


def _rows_sha256(frame: pl.DataFrame) -> str:
    sha = sha256()
    for piece in frame.iter_slices(_PIECE):
        sha.update(piece.write_csv().encode())
    return sha.hexdigest()


def _path_sha256(path: Path) -> str:
    if path.is_file():
        return file_sha256(path)
    sha = sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        sha.update(file.relative_to(path).as_posix().encode())
        sha.update(file_sha256(file).encode())
    return sha.hexdigest()
