"""What a rung will cost, before it runs: time, memory and size as ranges.

A transformer's forward pass takes about 2 · 12 · layers · width² floating-point operations a token
(Kaplan et al. 2020, https://arxiv.org/abs/2001.08361); a training step about three times that.
The machine's speed is probed, the share of it that real batches reach is the range.
"""

from dataclasses import dataclass

from sartor.core.types import Backbone

_SHARE = (0.2, 0.65)
"""Part of the probed matrix speed that encoding and training were seen to reach."""
_START = {"activations": (1.0, 6.0), "tokens": (4.0, 15.0)}
"""Seconds before the first step: loading, tokenising, fitting a grid of heads."""
_EXPORT = (10.0, 45.0)
"""Seconds to export, quantise and compare."""
SMALLEST_MB = 0.8e-6
"""MB a weight in the smallest artefact: int8 keeps a byte of each that it ships."""
_LARGEST_MB = 4.2e-6
"""MB a weight in the largest: float32, and the tokenizer's vocabulary."""
_BASE_MB = (500.0, 900.0)
"""Resident memory of the libraries alone."""


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`, both likely to be wrong in the same direction on one machine."""

    low: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.high + other.high)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Predicted cost of a rung: seconds, MB of memory at the peak, MB of the bundle."""

    seconds: Range
    memory_mb: Range
    size_mb: Range


@dataclass(frozen=True, slots=True)
class Work:
    """How much there is to compute.

    Args:
        train_tokens: In the training rows, one pass.
        validation_tokens: In the validation rows.
        uncached_tokens: Not yet in the activation cache, all splits.
        gflops: Probed speed of matrix products at the precision that will be used.
        text_tokens: In one text, on average; 0 where unknown.
    """

    train_tokens: int
    validation_tokens: int
    uncached_tokens: int
    gflops: float
    text_tokens: float = 0.0


def estimate(backbone: Backbone, reads: str, epochs: int, work: Work) -> Estimate:
    """Predict one candidate.

    Args:
        backbone: Gives depth, width and the number of weights.
        reads: "activations" or "tokens" (see `tune.api.Method`).
        epochs: Passes over the training rows, for methods that read tokens.
        work: Tokens and the machine's speed.
    """
    blocks = 12 * backbone.layers * backbone.width**2
    forward = 2 * blocks / (work.gflops * 1e9)
    if reads == "activations":
        passes, memory = float(work.uncached_tokens), Range(4e-6, 8e-6)
    else:
        passes = epochs * (3.0 * work.train_tokens + 2.0 * work.validation_tokens)
        memory = Range(16e-6, 40e-6)
    compute = Range(passes * forward / _SHARE[1], passes * forward / _SHARE[0])
    start = Range(*_START[reads])
    weights = backbone.parameters
    return Estimate(
        seconds=compute + start,
        memory_mb=Range(*_BASE_MB) + Range(weights * memory.low, weights * memory.high),
        size_mb=Range(weights * SMALLEST_MB, weights * _LARGEST_MB),
    )


def finishing() -> Range:
    """Seconds for export, compression and parity, once a run."""
    return Range(*_EXPORT)
