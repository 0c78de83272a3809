"""Encode once: texts to every layer's mean-pooled activations, through the cache.

Only what the cache lacks is computed, each distinct text once. Results reach the cache every few
hundred texts: a killed run loses those, and its successor starts behind them.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sartor.core.activations import Activations, Space
from sartor.core.errors import SettingError
from sartor.core.events import Emit, Note, StageDone, StageProgress, StageStarted, silent
from sartor.core.hashing import text_digest
from sartor.core.protocols import Floats
from sartor.core.texts import Text, each_part
from sartor.core.types import Backbone
from sartor.models.by_piece import tokenise_by_piece
from sartor.models.packed import Packed
from sartor.models.passes import Encoded, EncodeSettings, FrozenPass, Halves, Indices, Wanted
from sartor.models.precision import Precision
from sartor.models.shelf import Shelf
from sartor.models.states import TokenStates

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["EncodeSettings", "TextEncoder"]

_OVERHEAD = 1100
"""Bytes beside the values that a text takes at most, were it alone in its segment."""


class TextEncoder:
    """A frozen backbone behind the cache; an `Encoder`.

    Weights are loaded when the first text is missing from the cache: a run that finds all its
    activations imports no torch.

    Args:
        backbone: From `models.catalogue.find_backbone`.
        cache: Where pooled activations are kept; None to compute everything each time.
        states_cache: Where token states are kept. A cache of its own, with its own bound: one
            layer's states take a hundred times the room, and would crowd the others out.
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
        states_cache: Activations | None = None,
        precision: Precision | None = None,
        settings: EncodeSettings | None = None,
        emit: Emit = silent,
    ) -> None:
        self.backbone = backbone
        # First layers are computed with all the others: whoever asks for those finds them.
        stored = backbone.whole or backbone
        self._pass = FrozenPass(stored, precision, settings or EncodeSettings())
        self._cache, self._states_cache, self._emit = cache, states_cache, emit
        self._full_noted = False
        self._beside: int | None = None
        self.kept_seconds = 0.0
        """Spent so far on what the caches hold now, and nobody computes again."""

    @property
    def settings(self) -> EncodeSettings:
        """How texts are cut and batched."""
        return self._pass.settings

    @property
    def max_length(self) -> int:
        """Tokens a text is cut at."""
        return self._pass.max_length

    @property
    def tokenizer(self) -> "Tokenizer":
        """The backbone's, opened once, which cuts where a pass does; its settings stay as they are.

        A large one takes a second to open.
        """
        return self._pass.tokenizer

    @property
    def precision(self) -> Precision:
        """The arithmetic used; measured on first use when it was not given."""
        return self._pass.precision

    @property
    def space(self) -> Space:
        """Where pooled activations lie in the cache: a backbone's first layers share its place."""
        stored = self._pass.backbone
        return Space(
            backbone_sha256=stored.sha256,
            layers=stored.layers,
            width=stored.width,
            max_length=self.max_length,
            dtype=self.precision.dtype,
        )

    def states_space(self, layer: int) -> Space:
        """Where the token states of one layer lie in their cache."""
        return replace(self.space, pooling="none", layer=layer)

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
        found = self._read(texts, [self._counted(layer) for layer in layers])
        return found.reshape(len(texts), len(layers) * self.backbone.width)

    def passages(self, texts: Sequence[str], layers: Sequence[int]) -> Floats:
        """As `features`, of documents: with the backbone's prefix for those instead."""
        counted = [self._counted(layer) for layer in layers]
        found = self._read(texts, counted, self.backbone.passage)
        return found.reshape(len(texts), len(layers) * self.backbone.width)

    def states(
        self,
        texts: Sequence[Text],
        layer: int,
        separator: int | None = None,
        *,
        passages: bool = False,
    ) -> TokenStates:
        """The states of every token at one layer, computed where the cache lacks them.

        Pooled activations that are lacking too come from the same pass. What the cache's bound
        leaves no room for is computed again whenever it is read; a Note says how much that is.

        Args:
            texts: Without the backbone's prefix, which is added here; two are read as one sequence.
            layer: In [-(layers + 1), layers]; 0 is the embedding layer, -1 the last.
            separator: As of `Wanted`; the same for all texts that this backbone is asked for.
            passages: With the backbone's prefix for documents instead.

        Raises:
            SettingError: If the layer does not exist.
        """
        distinct, order = self._distinct(texts, self.backbone.passage if passages else None)
        wanted = Wanted(pooled=False, layers=(self._counted(layer),), separator=separator)
        cache = self._states_cache

        def again(absent: Sequence[int]) -> list[Halves]:
            found: dict[int, Halves] = {}
            for batch, encoded in self._pass.run([distinct[i] for i in absent], wanted):
                found.update(zip(batch.tolist(), encoded.states[0], strict=True))
            return [found[i] for i in range(len(absent))]

        if cache is None:
            return TokenStates(None, order, self._pass.lengths(distinct), again)
        keys = [text_digest(text) for text in distinct]
        space = self.states_space(self._counted(layer))
        self._fill_states(distinct, keys, [space], (cache, separator))
        found = cache.get(space, keys)
        lengths, absent = found.lengths(), np.flatnonzero(~found.mask)
        if len(absent):
            lengths[absent] = self._pass.lengths([distinct[i] for i in absent])
            self._emit(
                Note(
                    f"The cache of token states ({cache.max_bytes / 1e9:.1f} GB) has room for "
                    f"{len(distinct) - len(absent):,} of {len(distinct):,} texts: the others are "
                    "encoded again in every epoch.",
                    level="warning",
                )
            )
        return TokenStates(found, order, lengths, again)

    def keep_states(self, texts: Sequence[Text], layers: Sequence[int]) -> None:
        """Compute the states of several layers in one pass, where the cache lacks them.

        Args:
            texts: As of `states`.
            layers: As of `states`; what is read of them is then read a layer at a time.
        """
        if self._states_cache is None:
            return
        distinct, _ = self._distinct(texts)
        spaces = [self.states_space(self._counted(layer)) for layer in layers]
        keys = [text_digest(text) for text in distinct]
        self._fill_states(distinct, keys, spaces, (self._states_cache, None))

    def keep_beside(self, layer: int) -> None:
        """From now on, keep the token states of one layer of every text that is encoded anyway.

        For who will read them later: by themselves they would take a pass of their own.

        Args:
            layer: As of `states`.
        """
        self._beside = self._counted(layer)

    def marks(self, texts: Sequence[Text]) -> Packed:
        """How many pieces of each text are read at each of its tokens; see `models.by_piece`."""
        return tokenise_by_piece(self.tokenizer, texts, self.backbone.prefix)[1]

    def _counted(self, layer: int) -> int:
        rows = self.backbone.layers + 1
        if not -rows <= layer < rows:
            raise SettingError(
                f"{self.backbone.name} has no layer {layer}.",
                fix=f"choose layers between 0 (embeddings) and {rows - 1}.",
            )
        return layer % rows

    def _distinct(
        self, texts: Sequence[Text], instead: str | None = None
    ) -> tuple[list[Text], Indices]:
        """Each text once, with its prefix; and (texts,) which of them each text is."""
        place: dict[Text, int] = {}
        prefix = self.backbone.prefix if instead is None else instead
        prefixed = (each_part(text, lambda part: prefix + part) for text in texts)
        order = [place.setdefault(text, len(place)) for text in prefixed]
        return list(place), np.asarray(order, np.intp)

    def _read(
        self, texts: Sequence[str], layers: Sequence[int], prefix: str | None = None
    ) -> Floats:
        distinct, order = self._distinct(texts, prefix)
        out = np.empty((len(distinct), len(layers), self.backbone.width), np.float32)
        if self._cache is None:
            self._fill(distinct, [], np.arange(len(distinct)), layers, out)
        else:
            keys = [text_digest(text) for text in distinct]
            if self._beside is not None and self._states_cache is not None:
                with self._cache.get(self.space, keys) as found:
                    missing = np.flatnonzero(~found.mask)
                spaces, place = [self.states_space(self._beside)], (self._states_cache, None)
                of_missing = [distinct[i] for i in missing], [keys[i] for i in missing]
                self._fill_states(*of_missing, spaces, place)
            with self._cache.get(self.space, keys) as found:
                self._fill(distinct, keys, np.flatnonzero(~found.mask), layers, out)
                found.gather(layers, out)
        return out if len(distinct) == len(texts) else out[order]

    def _fill(
        self,
        texts: Sequence[Text],
        keys: Sequence[bytes],
        missing: Indices,
        layers: Sequence[int],
        out: Floats,
    ) -> None:
        """Compute the missing texts into `out`, and into the cache a chunk at a time."""
        shelf = self._shelf(self._cache, self.space, keys)
        with closing(self._computed(texts, missing, Wanted())) as results:
            try:
                for batch, encoded in results:
                    assert encoded.pooled is not None, "they were asked for"
                    # What is returned now is what the cache returns later, to the bit.
                    out[batch] = encoded.pooled[:, layers]
                    shelf.add(batch, encoded.pooled)
            finally:
                # Ctrl-C included: what is computed is kept.
                shelf.flush()

    def _fill_states(
        self,
        texts: Sequence[Text],
        keys: Sequence[bytes],
        spaces: Sequence[Space],
        place: tuple[Activations, int | None],
    ) -> None:
        """Compute as many of the missing texts as there is room for, and keep them.

        Args:
            texts: Distinct ones.
            keys: Theirs.
            spaces: Of the layers; a text that one of them lacks is computed for all.
            place: Their cache, and the separator.
        """
        cache, separator = place
        absent: list[NDArray[np.bool_]] = []
        for space in spaces:
            with cache.get(space, keys) as found:
                absent.append(~found.mask)
        missing = np.flatnonzero(np.any(absent, axis=0))
        if not len(missing):
            return
        width = len(spaces) * spaces[0].width
        sizes = 2 * width * self._pass.lengths([texts[int(i)] for i in missing])
        missing = missing[np.cumsum(sizes + len(spaces) * _OVERHEAD) <= cache.room()]
        lacking = np.zeros(len(missing), np.bool_)
        # Nobody reads the pooled activations of two texts in one sequence.
        if self._cache is not None and all(isinstance(text, str) for text in texts):
            with self._cache.get(self.space, [keys[i] for i in missing]) as found:
                lacking = ~found.mask
        layers = tuple(space.layer for space in spaces if space.layer is not None)
        for pooled in (True, False):
            shelves = [self._shelf(cache, space, keys) for space in spaces]
            means = self._shelf(self._cache, self.space, keys)
            wanted = Wanted(pooled=pooled, layers=layers, separator=separator)
            with closing(self._computed(texts, missing[lacking == pooled], wanted)) as results:
                try:
                    for batch, encoded in results:
                        if encoded.pooled is not None:
                            means.add(batch, encoded.pooled)
                        for i, values in enumerate(encoded.states):
                            lacks = absent[i][batch]
                            shelves[i].add(batch[lacks], values[lacks])
                finally:
                    for shelf in (means, *shelves):
                        shelf.flush()

    def _computed(
        self, texts: Sequence[Text], missing: Indices, wanted: Wanted
    ) -> Generator[tuple[Indices, Encoded]]:
        """(indices into `texts`, activations) of the missing ones, with progress."""
        if not len(missing):
            return
        total, done = len(missing), 0
        self._emit(StageStarted("encode", total, "texts"))
        started = perf_counter()
        self._pass.load(wanted)
        began = perf_counter()
        with closing(self._pass.run([texts[int(i)] for i in missing], wanted)) as results:
            for batch, encoded in results:
                yield missing[batch], encoded
                done += len(batch)
                rate = done / max(perf_counter() - began, 1e-9)
                self._emit(StageProgress("encode", done, total, f"{rate:,.0f}/s"))
        if self._cache is not None and not self._full_noted:
            self.kept_seconds += perf_counter() - started
        rate = total / max(perf_counter() - began, 1e-9)
        cached = f", {len(texts) - total:,} from the cache" if total < len(texts) else ""
        self._emit(StageDone("encode", f"{total:,} texts, {rate:,.0f}/s{cached}"))

    def _shelf(self, cache: Activations | None, space: Space, keys: Sequence[bytes]) -> Shelf:
        return Shelf(cache, space, keys, self.settings.chunk, self._declined)

    def _declined(self, cache: Activations) -> None:
        if self._full_noted:
            return
        self._full_noted = True
        self._emit(
            Note(
                f"The activation cache is full ({cache.max_bytes / 1e9:.1f} GB, all in use): "
                "further texts are encoded again next time.",
                level="warning",
            )
        )
