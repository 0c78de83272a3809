"""Trim the vocabulary: keep the rows of the word table that the user's texts use.

Special tokens, single characters and bytes stay, so any text can still be split, if into more and
smaller pieces. A text whose pieces were all kept is answered as before, to the bit.
Abdaoui et al. 2020, https://arxiv.org/abs/2010.05609; Ushio et al. 2023,
https://arxiv.org/abs/2305.15020
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sartor.core.durable import write_durably
from sartor.core.errors import NothingToShrink
from sartor.core.texts import flat
from sartor.shrink.api import COMPRESSORS, GRAPH, TOKENIZER, Bench, Eased, Form, Place
from sartor.shrink.graphs import read_graph, write_graph
from sartor.shrink.lookups import Lookups, find_lookups, keep_rows, rows_of
from sartor.shrink.vocabulary import (
    Pieces,
    characters,
    read_pieces,
    trim,
    with_parts,
)

_AT_ONCE = 1_024
"""Texts split at a time: a tokenizer's answers take a hundred bytes a token."""


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class TrimVocabulary:
    """Leaves out tokens that the training texts do not use, and renumbers the others."""

    eases: ClassVar[tuple[Eased, ...]] = ("size",)
    trains: ClassVar[bool] = False
    place: ClassVar[Place] = "tokens"

    min_count: Annotated[int, Ge(1)] = 1
    """Times that a token must occur in the training texts to stay."""
    spare: Annotated[float, Ge(0), Le(1)] = 0.25
    """Share that stays of the tokens that do not occur there but are spelt with the same
    characters; those that come first in the vocabulary, the commonest, stay first."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        model = read_graph(source.graph)
        found = find_lookups(model)
        document: dict[str, Any] = json.loads(source.tokenizer.read_text(encoding="utf-8"))
        pieces = read_pieces(document)
        if rows_of(model, found) < pieces.size:
            raise NothingToShrink(
                f"trim_vocabulary found a table of {rows_of(model, found)} rows for"
                f" {pieces.size} tokens: token ids are no row numbers in this graph.",
                fix="choose another compressor for this architecture.",
            )
        kept = self._kept(document, pieces, _counts(source.tokenizer, pieces.size, bench))
        if len(kept) == rows_of(model, found):
            raise NothingToShrink(
                f"trim_vocabulary: the texts use all {len(kept):,} tokens of the vocabulary.",
                fix="set a smaller spare or a larger min_count, or leave it out.",
            )
        _refuse_moved(found, kept)
        keep_rows(model, found, kept)
        trimmed = json.dumps(trim(document, kept), ensure_ascii=False)
        _refuse_misread(trimmed, document, kept)
        write_durably(target / TOKENIZER, trimmed.encode())
        write_graph(model, target / GRAPH)

    def _kept(
        self, document: dict[str, Any], pieces: Pieces, counts: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Increasing ids of the tokens that stay; always 0, which pads where no token does."""
        used = {int(i) for i in np.flatnonzero(counts >= self.min_count)}
        like = characters(pieces, used - pieces.added, document["model"]) - used - pieces.alphabet
        spare = sorted(like)[: round(self.spare * len(like))]
        chosen = {0, *used, *spare} | pieces.added | pieces.alphabet
        return np.array(sorted(with_parts(document, chosen)), np.int64)


def _counts(tokenizer: Path, size: int, bench: Bench) -> NDArray[np.int64]:
    """(size,) times that each token occurs in the training texts."""
    texts = [bench.prefix + text for text in flat(bench.train.texts)]
    if not texts:
        raise NothingToShrink(
            "trim_vocabulary has no training texts to count tokens in.",
            fix="give it texts of the kind that the model will answer.",
        )
    splits = Tokenizer.from_file(str(tokenizer))
    splits.no_padding()
    splits.no_truncation()
    counts = np.zeros(size, np.int64)
    for start in range(0, len(texts), _AT_ONCE):
        for found in splits.encode_batch_fast(texts[start : start + _AT_ONCE]):
            np.add.at(counts, found.ids, 1)
    return counts


def _refuse_moved(found: Lookups, kept: NDArray[np.int64]) -> None:
    """Refuse where the graph compares ids with one that goes, or cannot be given its new number."""
    there = {int(old): new for new, old in enumerate(kept)}
    for number in sorted(found.compared):
        if number not in there or (number in found.pinned and there[number] != number):
            raise NothingToShrink(
                f"trim_vocabulary: the graph asks for token {number} by its number, which would"
                " change.",
                fix="choose another compressor for this architecture.",
            )


def _refuse_misread(trimmed: str, document: dict[str, Any], kept: NDArray[np.int64]) -> None:
    """Refuse a tokenizer whose numbers are not the rows: an odd vocabulary, with holes."""
    read = Tokenizer.from_str(trimmed)
    ids = read_pieces(document).ids
    new = {int(old): number for number, old in enumerate(kept)}
    if any(read.token_to_id(piece) != new[i] for piece, i in ids.items() if i in new):
        raise NothingToShrink(
            "trim_vocabulary: the tokenizer numbers its added tokens in a way of its own.",
            fix="choose another compressor for this tokenizer.",
        )
