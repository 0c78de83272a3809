"""What a rung of writers will cost, before it runs.

A pass over a token takes about two operations a weight (Kaplan et al. 2020,
https://arxiv.org/abs/2001.08361). To read and to learn, speed is that of matrix products; to write
a token every weight is fetched from memory, once for all replies that are written together.
"""

from collections.abc import Mapping
from typing import Any

from sartor.core.types import Backbone, Examples
from sartor.data.prepare import Prepared
from sartor.models.precision import Precision
from sartor.search.estimates import Estimate, Range, bundle_size
from sartor.tune.settings import Loop
from sartor.tune.sides import sides_of
from sartor.tune.writing import WRITERS, conversing, longest_reply

_SHARE = (0.15, 0.6)
"""Part of the probed speed of products that reading and learning reach."""
_BYTES_S = (4e9, 20e9)
"""Of memory, a second."""
_LEARNING = 2.0
"""Passes that a step of LoRA takes the time of: forward, and back through frozen weights."""
_LEARNING_ALL = 3.0
"""The same where all weights learn: their gradients are a pass more."""
_TOGETHER = 12
"""Replies that are written together."""
_START = Range(3.0, 15.0)
_EXPORT = Range(5.0, 30.0)
_BASE_MB = Range(500.0, 900.0)
_WRITTEN = Range(8e-6, 16e-6)
"""Megabytes a weight of a model that only writes."""
_LEARNT, _LEARNT_WHOLE = Range(12e-6, 40e-6), Range(20e-6, 40e-6)
"""The same where LoRA learns, and where all weights do."""
_SAMPLE = 64


def price(
    rows: Prepared,
    precision: Precision,
    backbone: Backbone,
    method: str,
    settings: Mapping[str, Any],
) -> Estimate:
    """Predict one candidate, with the export and the replies to the validation rows.

    Args:
        rows: By role.
        precision: Of this machine.
        backbone: That writes.
        method: Name in `WRITERS`.
        settings: Of the candidate.
    """
    cls: Any = WRITERS.get(method)
    if not cls.writes:
        return _looked_up(rows)
    weights = backbone.parameters
    text, reply, most = _tokens(backbone, rows.train)
    # What all conversations begin with is read once a pack, not once a row.
    own = text + reply - len(conversing(backbone).joints.first_user)
    shown = float(settings.get("examples", 0)) * (text + reply)
    read = len(rows.validation) * (2 * (text + shown) + reply)
    if cls.learns:
        epochs = int(settings.get("epochs", Loop().epochs))
        held = len(rows.validation) * Loop().evaluations
        read += epochs * (_LEARNING * len(rows.train) + held) * own
    steps = most * (len(rows.validation) / _TOGETHER + 1)
    more = _LEARNT if cls.learns else _WRITTEN
    return _estimate(precision, weights, 2.0 * weights * read, steps, more)


def price_pairs(
    rows: Prepared,
    precision: Precision,
    backbone: Backbone,
    method: str,
    settings: Mapping[str, Any],
) -> Estimate:
    """The same of an encoder-decoder; half of its weights read, half of them write."""
    cls: Any = WRITERS.get(method)
    if not cls.writes:
        return _looked_up(rows)
    weights, sides = backbone.parameters, sides_of(backbone)
    some = range(0, len(rows.train), max(1, len(rows.train) // _SAMPLE))
    read = [len(sides.said(str(rows.train.texts[row]))) + 1 for row in some]
    written = [len(sides.written(str(rows.train.target[row]))) + 1 for row in some]
    own = (sum(read) + sum(written)) / len(read)
    held, beams = len(rows.validation), int(settings.get("beams", 4))
    tokens = held * (own + beams * sum(written) / len(written))
    if cls.learns:
        epochs = int(settings.get("epochs", Loop().epochs))
        looks = epochs * int(settings.get("evaluations", Loop().evaluations))
        tokens += epochs * _LEARNING_ALL * len(rows.train) * own + looks * held * own
    steps = sides.most_written(max(written)) * (held / _TOGETHER + 1)
    more = _LEARNT_WHOLE if cls.learns else _WRITTEN
    return _estimate(precision, weights, weights * tokens, steps, more)


def _estimate(
    precision: Precision, weights: int, products: float, steps: float, more: Range
) -> Estimate:
    """Of a model that writes.

    Args:
        precision: Of this machine.
        weights: That the model has.
        products: Floating-point operations of all passes.
        steps: In which all that is written is written.
        more: Megabytes a weight.
    """
    passes = products / (max(precision.fp32_gflops, precision.bf16_gflops, 1.0) * 1e9)
    fetched = 4.0 * weights * steps
    seconds = Range(passes / _SHARE[1], passes / _SHARE[0]) + Range(
        fetched / _BYTES_S[1], fetched / _BYTES_S[0]
    )
    memory = _BASE_MB + Range(more.low * weights, more.high * weights)
    return Estimate(seconds + _START + _EXPORT, memory, bundle_size(weights))


def _looked_up(rows: Prepared) -> Estimate:
    size = sum(len(str(t)) for t in (*rows.train.texts, *rows.train.target)) * 1.5 / 1e6
    return Estimate(Range(0.1, 2.0), _BASE_MB, Range(size, 2 * size + 0.01))


def _tokens(backbone: Backbone, train: Examples) -> tuple[float, float, int]:
    """Mean tokens of a text and of a reply, and most of a reply, by a sample of rows."""
    says = conversing(backbone)
    some = range(0, len(train), max(1, len(train) // _SAMPLE))
    joints = len(says.joints.first_user) + len(says.joints.assistant)
    texts = [len(says.said(str(train.texts[row]))) + joints for row in some]
    replies = [says.said(str(train.target[row])) for row in some]
    mean = sum(map(len, replies)) / len(replies)
    return sum(texts) / len(texts), mean + 1, longest_reply(replies, backbone.max_length)
