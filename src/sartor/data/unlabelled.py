"""Texts without labels, to learn from: none of them may be one that will be judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sartor.data.near import near_clusters, near_form
from sartor.data.normalise import MISSING_TEXT, normalise_text
from sartor.data.read import read
from sartor.data.table import Source, Table, texts_of

MOST_TEXTS = 200_000
"""Texts kept; of more, a sample is drawn."""


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Texts that may be learnt from.

    Args:
        texts: Normalised, each once.
        dropped: Reason to number of rows that are not among them.
        sources: Files with their hashes.
    """

    texts: tuple[str, ...]
    dropped: dict[str, int]
    sources: tuple[Source, ...]


def read_unlabelled(
    sources: Sequence[str],
    root: Path,
    *,
    column: str | Sequence[str],
    held: Sequence[str],
    seed: int,
) -> Unlabelled:
    """Read texts, without those that nearly repeat a row that is held out.

    Args:
        sources: Files, folders or hub ids, as under `data.train`.
        root: Folder their paths are relative to.
        column: Where the text is; of several columns, those that a source has.
        held: Texts of the test and validation rows.
        seed: Draws the sample where there are too many.

    Raises:
        DataError: If a source cannot be read or lacks the column.
    """
    table, there = _read(sources, root, column)
    found = [
        normalise_text(text or "")[0] for name in there for text in texts_of(table.frame[name])
    ]
    kept = [text for text in found if text and text.casefold() not in MISSING_TEXT]
    dropped = {"empty": len(found) - len(kept)}
    distinct = list({near_form(text): text for text in reversed(kept)}.values())[::-1]
    dropped["duplicates"] = len(kept) - len(distinct)
    if len(distinct) > MOST_TEXTS:
        order = np.random.default_rng(seed).permutation(len(distinct))[:MOST_TEXTS]
        dropped["beyond the largest number"] = len(distinct) - MOST_TEXTS
        distinct = [distinct[i] for i in sorted(order.tolist())]
    # A cluster is named by its first text: below the number of held-out rows, it holds one of them.
    clusters = near_clusters([*held, *distinct])[len(held) :]
    free = [t for t, first in zip(distinct, clusters.tolist(), strict=True) if first >= len(held)]
    dropped["near a test or validation row"] = len(distinct) - len(free)
    return Unlabelled(tuple(free), {k: n for k, n in dropped.items() if n}, table.sources)


def sources_of_unlabelled(
    sources: Sequence[str], root: Path, *, column: str | Sequence[str]
) -> tuple[Source, ...]:
    """The files with their hashes, read as `read_unlabelled` reads them, and nothing compared.

    Raises:
        DataError: If a source cannot be read or lacks the column.
    """
    return _read(sources, root, column)[0].sources


def _read(
    sources: Sequence[str], root: Path, column: str | Sequence[str]
) -> tuple[Table, list[str]]:
    """The rows, and which columns hold texts."""
    table = read(sources, root)
    columns = [column] if isinstance(column, str) else list(column)
    there = [name for name in columns if name in table.columns] or columns[:1]
    table.require(*there)
    return table, there
