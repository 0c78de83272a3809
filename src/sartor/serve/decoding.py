# pyright: basic
# ONNX Runtime ships no types; this file is the border.
"""A decoder's graph, run step by step: keys and values stay where ONNX Runtime put them.

Rows of one batch are filled up on the left, so that the last place is the last token of every row.
What all rows begin with, such as shown examples, is read once and handed to each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sartor.core.errors import BundleError
from sartor.core.protocols import Floats
from sartor.serve.session import inference

Ids = NDArray[np.int64]
_GIVEN = ("input_ids", "attention_mask", "position_ids", "keep")


@dataclass(frozen=True, slots=True)
class Kept:
    """Keys and values of what was read.

    Args:
        values: One a cache of the graph, in its order.
        mask: (rows, tokens), 1 for a token and 0 for filling.
    """

    values: tuple[Any, ...]
    mask: Ids

    @property
    def lengths(self) -> Ids:
        """(rows,) tokens read, filling aside."""
        return self.mask.sum(1)


@dataclass(frozen=True, slots=True)
class DecoderSession:
    """Safe to share between threads."""

    _session: Any
    pasts: tuple[str, ...]
    presents: tuple[str, ...]
    shape: tuple[int, int]
    """Heads and size of keys and values."""

    @staticmethod
    def open(path: Path, threads: int, layers: int, shape: tuple[int, int]) -> "DecoderSession":
        """
        Args:
            path: The graph.
            threads: Of one pass.
            layers: That it keeps keys and values of.
            shape: Their heads and size.

        Raises:
            BundleError: If ONNX Runtime cannot run the file, or it has other inputs.
        """
        session = inference(path, threads)
        kept = [f"{which}.{layer}" for layer in range(layers) for which in ("key", "value")]
        pasts, presents = (tuple(f"{t}_{name}" for name in kept) for t in ("past", "present"))
        given = {found.name for found in session.get_inputs()}
        made = {found.name for found in session.get_outputs()}
        if given != {*_GIVEN, *pasts} or made != {"logits", *presents}:
            raise BundleError(
                f"{path} is not the graph that writer.json describes.",
                fix="build the bundle again with `sartor run`.",
            )
        return DecoderSession(session, pasts, presents, shape)

    def nothing(self, rows: int) -> Kept:
        """Before anything was read."""
        empty = np.zeros((rows, self.shape[0], 0, self.shape[1]), np.float32)
        value = ort.OrtValue.ortvalue_from_numpy(empty)
        return Kept((value,) * len(self.pasts), np.zeros((rows, 0), np.int64))

    def repeated(self, kept: Kept, rows: int) -> Kept:
        """What one row has read, for as many rows."""
        if rows == len(kept.mask):
            return kept
        values = (np.repeat(value.numpy(), rows, 0) for value in kept.values)
        found = tuple(ort.OrtValue.ortvalue_from_numpy(value) for value in values)
        return Kept(found, np.repeat(kept.mask, rows, 0))

    def read(
        self, kept: Kept, tokens: Sequence[Sequence[int]], keep: Sequence[int] = (-1,)
    ) -> tuple[Floats, Kept]:
        """Read on.

        Args:
            kept: Of what stands before.
            tokens: At least one a row; shorter rows are filled up on the left.
            keep: Places, in the longest row, after which logits are wanted.

        Returns:
            (rows, places, vocabulary) logits, and what is kept now.
        """
        width = max(map(len, tokens))
        ids = np.zeros((len(tokens), width), np.int64)
        new = np.zeros((len(tokens), width), np.int64)
        for row, found in enumerate(tokens):
            ids[row, width - len(found) :] = found
            new[row, width - len(found) :] = 1
        mask = np.concatenate([kept.mask, new], 1)
        places = np.maximum(kept.lengths[:, None] + new.cumsum(1) - 1, 0)
        arrays = (ids, mask, places, np.array(keep, np.int64))
        feeds = {
            name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
            for name, array in zip(_GIVEN, arrays, strict=True)
        }
        feeds |= dict(zip(self.pasts, kept.values, strict=True))
        logits, *values = self._session.run_with_ort_values(["logits", *self.presents], feeds)
        return np.asarray(logits.numpy(), np.float32), Kept(tuple(values), mask)
