"""Passes of texts through the frozen encoder: tokenise, group by length, compute, round.

Texts of equal length share a batch, so a CPU spends nothing on padding, and a batch holds a bounded
number of tokens. Only the layers that somebody reads are run.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sartor.core.activations import to_halves
from sartor.core.errors import ModelError
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import Backbone
from sartor.models.loading import load_encoder, tokenizer_of
from sartor.models.packed import Packed, tokenise
from sartor.models.precision import Precision, probe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from sartor.models.forward import Forward

Halves = NDArray[np.float16]
Indices = NDArray[np.intp]
_NOTHING = np.zeros(1, np.int32)


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How texts are cut and batched."""

    max_length: int = 256
    """Tokens a text is cut to; part of the cache's key. Capped by what the backbone takes."""
    batch_tokens: int = 2048
    """Tokens in a batch; larger ones leave the processor's cache."""
    chunk: int = 512
    """Texts written to the cache at a time: what a killed run can lose."""
    window: int = 16_384
    """Texts tokenised and grouped by length at a time: bounds the memory for token ids."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pass is for.

    Args:
        pooled: Whether every layer's pooled activations are wanted.
        layers: Layers whose token states are wanted, each in [0, layers].
        separator: Of two texts in one sequence: the token behind which the second segment begins;
            None where there is one segment.
    """

    pooled: bool = True
    layers: tuple[int, ...] = ()
    separator: int | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch of texts of equal length, rounded as the cache rounds.

    Args:
        pooled: (texts, layers + 1, width), or None where it was not wanted.
        states: (texts, tokens, width) of each layer that was wanted, in that order.
    """

    pooled: Halves | None
    states: tuple[Halves, ...]


class FrozenPass:
    """A frozen backbone that computes; knows no cache.

    Weights are loaded by the first pass, and only as deep as it reads; a pass that reads deeper or
    less deep loads them again.

    Args:
        backbone: From `models.catalogue.find_backbone`.
        precision: Measured on first use when not given.
        settings: See `EncodeSettings`.
    """

    def __init__(
        self, backbone: Backbone, precision: Precision | None, settings: EncodeSettings
    ) -> None:
        self.backbone, self.settings = backbone, settings
        self.max_length = min(settings.max_length, backbone.max_length)
        self._precision = precision
        self._tokenizer: Tokenizer | None = None
        self._loaded: tuple[int, Forward] | None = None

    @property
    def precision(self) -> Precision:
        """The arithmetic used."""
        if self._precision is None:
            self._precision = probe()
        return self._precision

    def load(self, wanted: Wanted) -> "Forward":
        """The weights that a pass reads; torch is imported here, not where all is cached."""
        depth = self.backbone.layers if wanted.pooled else max(wanted.layers)
        if self._loaded is None or self._loaded[0] != depth:
            from sartor.models.forward import Forward

            self._loaded = None  # never two of them in memory
            model = load_encoder(self.backbone, depth)
            self._loaded = depth, Forward(model, self.precision)
        return self._loaded[1]

    def lengths(self, texts: Sequence[Text]) -> NDArray[np.int64]:
        """(texts,) tokens of each, as a pass will see them; at least 1."""
        found = np.empty(len(texts), np.int64)
        for start in range(0, len(texts), self.settings.window):
            window = self._tokenise(texts[start : start + self.settings.window])
            found[start : start + len(window)] = _lengths(window)
        return found

    def run(self, texts: Sequence[Text], wanted: Wanted) -> Generator[tuple[Indices, Encoded]]:
        """(indices into `texts`, their activations), one batch after another.

        Raises:
            ModelError: If an activation is not a number.
        """
        forward = self.load(wanted)
        for start in range(0, len(texts), self.settings.window):
            ids = self._tokenise(texts[start : start + self.settings.window])
            lengths = _lengths(ids)
            groups = batches(lengths.tolist(), self.settings.batch_tokens)
            shared = lots(lengths, groups, forward.together)
            # A tokenizer without special tokens makes nothing of an empty text: token 0 stands in.
            stacked = [
                [
                    np.stack([ids[i] if len(ids[i]) else _NOTHING for i in group]).astype(np.int64)
                    for group in lot
                ]
                for lot in shared
            ]
            # Closed with this pass, however it ends: it holds torch's thread count.
            with closing(forward.each(stacked, wanted)) as results:
                for group, (pooled, states) in zip(chain(*shared), results, strict=True):
                    halves = None if pooled is None else self._halve(pooled)
                    yield start + group, Encoded(halves, tuple(map(self._halve, states)))

    @property
    def tokenizer(self) -> "Tokenizer":
        """The backbone's, which cuts where a pass does."""
        if self._tokenizer is None:
            self._tokenizer = tokenizer_of(self.backbone)
            self._tokenizer.enable_truncation(self.max_length)
        return self._tokenizer

    def _tokenise(self, texts: Sequence[Text]) -> Packed:
        return tokenise(self.tokenizer, texts)

    def _halve(self, values: Floats) -> Halves:
        if not np.isfinite(values).all():
            raise ModelError(
                f"{self.backbone.name} gives activations that are not numbers "
                f"(in {self.precision.dtype}).",
                fix="its weights are broken: get them again, or choose another backbone.",
            )
        return to_halves(values)


def batches(lengths: Sequence[int], most_tokens: int) -> list[Indices]:
    """Group texts of equal length.

    Args:
        lengths: Tokens of each text, at least 1.
        most_tokens: Bound on tokens in a batch; a longer text has a batch of its own.

    Returns:
        Indices of each batch. The batches' order is shuffled, always alike, so that the rate seen
        so far predicts the rest.
    """
    of_length: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        of_length.setdefault(length, []).append(i)
    groups: list[Indices] = []
    for length, members in sorted(of_length.items()):
        count = max(1, most_tokens // length)
        groups += [
            np.asarray(members[i : i + count], np.intp) for i in range(0, len(members), count)
        ]
    order = np.random.default_rng(0).permutation(len(groups))
    return [groups[i] for i in order]


def lots(
    lengths: NDArray[np.int64], groups: Sequence[Indices], most_tokens: int
) -> list[list[Indices]]:
    """Batches that are computed together, padded to the longest among them.

    Args:
        lengths: (texts,) tokens of each.
        groups: From `batches`.
        most_tokens: Bound on tokens in a lot, padding among them; 0 where each batch is a lot.

    Returns:
        Neighbours in length, in lots whose order is shuffled, always alike; or one in each, in the
        order given.
    """
    found: list[list[Indices]] = []
    if not most_tokens:
        return [[group] for group in groups]
    rows = 0
    for group in sorted(groups, key=lambda group: int(lengths[group[0]])):
        rows += len(group)
        if not found or rows * lengths[group[0]] > most_tokens:
            found.append([])
            rows = len(group)
        found[-1].append(group)
    order = np.random.default_rng(0).permutation(len(found))
    return [found[i] for i in order]


def _lengths(ids: Packed) -> NDArray[np.int64]:
    return np.maximum(ids.lengths, 1)
