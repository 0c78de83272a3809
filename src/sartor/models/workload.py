"""How much there is to encode: tokens in the texts, and tokens the cache does not hold yet."""

from collections.abc import Sequence
from pathlib import Path

from sartor.core.activations import Activations
from sartor.core.hashing import text_digest
from sartor.models.encode import TextEncoder
from sartor.models.loading import load_tokenizer

_SAMPLE = 2_000


def workload(encoder: TextEncoder, cache: Activations, texts: Sequence[str]) -> tuple[int, int]:
    """(tokens in all texts, tokens of those that are not cached).

    Counted on an evenly spread sample where there are many texts: a plan needs the size, not the
    last digit.
    """
    prefixed = [encoder.backbone.prefix + text for text in texts]
    step = max(1, len(prefixed) // _SAMPLE)
    tokenizer = load_tokenizer(Path(encoder.backbone.path))
    tokenizer.enable_truncation(encoder.max_length)
    lengths = [len(e.ids) for e in tokenizer.encode_batch_fast(prefixed[::step])]
    total = round(sum(lengths) * len(prefixed) / max(len(lengths), 1))
    with cache.get(encoder.space, [text_digest(text) for text in prefixed]) as found:
        missing = 1 - float(found.mask.mean()) if len(prefixed) else 0.0
    return total, round(total * missing)
