"""A tokenizer that parts a text at its pieces, and which tokens its pieces are read at.

The tokenizer keeps its own way of splitting; behind it, or before it where it turns text into
bytes, a further split parts what it left together: in "▁北京市" each character becomes a token of
its own, "▁" staying with the first. It is written into tokenizer.json, so that whoever serves the
model splits alike and need not know.

A piece is read at its first token. That is found by offsets, not by counting: what a tokenizer
drops, joins or replaces cannot shift the pieces behind it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sartor.core.hashing import digest
from sartor.core.pieces import ALONE, pieces, read_at
from sartor.core.texts import Text, each_part, parts_of
from sartor.core.types import Backbone
from sartor.core.windows import read_of_two
from sartor.models.packed import Packed, printable

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_SPLIT = (
    rf"[\s▁]?(?:[{ALONE}]\p{{M}}*|(?:(?![{ALONE}])[\p{{L}}\p{{M}}])+|\p{{N}}+"
    r"|[^\s\p{L}\p{M}\p{N}▁]\p{M}*)"
)
"""What stays together: a piece, and the one space or mark of a space before it."""
_WINDOW = 1024


def in_pieces(backbone: Backbone) -> Backbone:
    """The backbone whose tokenizer reads texts piece by piece."""
    if backbone.pieces:
        return backbone
    whole = None if backbone.whole is None else in_pieces(backbone.whole)
    sha256 = digest("pieces", _SPLIT, backbone.sha256)
    return replace(backbone, pieces=True, whole=whole, sha256=sha256)


def part_pieces(tokenizer: "Tokenizer") -> "Tokenizer":
    """Make a tokenizer split at pieces, in place."""
    from tokenizers import Regex, pre_tokenizers

    split: Any = pre_tokenizers.Split(Regex(_SPLIT), "isolated")
    own: Any = tokenizer.pre_tokenizer
    if own is None:
        tokenizer.pre_tokenizer = split
        return tokenizer
    # Behind it there would be bytes, which no pattern of characters knows.
    bytewise = b"ByteLevel" in own.__getstate__()
    both = [split, own] if bytewise else [own, split]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(both)  # pyright: ignore[reportAttributeAccessIssue]
    return tokenizer


def tokenise_by_piece(
    tokenizer: "Tokenizer", texts: Sequence[Text], prefix: str = ""
) -> tuple[Packed, Packed]:
    """(token ids, how many pieces are read at each token) of texts, cut as the tokenizer is set.

    Args:
        tokenizer: From `part_pieces`; its padding is off.
        texts: One a row, or a question and its context in one sequence: then the pieces are those
            of the context (see `core.windows`). Lone surrogates in them are read as "?".
        prefix: Put before every text.
    """
    ids: list[list[int]] = []
    marks: list[list[int]] = []
    for start in range(0, len(texts), _WINDOW):
        window = texts[start : start + _WINDOW]
        given = [each_part(text, lambda part: printable(prefix + part)) for text in window]
        for text, encoded in zip(window, tokenizer.encode_batch(given), strict=True):
            ids.append(encoded.ids)
            marks.append(_marks(encoded, text, len(prefix)))
    return Packed.of(ids), Packed.of(marks)


def _marks(encoded: "Encoding", text: Text, shift: int) -> list[int]:
    places = pieces(parts_of(text)[-1])
    if isinstance(text, str):
        return read_at(encoded.offsets, places, shift)
    return read_of_two(encoded.offsets, encoded.sequence_ids, places, shift)
