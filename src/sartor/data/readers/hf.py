"""A `datasets` folder (save_to_disk) or a hub id: `hub:imdb`, `hub:nyu-mll/glue#sst2`.

Arrow and parquet only: `datasets` runs no scripts, and we never ask it to.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from sartor.core.errors import DataError
from sartor.data.api import READERS, Limits
from sartor.data.table import ROW, SPLIT, as_frame, stack

if TYPE_CHECKING:
    from datasets import Dataset

PREFIX = "hub:"
_MARKS = ("dataset_dict.json", "state.json")
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_OFFICIAL = {"train": "train", "validation": "validation", "dev": "validation", "test": "test"}


@READERS.add
@dataclass(frozen=True, slots=True)
class Hf:
    """Keeps the official train, validation and test splits; class numbers become their names,
    alone and in lists."""

    suffixes: tuple[str, ...] = ()

    def claims(self, path: Path) -> bool:
        return str(path).startswith(PREFIX) or any((path / mark).is_file() for mark in _MARKS)

    def read(self, path: Path, *, limits: Limits) -> pl.DataFrame:
        splits = _load(path)
        kept = {name: _OFFICIAL.get(name) for name in splits if name == "" or name in _OFFICIAL}
        rows = sum(len(splits[name]) for name in kept)
        if not rows:
            raise DataError(
                f"{path}: no rows under train, validation or test (it has {', '.join(splits)}).",
                fix="save the dataset with one of those splits.",
            )
        if rows > limits.rows:
            raise DataError(
                f"{path}: {rows:,} rows; the limit is {limits.rows:,}.", fix="pass a sample."
            )
        return stack(_frame(splits[name], official) for name, official in kept.items())


def _load(path: Path) -> dict[str, "Dataset"]:
    # `datasets` costs over a second to import, and only this reader needs it.
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        if str(path).startswith(PREFIX):
            name, config = _hub_id(path)
            found = datasets.load_dataset(name, config)
        else:
            found = datasets.load_from_disk(str(path))
    except (DatasetsError, OSError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} cannot be loaded: {reason}",
            fix="check the name and the network (HF_ENDPOINT names a mirror), or pass a folder that"
            " `save_to_disk` wrote.",
        ) from error
    return {"": found} if isinstance(found, datasets.Dataset) else dict(found)  # type: ignore[arg-type,return-value]


def _hub_id(path: Path) -> tuple[str, str | None]:
    name, _, config = str(path).removeprefix(PREFIX).partition("#")
    # `datasets` would take a path here for a local folder of files in any format.
    if not _ID.fullmatch(name):
        raise DataError(
            f"{name!r} is no dataset id.", fix="write hub:NAME, hub:OWNER/NAME or hub:NAME#CONFIG."
        )
    return name, config or None


def _frame(split: "Dataset", official: str | None) -> pl.DataFrame:
    frame = as_frame(split)
    for column, feature in split.features.items():
        # Of a list, such as the tags of words, `feature` is what its members are.
        listed = getattr(feature, "feature", None)
        if classes := getattr(feature, "names", None):
            values = [_named(number, classes) for number in frame[column]]
        elif classes := getattr(listed, "names", None):
            values = [_all_named(cell, classes) for cell in frame[column]]
        else:
            continue
        frame = frame.with_columns(pl.Series(column, values, dtype=pl.String))
    return frame.with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW),
        pl.lit(official, dtype=pl.String).alias(SPLIT),
    )


def _named(number: int | None, classes: Sequence[str]) -> str | None:
    """The name of a class; -1 is how `datasets` writes "no label"."""
    return classes[number] if number is not None and 0 <= number < len(classes) else None


def _all_named(cell: str | None, classes: Sequence[str]) -> str | None:
    """A list of class numbers as one of names; missing where one is, since places count."""
    if cell is None:
        return None
    names = [_named(number, classes) for number in json.loads(cell)]
    return None if None in names else json.dumps(names, ensure_ascii=False)
