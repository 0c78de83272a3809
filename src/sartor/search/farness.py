"""Are these texts far from what a backbone was trained on?

Two signs, both cheap. Words that its tokenizer does not know. And activations that tell the labels
apart no better than those of the same network with random weights: what remains then is what the
tokenizer alone gives, and pretraining bought nothing. The random twin is only encoded where the
pretrained one explains little, since it takes some seconds once.
"""

from collections.abc import Sequence

from sartor.core.texts import flat
from sartor.core.types import Backbone
from sartor.models.encode import TextEncoder
from sartor.models.ranking.logme import logme, logme_of_labels
from sartor.models.ranking.race import Entrant, Standing, explained, race
from sartor.models.ranking.spectrum import spectrum
from sartor.models.variants import random_twin
from sartor.search.ranking import EncoderFor, Sample, averaged

ROWS = 256
"""Rows that are looked at, at most."""
_PLAIN = 0.15
"""Share of the labels' variance explained at which no twin is asked: MiniLM explains 4 % of Chinese
reviews, of which it reads nothing, and 20 % of English ones."""
_NEXT = 0.02
"""Nats a row below which pretraining bought next to nothing: 2 to 4 % of the labels' variance."""
_MANY = 0.1
"""Share of unknown tokens that is worth a warning; a known language has next to none."""
_UNKNOWN = ("[UNK]", "<unk>")


def why_far(backbone: Backbone, sample: Sample, encoder_for: EncoderFor, seed: int) -> str:
    """One sentence that says how the texts are far and what to do; "" where nothing says so.

    Args:
        backbone: Pretrained; its activations of the first 256 rows are encoded where they are not
            cached.
        sample: Training rows.
        encoder_for: The cached encoder of a backbone, the twin's included.
        seed: Of the twin's weights.
    """
    signs: list[str] = []
    texts = sample.texts[:ROWS]
    if (share := unknown_share(encoder_for(backbone), flat(texts))) >= _MANY:
        signs.append(f"its tokenizer does not know {share:.0%} of their words")
    twin = random_twin(backbone, seed)
    features, rows = averaged(encoder_for, backbone, sample), len(texts)
    labels = sample.labels[:rows]
    told = logme(spectrum(features(rows), labels))
    if explained(told, logme_of_labels(labels)) < _PLAIN:
        entrant = Entrant(backbone.name, features)
        control = Entrant(twin.name, averaged(encoder_for, twin, sample), control=True)
        if sign := _no_better(race([entrant, control], labels, [rows])):
            signs.append(sign)
    if not signs:
        return ""
    return (
        f"These texts look far from what {backbone.name} was trained on: {' and '.join(signs)}."
        " Compare backbones with `sartor models rank`, and name a better one under"
        " prefer.backbones; with this one, expect to need more labels and to tune all layers."
    )


def unknown_share(encoder: TextEncoder, texts: Sequence[str]) -> float:
    """Share of the texts' tokens, special ones aside, that the tokenizer has no piece for."""
    tokenizer = encoder.tokenizer
    unknown = {tokenizer.token_to_id(name) for name in _UNKNOWN} - {None}
    encodings = tokenizer.encode_batch_fast(
        [text.encode("utf-8", "replace").decode() for text in texts], add_special_tokens=False
    )
    ids = [token for encoding in encodings for token in encoding.ids]
    return sum(token in unknown for token in ids) / max(len(ids), 1)


def _no_better(standings: Sequence[Standing]) -> str:
    """In words, where the twin is better than its backbone or next to it."""
    real = next(s for s in standings if not s.control)
    twin = next(s for s in standings if s.control)
    if twin.dropped or twin.behind.value < -_NEXT:
        return ""
    return (
        f"on {real.rows:,} rows its activations explain {real.explained.value:.0%} of the labels,"
        f" those of the same network with random weights {twin.explained.value:.0%}"
    )
