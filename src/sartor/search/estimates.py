"""What a rung will cost, before it runs: time, memory and size as ranges.

A transformer's forward pass takes about 2 · 12 · layers · width² floating-point operations a token
(Kaplan et al. 2020, https://arxiv.org/abs/2001.08361); a training step about three times that.
The machine's speed is probed, the share of it that real batches reach is the range.
"""

import math
from dataclasses import dataclass

from sartor.core.types import Backbone

_SHARE = (0.2, 0.65)
"""Part of the probed matrix speed that encoding and training were seen to reach."""
_START = {"activations": (1.0, 6.0), "states": (4.0, 15.0), "tokens": (4.0, 15.0)}
"""Seconds before the first step: loading, tokenising, fitting a grid of heads."""
_EXPORT = (10.0, 45.0)
"""Seconds to export, quantise and compare."""
_EXPORT_DECODER = (2.0, 6.0)
"""Seconds a layer that the export of a decoder takes beyond that."""
SMALLEST_MB = 0.8e-6
"""MB a weight in the smallest artefact: int8 keeps a byte of each that it ships."""
_LARGEST_MB = 4.2e-6
"""MB a weight in the largest: float32, and the tokenizer's vocabulary."""
_ANSWER = (0.05, 2.5)
"""Seconds a request, with several in the air: a fast service, and a small model on this machine."""
_CHARS_A_TOKEN = 4.0
_BASE_MB = (500.0, 900.0)
"""Resident memory of the libraries alone."""


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`, both likely to be wrong in the same direction on one machine."""

    low: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.high + other.high)

    def times(self, count: int) -> "Range":
        """So often one after another."""
        return Range(self.low * count, self.high * count)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Predicted cost of a rung.

    Args:
        seconds: Wall time.
        memory_mb: At the peak; mapped pages of the caches aside.
        size_mb: Of the bundle.
        disk_mb: That the token states it reads take in their cache.
        requests: To a language model; those that are answered already are not counted.
        tokens: That these requests send, roughly.
    """

    seconds: Range
    memory_mb: Range
    size_mb: Range
    disk_mb: float = 0.0
    requests: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """How much there is to compute.

    Args:
        train_tokens: In the training rows, one pass.
        validation_tokens: In the validation rows.
        uncached_tokens: Not yet in the cache that is read, all splits.
        gflops: Probed speed of matrix products at the precision that will be used.
        text_tokens: In one text, on average; 0 where unknown.
        room: Bytes that the cache of token states may hold.
        passage_tokens: In the documents that are the outputs, where they are documents.
        told_tokens: Of documents that a pass over the training rows is told by.
    """

    train_tokens: int
    validation_tokens: int
    uncached_tokens: int
    gflops: float
    text_tokens: float = 0.0
    room: float = math.inf
    passage_tokens: int = 0
    told_tokens: int = 0


def estimate(
    backbone: Backbone, reads: str, epochs: float, work: Work, *, frozen: int = 0
) -> Estimate:
    """Predict one candidate.

    Args:
        backbone: Gives depth, width and the number of weights.
        reads: "activations", "states" or "tokens" (see `tune.api.Method`).
        epochs: Passes over the training rows, for methods that go through the loop.
        work: Tokens and the machine's speed.
        frozen: Layers whose states are read, for methods that read states.
    """
    layer = 12 * backbone.width**2
    weights, below = backbone.parameters, frozen / max(backbone.layers, 1)
    learnt = work.train_tokens + work.told_tokens
    read = work.validation_tokens + work.passage_tokens
    trained = 3.0 * learnt + 2.0 * read
    disk = 0.0
    if reads == "activations":
        passes, memory = float(work.uncached_tokens), Range(4e-6 * weights, 8e-6 * weights)
    elif reads == "states":
        held = 2.0 * backbone.width * (work.train_tokens + read)
        again = max(0.0, 1 - work.room / max(held, 1.0))
        disk = min(held, work.room) / 1e6
        # What is cached is encoded once; what there is no room for, whenever it is read.
        encoded = (1 - again) * work.uncached_tokens + again * epochs * (learnt + 2.0 * read)
        passes = below * encoded + (1 - below) * epochs * trained
        opened = layer * (backbone.layers - frozen)
        # The whole model, the lower layers once more, and moments and gradients of what is open.
        memory = Range(8e-6 * weights + 12e-6 * opened, 12e-6 * weights + 36e-6 * opened)
    else:
        passes, memory = epochs * trained, Range(16e-6 * weights, 40e-6 * weights)
    forward = 2 * layer * backbone.layers / (work.gflops * 1e9)
    compute = Range(passes * forward / _SHARE[1], passes * forward / _SHARE[0])
    return Estimate(
        seconds=compute + Range(*_START[reads]),
        memory_mb=Range(*_BASE_MB) + memory,
        size_mb=bundle_size(weights),
        disk_mb=disk,
    )


def asking(requests: int, chars: int, prompt_bytes: int) -> Estimate:
    """Predict what asking a language model takes.

    Args:
        requests: Texts that it has not been asked about.
        chars: That these requests send.
        prompt_bytes: Of what ships.
    """
    size = prompt_bytes / 1e6
    return Estimate(
        seconds=Range(_ANSWER[0] * requests, _ANSWER[1] * requests),
        memory_mb=Range(*_BASE_MB),
        size_mb=Range(size, size + 0.1),
        requests=requests,
        tokens=round(chars / _CHARS_A_TOKEN),
    )


@dataclass(frozen=True, slots=True)
class Prompted:
    """What a language model on this machine takes.

    Args:
        rung: Of all validation texts.
        text_seconds: Of one text of average length.
    """

    rung: Estimate
    text_seconds: Range


def prompting(backbone: Backbone, prompt: tuple[int, int], texts: int, work: Work) -> Prompted:
    """Predict what a language model takes that runs here.

    Args:
        backbone: The model.
        prompt: Tokens before a text, which are read once, and behind it.
        texts: To answer.
        work: Tokens of a text and the machine's speed.
    """
    before, behind = prompt
    # Every token of a text looks at the whole prompt: two products of its width in each layer.
    operations = backbone.layers * (24 * backbone.width**2 + 4 * backbone.width * before)
    seconds = (work.text_tokens + behind) * operations / (work.gflops * 1e9)
    each = Range(seconds / _SHARE[1], seconds / _SHARE[0])
    once = before * 24 * backbone.layers * backbone.width**2 / (work.gflops * 1e9)
    start = Range(*_START["tokens"]) + Range(once / _SHARE[1], once / _SHARE[0])
    low, high = (layer * backbone.layers for layer in _EXPORT_DECODER)
    kept = 8e-6 * backbone.layers * backbone.width * before
    size = bundle_size(backbone.parameters)
    weights = backbone.parameters
    return Prompted(
        Estimate(
            seconds=start + Range(low + texts * each.low, high + texts * each.high),
            # Held once to answer, and a few times over while it is exported.
            memory_mb=Range(*_BASE_MB) + Range(8e-6 * weights, 24e-6 * weights),
            size_mb=Range(size.low, size.high + kept),
        ),
        each,
    )


def bundle_size(weights: int) -> Range:
    """MB of a bundle, from the smallest artefact to the largest."""
    return Range(weights * SMALLEST_MB, weights * _LARGEST_MB)


def finishing() -> Range:
    """Seconds for export, compression and parity, once a run."""
    return Range(*_EXPORT)
