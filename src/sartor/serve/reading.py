# The tokenizers library's methods are partly untyped; this file is the border.
"""From texts to token ids as the model reads them: cut at its length, or in windows.

A text that is longer than the model takes is read in windows of its length that overlap, each with
the prefix and the special tokens of its own; its logits are the mean of theirs. They are spread
evenly from its first token to its last, so that the end counts as much as the beginning. Where it
would need more than `most`, there are gaps between them instead, and what a text costs is bounded.

Two texts are read as one sequence, from whose longer half tokens go first where it is too long; or
apart, each cut by itself. Which of the two a graph wants, its inputs say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sartor.bundle import Bundle, Windows
from sartor.core.characters import tokenizer_fault
from sartor.core.errors import BundleError
from sartor.core.protocols import Floats
from sartor.core.texts import Text, each_part, parts_of
from sartor.core.windows import window_starts

TOKENIZER = "tokenizer.json"
_AGAIN = "build the bundle again with `sartor run`."
_PADS = ("[PAD]", "<pad>", "<|pad|>")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model reads of some texts.

    Args:
        pieces: Token ids, the pieces of a text one after the other.
        starts: (texts,) where the pieces of each text begin.
        others: Of texts that are read apart, the ids of the second ones, a piece each.
    """

    pieces: Sequence[Sequence[int]]
    starts: NDArray[np.intp]
    others: Sequence[Sequence[int]] | None = None

    @property
    def counts(self) -> NDArray[np.intp]:
        """(texts,) pieces of each text."""
        return np.diff(np.append(self.starts, len(self.pieces)))

    def joined(self, logits: Floats) -> Floats:
        """(pieces, outputs) to (texts, outputs): the mean over the pieces of a text."""
        if len(self.starts) == len(self.pieces):
            return logits
        return (np.add.reduceat(logits, self.starts) / self.counts[:, None]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Reader:
    """Safe to share between threads.

    Args:
        tokenizer: Cuts at the model's length.
        whole: The same, and cuts nowhere; None where long texts are cut.
        prefix: Put before every text, and every window.
        windows: How a long text is read; None where it is cut.
        room: Tokens of the text in one window.
        pad: Id of the padding token.
    """

    tokenizer: Tokenizer
    whole: Tokenizer | None
    prefix: str
    windows: Windows | None
    room: int
    pad: int

    @staticmethod
    def open(bundle: Bundle) -> "Reader":
        """
        Raises:
            BundleError: If the bundle has no tokenizer, or it is damaged.
        """
        read = bundle.manifest.preprocess
        tokenizer = opened(bundle)
        tokenizer.no_padding()
        whole = None
        if read.windows is not None:
            whole = opened(bundle)
            whole.no_padding()
            whole.no_truncation()
        tokenizer.enable_truncation(read.max_length)  # pyright: ignore[reportUnknownMemberType]
        around = len(tokenizer.encode(read.prefix).ids)
        found = (tokenizer.token_to_id(name) for name in _PADS)
        pad = next((index for index in found if index is not None), 0)
        room = max(1, read.max_length - around)
        return Reader(tokenizer, whole, read.prefix, read.windows, room, pad)

    @property
    def room_of_two(self) -> int:
        """Tokens of two texts in one sequence."""
        one = len(self.tokenizer.encode(self.prefix).ids)
        two = len(self.tokenizer.encode(self.prefix, self.prefix).ids)
        return max(1, self.room + one - two)

    def read(self, texts: Sequence[Text], *, apart: bool = False) -> Reading:
        """Token ids of texts.

        Args:
            texts: One a row, or several that are read as one sequence.
            apart: Whether the two texts of a row are read each by itself instead.
        """
        if apart:
            return self._read_apart([parts_of(text) for text in texts])
        prefix = self.prefix
        given = [each_part(text, lambda part: prefix + part) for text in texts]
        encoded = self.tokenizer.encode_batch_fast(given)
        pieces = [found.ids for found in encoded]
        if self.whole is None or self.windows is None:
            return Reading(pieces, np.arange(len(pieces)))
        split: list[Sequence[Sequence[int]]] = [[ids] for ids in pieces]
        for row in [row for row, found in enumerate(encoded) if found.overflowing]:
            text = texts[row]
            if isinstance(text, str):  # windows are of one text
                split[row] = self._windows(text, self.whole, self.windows) or [pieces[row]]
        starts = np.cumsum([0, *map(len, split[:-1])])
        return Reading([piece for parts in split for piece in parts], starts)

    def _read_apart(self, pairs: Sequence[tuple[str, ...]]) -> Reading:
        flat = [self.prefix + pair[side] for side in (0, 1) for pair in pairs]
        ids = [found.ids for found in self.tokenizer.encode_batch_fast(flat)]
        return Reading(ids[: len(pairs)], np.arange(len(pairs)), ids[len(pairs) :])

    def _windows(self, text: str, whole: Tokenizer, windows: Windows) -> list[Sequence[int]]:
        # Windows are cut from the text, not from its ids: the tokenizer then puts around each what
        # it puts around any text.
        places = whole.encode(text, add_special_tokens=False).offsets
        starts = window_starts(len(places), self.room, windows.stride, windows.most)
        if len(starts) == 1:  # only its prefix is too long
            return []
        ends = [min(start + self.room, len(places)) - 1 for start in starts]
        cut = [text[places[a][0] : places[b][1]] for a, b in zip(starts, ends, strict=True)]
        encoded = self.tokenizer.encode_batch_fast([self.prefix + piece for piece in cut])
        return [found.ids for found in encoded]


def opened(bundle: Bundle, name: str = TOKENIZER) -> Tokenizer:
    """A tokenizer of a bundle.

    Raises:
        BundleError: If it has none, or it is damaged.
    """
    path = bundle.path(name)
    try:
        found = Tokenizer.from_file(str(path))
    # tokenizers raises a bare Exception, whatever is wrong with the file.
    except Exception as error:
        raise BundleError(f"{path} is not a tokenizer: {error}.", fix=_AGAIN) from error
    if fault := tokenizer_fault(found):
        raise BundleError(f"{path} is not a tokenizer: {fault}.", fix=_AGAIN)
    return found
