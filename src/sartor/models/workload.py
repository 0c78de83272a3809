"""How much there is to encode: tokens in the texts, tokens the cache does not hold yet, and how
many texts are too long to be read whole."""

from collections.abc import Sequence

from sartor.core.activations import Activations
from sartor.core.hashing import text_digest
from sartor.core.texts import Text, each_part
from sartor.models.encode import TextEncoder

_SAMPLE = 2_000


def workload(
    encoder: TextEncoder,
    cache: Activations,
    texts: Sequence[Text],
    layer: int | None = None,
    *,
    passages: bool = False,
) -> tuple[int, int]:
    """(tokens in all texts, tokens of those that are not cached).

    Counted on an evenly spread sample where there are many texts: a plan needs the size, not the
    last digit.

    Args:
        encoder: Of the backbone.
        cache: Of pooled activations, or of token states.
        texts: Without the backbone's prefix.
        layer: Whose token states are looked for; None for pooled activations.
        passages: Whether they are documents, which may have a prefix of their own.
    """
    prefix = encoder.backbone.passage if passages else encoder.backbone.prefix
    prefixed = [each_part(text, lambda part: prefix + part) for text in texts]
    step = max(1, len(prefixed) // _SAMPLE)
    lengths = [len(e.ids) for e in encoder.tokenizer.encode_batch_fast(prefixed[::step])]
    total = round(sum(lengths) * len(prefixed) / max(len(lengths), 1))
    space = encoder.space if layer is None else encoder.states_space(layer)
    listed = cache.listed(space, [text_digest(text) for text in prefixed])
    missing = 1 - float(listed.mean()) if len(prefixed) else 0.0
    return total, round(total * missing)


def share_cut(encoder: TextEncoder, texts: Sequence[str]) -> float:
    """Share of the texts that are longer than the encoder reads, 0 to 1; on a sample of many.

    Args:
        encoder: Of the backbone.
        texts: Without the backbone's prefix.
    """
    sample = texts[:: max(1, len(texts) // _SAMPLE)]
    if not sample:
        return 0.0
    prefix = encoder.backbone.prefix
    encoded = encoder.tokenizer.encode_batch_fast([prefix + text for text in sample])
    return sum(bool(found.overflowing) for found in encoded) / len(sample)
