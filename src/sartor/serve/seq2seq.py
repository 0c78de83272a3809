# pyright: basic
# ONNX Runtime ships no types; this file is the border.
"""An encoder-decoder's two graphs: a text is read once, then written step by step.

What the decoder asks of the text, keys and values of every layer, the encoder makes once. All rows
of a batch begin alike and grow by a token at a time, so nothing written is ever filled up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sartor.core.errors import BundleError
from sartor.core.protocols import Floats
from sartor.serve.session import inference

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Read:
    """What was read, and keys and values of what was written so far.

    Args:
        mask: (rows, tokens) of the texts, 1 for a token and 0 for filling.
        asked: Keys and values that the decoder asks of the texts.
        written: Those of what was written.
    """

    mask: Ids
    asked: tuple[Any, ...]
    written: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Seq2SeqSession:
    """Safe to share between threads."""

    _encoder: Any
    _decoder: Any
    names: tuple[str, ...]
    """Of keys and values, layer by layer."""
    shape: tuple[int, int]
    """Heads and size of keys and values."""

    @staticmethod
    def open(
        encoder: Path, decoder: Path, threads: int, layers: int, shape: tuple[int, int]
    ) -> "Seq2SeqSession":
        """
        Args:
            encoder: Its graph.
            decoder: Its graph.
            threads: Of one pass.
            layers: Of the decoder.
            shape: Heads and size of keys and values.

        Raises:
            BundleError: If ONNX Runtime cannot run a file, or it has other inputs.
        """
        names = tuple(f"{which}.{layer}" for layer in range(layers) for which in ("key", "value"))
        asked, past, present = (
            {f"{when}_{name}" for name in names} for when in ("cross", "past", "present")
        )
        wanted = (
            (encoder, {"input_ids", "attention_mask"}, asked),
            (decoder, {"input_ids", "source_mask", "keep"} | asked | past, {"logits"} | present),
        )
        found: list[ort.InferenceSession] = []
        for path, given, made in wanted:
            session = inference(path, threads)
            ours = (
                {each.name for each in session.get_inputs()},
                {each.name for each in session.get_outputs()},
            )
            if ours != (given, made):
                raise BundleError(
                    f"{path} is not the graph that translator.json describes.",
                    fix="build the bundle again with `sartor run`.",
                )
            found.append(session)
        return Seq2SeqSession(found[0], found[1], names, shape)

    def read(self, texts: Sequence[Sequence[int]], pad: int) -> Read:
        """Read texts, as token ids; shorter ones are filled up behind."""
        width = max(map(len, texts))
        ids = np.full((len(texts), width), pad, np.int64)
        mask = np.zeros((len(texts), width), np.int64)
        for row, found in enumerate(texts):
            ids[row, : len(found)] = found
            mask[row, : len(found)] = 1
        wanted = [f"cross_{name}" for name in self.names]
        asked = self._encoder.run(wanted, {"input_ids": ids, "attention_mask": mask})
        empty = np.zeros((len(texts), self.shape[0], 0, self.shape[1]), np.float32)
        written = (_value(empty),) * len(self.names)
        return Read(mask, tuple(map(_value, asked)), written)

    def repeated(self, read: Read, times: int) -> Read:
        """Every text as many times, side by side."""
        if times == 1:
            return read
        asked, written = (
            tuple(_value(np.repeat(each.numpy(), times, 0)) for each in values)
            for values in (read.asked, read.written)
        )
        return Read(np.repeat(read.mask, times, 0), asked, written)

    def follow(self, read: Read, parents: Ids) -> Read:
        """What was written, by which row each row goes on from; the texts are the same."""
        if (parents == np.arange(len(parents))).all():
            return read
        written = tuple(_value(each.numpy()[parents]) for each in read.written)
        return Read(read.mask, read.asked, written)

    def write(self, read: Read, tokens: Ids, keep: Sequence[int] = (-1,)) -> tuple[Floats, Read]:
        """Write on.

        Args:
            read: What stands before.
            tokens: (rows, new) ids, as many in every row.
            keep: Places among the new ones after which logits are wanted.

        Returns:
            (rows, places, vocabulary) logits, and what stands before what comes next.
        """
        given = {
            "input_ids": _value(tokens.astype(np.int64)),
            "source_mask": _value(read.mask),
            "keep": _value(np.array(keep, np.int64)),
        }
        for when, values in (("cross", read.asked), ("past", read.written)):
            names = (f"{when}_{name}" for name in self.names)
            given |= dict(zip(names, values, strict=True))
        wanted = ["logits", *(f"present_{name}" for name in self.names)]
        logits, *written = self._decoder.run_with_ort_values(wanted, given)
        return np.asarray(logits.numpy(), np.float32), Read(read.mask, read.asked, tuple(written))


def _value(array: Any) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
