"""A bundle that writes replies, in process: ONNX Runtime, tokenizers and numpy.

`Writer` runs a language model, `LookedUp` finds the reply of the nearest text; both are a `Model`
of the runtime, whose rows are replies in numbers (see `core.replies`), and both reply to a
conversation piece by piece.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from sartor.bundle import Bundle
from sartor.core.errors import RequestError
from sartor.core.protocols import Floats
from sartor.core.replies import Said, as_numbers
from sartor.llm import nearest, written
from sartor.llm.conversation import Message, NoConversation, conversation_of
from sartor.llm.nearest import Nearest
from sartor.llm.written import Asked, WriterFile
from sartor.serve.decoding import DecoderSession, Kept
from sartor.serve.reading import opened
from sartor.serve.sampling import GREEDY, Chooser, Sampling, before_stop, settled

MODEL = "model.onnx"
BATCH_ROWS = 8
_BATCH_TOKENS = 4_096
_WORTH = 8
"""Tokens from which what conversations begin with is kept."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a reply.

    Args:
        text: To be put behind what came before.
        finish: "stop" or "length" with the last piece, else None.
        prompt_tokens: Of the conversation as the model read it.
        tokens: Of the reply so far, the one that ends it included.
        log_p: Mean ln p of these.
    """

    text: str
    finish: str | None
    prompt_tokens: int
    tokens: int
    log_p: float


class Writes(Protocol):
    """A model that writes."""

    def logits(self, texts: Sequence[Any]) -> Floats:
        """What it writes in numbers, in the order of the texts."""
        ...

    def scored(self, texts: Sequence[Any], right: Sequence[str]) -> Floats:
        """The same, with how likely the right ones are."""
        ...


class Replies(Writes, Protocol):
    """A model that replies to conversations."""

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        """A reply as it is written."""
        ...


def open_writer(bundle: Bundle, threads: int) -> Replies:
    """The model of a bundle that writes.

    Raises:
        BundleError: If a file is not of its form, or ONNX Runtime cannot run the graph.
    """
    if nearest.FILE in bundle.manifest.files:
        return LookedUp(nearest.read_replies(bundle.path(nearest.FILE)))
    file = written.read_writer(bundle.path(written.FILE))
    shape = (file.heads, file.size)
    session = DecoderSession.open(bundle.path(MODEL), threads, file.layers, shape)
    tokenizer = opened(bundle)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return Writer(file, session, tokenizer)


@dataclass(frozen=True)
class LookedUp:
    """Replies that were given before."""

    index: Nearest

    def logits(self, texts: Sequence[Any]) -> Floats:
        return as_numbers([self.index.find(str(text)) for text in texts])

    def scored(self, texts: Sequence[Any], right: Sequence[str]) -> Floats:
        return self.logits(texts)

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        found = self.index.find(messages[-1].content)
        text, _ = before_stop(found.text, sampling.stop)
        yield Piece(text, "stop", 0, 0, found.log_p)


@dataclass
class _Row:
    """A reply while it is written."""

    chooser: Chooser
    ids: list[int] = field(default_factory=list[int])
    log_p: float = 0.0
    finish: str | None = None
    closed: bool = False
    """Whether the model ended it, with a token of its own."""

    @property
    def tokens(self) -> int:
        return len(self.ids) + self.closed

    @property
    def mean(self) -> float:
        """ln p of a token."""
        return self.log_p / max(self.tokens, 1)


@dataclass(frozen=True)
class Writer:
    """Safe to share between threads.

    Args:
        file: How conversations are read, and when a reply ends.
        session: Runs the graph.
        tokenizer: Knows no control token.
    """

    file: WriterFile
    session: DecoderSession
    tokenizer: Tokenizer
    _lock: Any = field(default_factory=Lock)

    def logits(self, texts: Sequence[Any]) -> Floats:
        return as_numbers(self._said([str(text) for text in texts]))

    def scored(self, texts: Sequence[Any], right: Sequence[str]) -> Floats:
        said = self._said([str(text) for text in texts])
        likely = [self._likely(str(text), reply) for text, reply in zip(texts, right, strict=True)]
        pairs = zip(said, likely, strict=True)
        whole = [replace(each, right_log_p=p, right_tokens=n) for each, (p, n) in pairs]
        return as_numbers(whole)

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        asked, most = self._asked(messages, sampling.most)
        row, sent = _Row(Chooser(sampling)), ""
        for _ in self._steps([asked.ids], [row], most):
            text, ended = before_stop(self._text(row.ids), sampling.stop)
            if ended:
                row.finish = "stop"
            sure = text if row.finish else settled(text, sampling.stop)
            if row.finish or len(sure) > len(sent):
                new = sure[len(sent) :]
                yield Piece(new, row.finish, len(asked.ids), row.tokens, row.mean)
                sent = sure
            if ended:
                return

    def _said(self, texts: Sequence[str]) -> list[Said]:
        asked = [self._asked(_conversation(text), None) for text in texts]
        found: dict[int, Said] = {}
        for rows in batches([len(each.ids) for each, _ in asked]):
            made = [_Row(Chooser(GREEDY)) for _ in rows]
            most = max(asked[row][1] for row in rows)
            for _ in self._steps([asked[row][0].ids for row in rows], made, most):
                pass
            for row, one in zip(rows, made, strict=True):
                said = self._text(one.ids)
                found[row] = Said(said, one.mean, one.tokens, one.closed)
        return [found[row] for row in range(len(texts))]

    def _steps(
        self, prompts: Sequence[Sequence[int]], rows: Sequence[_Row], most: int
    ) -> Iterator[None]:
        """Write a token of every row that has not ended, and stop where all have."""
        kept, tokens = self._begun(prompts)
        for step in range(most):
            logits, kept = self.session.read(kept, tokens)
            for row, one in enumerate(rows):
                if one.finish is None:
                    self._write(one, logits[row, -1], last=step == most - 1)
            yield
            if all(one.finish for one in rows):
                return
            # A row that has ended goes on reading its last token, which nobody looks at.
            tokens = [[one.ids[-1] if one.ids else self.file.stop[0]] for one in rows]

    def _write(self, row: _Row, logits: Any, *, last: bool) -> None:
        token, log_p = row.chooser.choose(logits)
        row.log_p += log_p
        if token in self.file.stop:
            row.finish, row.closed = "stop", True
            return
        row.ids.append(token)
        if last:
            row.finish = "length"

    def _likely(self, text: str, reply: str) -> tuple[float, int]:
        """ln p of a reply, and its tokens, the closing one included."""
        asked, _ = self._asked(_conversation(text), None)
        room = self.file.context - len(asked.ids)
        ids = [*self._ids(reply)[:room], self.file.stop[0]]
        kept, ((*rest,),) = self._begun([asked.ids])
        given = [*rest, *ids[:-1]]
        places = range(len(rest) - 1, len(given))
        logits, _ = self.session.read(kept, [given], list(places))
        wide = logits[0].astype(np.float64)
        top = wide.max(1)
        log_p = wide[np.arange(len(ids)), ids] - top - np.log(np.exp(wide - top[:, None]).sum(1))
        return float(log_p.sum()), len(ids)

    def _begun(self, prompts: Sequence[Sequence[int]]) -> tuple[Kept, list[Sequence[int]]]:
        """What all prompts begin with, where it is kept, and the rest of each."""
        start = self._start
        common = len(start) >= _WORTH and all(
            len(prompt) > len(start) and tuple(prompt[: len(start)]) == start for prompt in prompts
        )
        if not common:
            return self.session.nothing(len(prompts)), list(prompts)
        kept = self.session.repeated(self._read_start, len(prompts))
        return kept, [prompt[len(start) :] for prompt in prompts]

    @cached_property
    def _start(self) -> tuple[int, ...]:
        """What stands before the text of most conversations."""
        return written.before_text(self.file)

    @cached_property
    def _read_start(self) -> Kept:
        with self._lock:
            return self.session.read(self.session.nothing(1), [self._start])[1]

    def _asked(self, messages: Sequence[Message], most: int | None) -> tuple[Asked, int]:
        """A conversation as the model reads it, and the tokens that its reply may have."""
        file = self.file
        limit = min(most or file.max_new_tokens, file.context // 2)
        room = file.context - max(limit, file.max_new_tokens)
        return written.asked(file, messages, self._ids, room), limit

    def _ids(self, text: str) -> Sequence[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _text(self, ids: Sequence[int]) -> str:
        silent = self._silent
        return self.tokenizer.decode([token for token in ids if token not in silent])

    @cached_property
    def _silent(self) -> frozenset[int]:
        return frozenset(self.file.silent)


def _conversation(text: str) -> tuple[Message, ...]:
    """A row's messages.

    Raises:
        RequestError: 422 where they cannot be replied to.
    """
    try:
        return conversation_of(text)
    except NoConversation as error:
        raise RequestError(f"{error.what}.", fix=f"{error.fix}.", status=422) from None


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows by length, a bounded number of them and of their tokens."""
    found: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = found and (
            len(found[-1]) >= BATCH_ROWS or (len(found[-1]) + 1) * lengths[row] > _BATCH_TOKENS
        )
        if not found or full:
            found.append([])
        found[-1].append(row)
    return found
