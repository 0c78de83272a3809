"""Encode once: texts to every layer's mean-pooled activations, through the cache.

Only what the cache lacks is computed, each distinct text once. Texts of equal length share a batch,
so nothing is spent on padding, and a batch holds a bounded number of tokens. Results reach the
cache every few hundred texts: a killed run loses those, and its successor starts behind them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sartor.core.activations import Activations, Space, to_halves
from sartor.core.errors import ModelError, SettingError
from sartor.core.events import Emit, Note, StageDone, StageProgress, StageStarted, silent
from sartor.core.hashing import text_digest
from sartor.core.protocols import Floats
from sartor.core.types import Backbone
from sartor.models.loading import load_model, load_tokenizer
from sartor.models.precision import Precision, probe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from sartor.models.forward import PooledForward

Halves = NDArray[np.float16]


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


class TextEncoder:
    """A frozen backbone behind the cache; an `Encoder`.

    Weights are loaded when the first text is missing from the cache: a run that finds all its
    activations imports no torch.

    Args:
        backbone: From `models.catalogue.find_backbone`.
        cache: Where activations are kept; None to compute everything each time.
        precision: Measured when not given. Part of the cache's key, so pass the recorded one
            to replay a run.
        settings: See `EncodeSettings`.
        emit: Told of progress whenever something is computed.
    """

    def __init__(
        self,
        backbone: Backbone,
        cache: Activations | None,
        *,
        precision: Precision | None = None,
        settings: EncodeSettings | None = None,
        emit: Emit = silent,
    ) -> None:
        self.backbone = backbone
        self.settings = settings or EncodeSettings()
        self.max_length = min(self.settings.max_length, backbone.max_length)
        self._cache, self._precision, self._emit = cache, precision, emit
        self._loaded: tuple[PooledForward, Tokenizer] | None = None
        self._full_noted = False

    @property
    def precision(self) -> Precision:
        """The arithmetic used; measured on first use when it was not given."""
        if self._precision is None:
            self._precision = probe()
        return self._precision

    @property
    def space(self) -> Space:
        """Where this encoder's activations lie in the cache."""
        return Space(
            backbone_sha256=self.backbone.sha256,
            layers=self.backbone.layers,
            width=self.backbone.width,
            max_length=self.max_length,
            dtype=self.precision.dtype,
        )

    def encode(self, texts: Sequence[str]) -> Floats:
        """(texts, layers + 1, width) mean-pooled hidden states; index 0 is the embedding layer."""
        return self._read(texts, range(self.backbone.layers + 1))

    def features(self, texts: Sequence[str], layers: Sequence[int]) -> Floats:
        """(texts, len(layers) * width): the chosen layers side by side, in the order given.

        Args:
            texts: Without the backbone's prefix, which is added here.
            layers: Each in [-(layers + 1), layers]; 0 is the embedding layer, -1 the last.

        Raises:
            SettingError: If a layer does not exist.
        """
        rows = self.backbone.layers + 1
        for layer in layers:
            if not -rows <= layer < rows:
                raise SettingError(
                    f"{self.backbone.name} has no layer {layer}.",
                    fix=f"choose layers between 0 (embeddings) and {rows - 1}.",
                )
        found = self._read(texts, [layer % rows for layer in layers])
        return found.reshape(len(texts), len(layers) * self.backbone.width)

    def _read(self, texts: Sequence[str], layers: Sequence[int]) -> Floats:
        distinct = list(dict.fromkeys(self.backbone.prefix + text for text in texts))
        out = np.empty((len(distinct), len(layers), self.backbone.width), np.float32)
        if self._cache is None:
            self._fill(distinct, [], np.arange(len(distinct)), layers, out)
        else:
            keys = [text_digest(text) for text in distinct]
            with self._cache.get(self.space, keys) as found:
                self._fill(distinct, keys, np.flatnonzero(~found.mask), layers, out)
                found.gather(layers, out)
        if len(distinct) == len(texts):
            return out
        place = {text: i for i, text in enumerate(distinct)}
        return out[[place[self.backbone.prefix + text] for text in texts]]

    def _fill(
        self,
        texts: Sequence[str],
        keys: Sequence[bytes],
        missing: NDArray[np.intp],
        layers: Sequence[int],
        out: Floats,
    ) -> None:
        """Compute the missing texts into `out`, and into the cache a chunk at a time."""
        if not len(missing):
            return
        total, done = len(missing), 0
        self._emit(StageStarted("encode", total, "texts"))
        self._load()
        began = perf_counter()
        waiting: list[tuple[NDArray[np.intp], Halves]] = []
        try:
            for batch, values in self._compute(texts, missing):
                # What is returned now is what the cache returns later, to the bit.
                out[batch] = values[:, layers]
                waiting.append((batch, values))
                done += len(batch)
                if sum(len(b) for b, _ in waiting) >= self.settings.chunk:
                    ready, waiting = waiting, []
                    self._store(keys, ready)
                rate = done / max(perf_counter() - began, 1e-9)
                self._emit(StageProgress("encode", done, total, f"{rate:,.0f}/s"))
        finally:
            # Ctrl-C included: what is computed is kept.
            self._store(keys, waiting)
        rate = total / max(perf_counter() - began, 1e-9)
        cached = f", {len(texts) - total:,} from the cache" if total < len(texts) else ""
        self._emit(StageDone("encode", f"{total:,} texts, {rate:,.0f}/s{cached}"))

    def _load(self) -> tuple["PooledForward", "Tokenizer"]:
        """The model, once; torch is imported here, not where everything is cached."""
        if self._loaded is None:
            from sartor.models.forward import PooledForward

            folder = Path(self.backbone.path)
            tokenizer = load_tokenizer(folder)
            tokenizer.enable_truncation(self.max_length)
            self._loaded = PooledForward(load_model(folder), self.precision), tokenizer
        return self._loaded

    def _compute(
        self, texts: Sequence[str], missing: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], Halves]]:
        """(indices, (indices, layers + 1, width)) of one batch after another."""
        forward, tokenizer = self._load()
        for start in range(0, len(missing), self.settings.window):
            window = missing[start : start + self.settings.window]
            encodings = tokenizer.encode_batch_fast([_printable(texts[int(i)]) for i in window])
            # A tokenizer without special tokens makes nothing of an empty text: token 0 stands in.
            ids = [np.asarray(encoding.ids or [0], np.int64) for encoding in encodings]
            groups = batches([len(row) for row in ids], self.settings.batch_tokens)
            results = forward.each([np.stack([ids[i] for i in group]) for group in groups])
            for group, values in zip(groups, results, strict=True):
                yield window[group], self._halve(values)

    def _halve(self, values: Floats) -> Halves:
        if not np.isfinite(values).all():
            raise ModelError(
                f"{self.backbone.name} gives activations that are not numbers "
                f"(in {self.precision.dtype}).",
                fix="its weights are broken: get them again, or choose another backbone.",
            )
        return to_halves(values)

    def _store(
        self, keys: Sequence[bytes], waiting: Sequence[tuple[NDArray[np.intp], Halves]]
    ) -> None:
        if self._cache is None or not waiting:
            return
        indices = np.concatenate([batch for batch, _ in waiting])
        values = np.concatenate([values for _, values in waiting])
        kept = self._cache.put(self.space, [keys[i] for i in indices], values)
        if not kept and not self._full_noted:
            self._full_noted = True
            self._emit(
                Note(
                    f"The activation cache is full ({self._cache.max_bytes / 1e9:.1f} GB, all in "
                    "use): further texts are encoded again next time.",
                    level="warning",
                )
            )


def batches(lengths: Sequence[int], most_tokens: int) -> list[NDArray[np.intp]]:
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
    groups: list[NDArray[np.intp]] = []
    for length, members in sorted(of_length.items()):
        count = max(1, most_tokens // length)
        groups += [
            np.asarray(members[i : i + count], np.intp) for i in range(0, len(members), count)
        ]
    order = np.random.default_rng(0).permutation(len(groups))
    return [groups[i] for i in order]


def _printable(text: str) -> str:
    """The text with lone surrogates replaced: they have no UTF-8, and the tokenizer reads UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
