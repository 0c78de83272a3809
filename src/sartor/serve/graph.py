"""A graph and its tokenizer: texts in, logits out.

Texts are sorted by length and cut into batches of a bounded number of tokens, padding included:
a long text then never makes short ones pay for its length, and memory has a bound. Both libraries
release the interpreter's lock while they compute, so one graph may serve several threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tokenizers import Tokenizer

from sartor.bundle import Bundle
from sartor.core.errors import BundleError
from sartor.core.protocols import Floats
from sartor.serve.session import Session

MODEL, TOKENIZER = "model.onnx", "tokenizer.json"
BATCH_TOKENS = 2_048
"""Tokens in one forward pass, padding included; more gains nothing on a CPU and costs cache."""
_PADS = ("[PAD]", "<pad>", "<|pad|>")


def open_graph(bundle: Bundle, threads: int) -> "Graph":
    """The graph of a bundle, ready to run.

    Raises:
        BundleError: If it has none, or ONNX Runtime cannot run it.
    """
    session = Session.open(bundle.path(MODEL), threads)
    prefix = bundle.manifest.preprocess.prefix
    return Graph(session, _tokenizer(bundle), prefix, len(bundle.manifest.outputs))


@dataclass(frozen=True)
class Graph:
    """Safe to share between threads."""

    session: Session
    tokenizer: Tokenizer
    prefix: str
    outputs: int

    def logits(self, texts: Sequence[str]) -> Floats:
        """(texts, outputs), in the order of the texts."""
        encoded = self.tokenizer.encode_batch_fast([self.prefix + text for text in texts])
        tokens = [found.ids for found in encoded]
        result = np.empty((len(texts), self.outputs), np.float32)
        for rows in _batches([len(ids) for ids in tokens]):
            result[rows] = self._forward([tokens[row] for row in rows])
        return result

    def _forward(self, tokens: Sequence[Sequence[int]]) -> Floats:
        longest = max(1, max(map(len, tokens)))
        ids = np.full((len(tokens), longest), self._pad, np.int64)
        mask = np.zeros((len(tokens), longest), np.int64)
        for row, found in enumerate(tokens):
            ids[row, : len(found)] = found
            mask[row, : len(found)] = 1
        return self.session.run(ids, mask)

    @cached_property
    def _pad(self) -> int:
        found = (self.tokenizer.token_to_id(name) for name in _PADS)
        return next((index for index in found if index is not None), 0)


def _tokenizer(bundle: Bundle) -> Tokenizer:
    path = bundle.path(TOKENIZER)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    # tokenizers raises a bare Exception, whatever is wrong with the file.
    except Exception as error:
        raise BundleError(
            f"{path} is not a tokenizer: {error}.",
            fix="build the bundle again with `sartor run`.",
        ) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(bundle.manifest.preprocess.max_length)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows by length, cut where rows × longest would pass the token budget."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or (len(batches[-1]) + 1) * lengths[row] > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches
