"""A bundle that translates or sums up, in process: ONNX Runtime, tokenizers and numpy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from sartor.bundle import Bundle
from sartor.core.protocols import Floats
from sartor.core.replies import Said, as_numbers
from sartor.core.types import TARGET_TOKENIZER
from sartor.llm import translated
from sartor.llm.translated import TranslatorFile
from sartor.serve.beams import Beams, Ended
from sartor.serve.reading import opened
from sartor.serve.seq2seq import Seq2SeqSession
from sartor.serve.writer import MODEL, batches


@dataclass(frozen=True)
class Translator:
    """Safe to share between threads; its rows are texts in numbers (see `core.replies`).

    Args:
        file: How texts are read, and when what is written ends.
        session: Runs the graphs.
        tokenizer: Of what is read; knows no control token.
        writer: Of what is written; the same where one does both.
    """

    file: TranslatorFile
    session: Seq2SeqSession
    tokenizer: Tokenizer
    writer: Tokenizer

    def logits(self, texts: Sequence[Any]) -> Floats:
        return as_numbers(self._said([str(text) for text in texts]))

    def scored(self, texts: Sequence[Any], right: Sequence[str]) -> Floats:
        """The same, with how likely the right ones are."""
        said = self._said([str(text) for text in texts])
        likely = [self._likely(str(text), one) for text, one in zip(texts, right, strict=True)]
        pairs = zip(said, likely, strict=True)
        whole = [replace(each, right_log_p=p, right_tokens=n) for each, (p, n) in pairs]
        return as_numbers(whole)

    def written(self, texts: Sequence[str]) -> list[Ended]:
        """What is written of each text, as token ids."""
        sources = [self.file.read(self._ids(text)) for text in texts]
        found: dict[int, Ended] = {}
        # Every beam is a row of its own in the decoder.
        for rows in batches([len(ids) * self.file.beams for ids in sources]):
            made = self._written([sources[row] for row in rows])
            found.update(zip(rows, made, strict=True))
        return [found[row] for row in range(len(texts))]

    def _said(self, texts: Sequence[str]) -> list[Said]:
        return [
            Said(self._text(each.ids), each.log_p / max(each.tokens, 1), each.tokens, each.closed)
            for each in self.written(texts)
        ]

    def _written(self, sources: Sequence[Sequence[int]]) -> list[Ended]:
        file, rows = self.file, len(sources)
        beams = Beams(
            rows,
            file.beams,
            file.max_new_tokens,
            file.length_penalty,
            file.stop,
            file.silent,
        )
        read = self.session.repeated(self.session.read(sources, file.pad), file.beams)
        tokens = np.array([file.opening] * (rows * file.beams), np.int64)
        while not beams.done:
            logits, read = self.session.write(read, tokens)
            chosen, parents = beams.step(logits[:, -1])
            read, tokens = self.session.follow(read, parents), chosen[:, None]
        return beams.ended()

    def _likely(self, text: str, right: str) -> tuple[float, int]:
        """ln p of what is right, and its tokens, the closing one included."""
        file = self.file
        found = self.writer.encode(right, add_special_tokens=False).ids
        ids = [*found[: file.max_new_tokens - 1], file.stop[0]]
        read = self.session.read([file.read(self._ids(text))], file.pad)
        given = [*file.opening, *ids[:-1]]
        places = range(len(file.opening) - 1, len(given))
        logits, _ = self.session.write(read, np.array([given], np.int64), list(places))
        wide = logits[0].astype(np.float64)
        top = wide.max(1)
        log_p = wide[np.arange(len(ids)), ids] - top - np.log(np.exp(wide - top[:, None]).sum(1))
        return float(log_p.sum()), len(ids)

    def _ids(self, text: str) -> Sequence[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _text(self, ids: Sequence[int]) -> str:
        return self.writer.decode([token for token in ids if token not in self._silent])

    @cached_property
    def _silent(self) -> frozenset[int]:
        return frozenset(self.file.silent)


def open_translator(bundle: Bundle, threads: int) -> Translator:
    """The model of a bundle that holds an encoder-decoder.

    Raises:
        BundleError: If a file is not of its form, or ONNX Runtime cannot run a graph.
    """
    file = translated.read_translator(bundle.path(translated.FILE))
    paths = (bundle.path(translated.ENCODER), bundle.path(MODEL))
    session = Seq2SeqSession.open(*paths, threads, file.layers, (file.heads, file.size))
    tokenizer = _whole(opened(bundle))
    writer = _whole(opened(bundle, TARGET_TOKENIZER)) if file.apart else tokenizer
    return Translator(file, session, tokenizer, writer)


def _whole(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, which pads and cuts nothing."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
