"""Words that a tokenizer numbers and no text can spell.

A model numbers its control tokens, and pieces that it writes and never reads. A tokenizer of pieces
(Unigram) would find those in a text as it finds any other: "</s>" in a review would end it. Behind
a character that is taken out of every text they keep their numbers and are found nowhere.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MARK, _INSTEAD = "\ue000", "\ue001"


def unreachable(word: str) -> str:
    """The word behind the mark."""
    return _MARK + word


def without_mark() -> Any:
    """A normalizer: the mark, in a text, is a character that nobody knows."""
    from tokenizers import normalizers

    return normalizers.Replace(_MARK, _INSTEAD)


def unmarked() -> Any:
    """A decoder: a marked word spells what it spelt."""
    from tokenizers import decoders

    return decoders.Replace(_MARK, "")


def hide(settings: dict[str, Any], ids: Collection[int]) -> dict[str, Any]:
    """A tokenizer.json that reads these of its tokens nowhere.

    Args:
        settings: Contents of the file. Only Unigram's pieces are looked for in texts as they
            stand; of any other kind it comes back as it is.
        ids: Of the tokens.
    """
    model = settings["model"]
    if model.get("type") != "Unigram" or not ids:
        return settings
    vocabulary = [
        [unreachable(word), score] if at in ids else [word, score]
        for at, (word, score) in enumerate(model["vocab"])
    ]
    return {**settings, "model": {**model, "vocab": vocabulary}}


def guarded(tokenizer: "Tokenizer") -> "Tokenizer":
    """The tokenizer, which takes the mark out of texts before all else."""
    from tokenizers import normalizers

    before = tokenizer.normalizer
    tokenizer.normalizer = normalizers.Sequence(
        [without_mark(), *([] if before is None else [before])]
    )
    return tokenizer
