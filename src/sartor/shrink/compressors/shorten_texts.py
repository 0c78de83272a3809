"""Shorten texts: fewer tokens are read of what is long, by the same graph.

What a transformer takes of a text is, but for attention, proportional to its tokens (Kaplan et al.
2020, https://arxiv.org/abs/2001.08361), and a high percentile of the latency is that of the longest
texts. Nothing is trained: how many tokens are enough is tried on validation rows.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sartor.core.durable import write_durably
from sartor.core.errors import NothingToShrink
from sartor.core.events import Note, StageProgress
from sartor.core.texts import Cells, parts_of
from sartor.shrink.api import COMPRESSORS, GRAPH, LENGTH, Bench, Compares, Eased, Form, Place
from sartor.shrink.graphs import read_graph

_OF_TOKENS, _OF_THE_SECOND = "input_ids", "other_ids"
_AT_ONCE = 1_024
_EIGHT = 8
"""Lengths are multiples of this: shapes that repeat."""
_ELSE = "leave texts as they are, or take a compressor that changes the graph."


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class ShortenTexts:
    """Cuts texts at the fewest tokens that lose next to nothing on the validation rows."""

    eases: ClassVar[tuple[Eased, ...]] = ("speed",)
    trains: ClassVar[bool] = False
    place: ClassVar[Place] = "texts"

    shares: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.75, 0.5, 0.375, 0.25)
    """Shares of what is read of a long text that are tried, from the largest down, until one loses
    more than it may."""
    long: Annotated[float, Gt(0), Le(1)] = 0.95
    """Quantile of the training texts' lengths that is a long text's."""
    loss: Annotated[float, Ge(0)] = 0.01
    """Accuracy that may be seen lost on the validation rows, or growth of the error."""
    least: Annotated[int, Ge(1)] = 16
    """Tokens that are read in any case."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        given = {each.name for each in read_graph(source.graph).graph.input}
        if _OF_TOKENS not in given:
            raise NothingToShrink(
                f"shorten_texts: {source.graph.name} reads no tokens of a text.", fix=_ELSE
            )
        if bench.whole:
            raise NothingToShrink(
                "shorten_texts would leave parts of a text without an answer, or unread where the"
                " need has all of it read.",
                fix=_ELSE,
            )
        if bench.compares is None:
            raise NothingToShrink(
                "shorten_texts has nothing to tell by what a shorter text costs.", fix=_ELSE
            )
        most = source.max_length or bench.max_length
        lengths = _lengths(source.tokenizer, bench, most, apart=_OF_THE_SECOND in given)
        found = self._enough(source, self._tried(lengths, most), bench, bench.compares)
        shutil.copyfile(source.graph, target / GRAPH)
        write_durably(target / LENGTH, str(found).encode())
        cut, before = (float((lengths > length).mean()) for length in (found, most))
        bench.emit(
            Note(
                f"shorten_texts: {found} tokens of a text are read in place of {most}, which cuts"
                f" {cut:.0%} of the training texts{f' ({before:.0%} before)' if before else ''}."
            )
        )

    def _tried(self, lengths: NDArray[np.intp], most: int) -> list[int]:
        """Numbers of tokens, the largest first."""
        long = min(most, float(np.quantile(lengths, self.long)) if len(lengths) else 0.0)
        found = sorted({_rounded(share * long) for share in self.shares}, reverse=True)
        if tried := [length for length in found if self.least <= length < long]:
            return tried
        raise NothingToShrink(
            f"shorten_texts: {self.long:.0%} of the training texts have {long:.0f} tokens or fewer,"
            " which is little already.",
            fix=_ELSE,
        )

    def _enough(self, source: Form, tried: Sequence[int], bench: Bench, compares: Compares) -> int:
        """The fewest tokens of those tried that lose as little as they may."""
        before, enough, told = compares(source), 0, ""
        for done, length in enumerate(tried):
            bench.emit(StageProgress("shrink", done, len(tried), f"shorten_texts, {length} tokens"))
            found = compares(replace(source, max_length=length))
            # A form that happens to be better than the fitted model may lose that again.
            lost = found.drop - max(before.drop, 0.0)
            if lost > self.loss or (before.holds and not found.holds):
                told = f"{length} tokens: {found.sentence()}"
                break
            enough = length
        if not enough:
            raise NothingToShrink(f"shorten_texts loses too much. {told}.", fix=_ELSE)
        return enough


def _lengths(tokenizer: Path, bench: Bench, most: int, *, apart: bool) -> NDArray[np.intp]:
    """Tokens of every training text, prefix and special ones included; of texts that are read as
    one sequence, those of the sequence. At most one more than are read."""
    splits = Tokenizer.from_file(str(tokenizer))
    splits.no_padding()
    splits.enable_truncation(most + 1)
    words = [[p for p in parts_of(t) if not isinstance(p, Cells)] for t in bench.train.texts]
    rows = [[bench.prefix + part for part in parts] for parts in words if parts]
    given = [part for parts in rows for part in parts] if apart else [_as_one(r) for r in rows]
    return np.array(
        [
            len(found.ids)
            for start in range(0, len(given), _AT_ONCE)
            for found in splits.encode_batch_fast(given[start : start + _AT_ONCE])
        ],
        np.intp,
    )


def _as_one(parts: list[str]) -> str | tuple[str, str]:
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _rounded(tokens: float) -> int:
    """A multiple of eight, upwards."""
    return -(-int(np.ceil(tokens)) // _EIGHT) * _EIGHT
