"""Rows whose context is longer than the model reads, as the windows that are read of them.

Training, its validation and the logits that it leaves go by the windows that serving reads
(`core.windows`): a window that does not hold the answer has none, and the logits of a row are those
of its windows together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sartor.core.pieces import Place, pieces
from sartor.core.protocols import Floats
from sartor.core.ragged import widened
from sartor.core.spans import Passage
from sartor.core.texts import Text, parts_of
from sartor.core.types import Examples
from sartor.core.windows import LEAD, MOST_OF_CONTEXT, Room, Window, joined, stride_of
from sartor.models.loading import tokenizer_of
from sartor.models.packed import printable
from sartor.tasks._encoder.one_text import OneText
from sartor.tune.frozen import ClosedFit
from sartor.tune.job import Job, Result


def room_of(tokenizer: Tokenizer, prefix: str, cut: int) -> Room:
    """What a model reads of a question and a context.

    Args:
        tokenizer: Of the model; left without a cut.
        prefix: Put before every text.
        cut: Tokens of a sequence.
    """
    tokenizer.no_truncation()
    around = len(tokenizer.encode(prefix, prefix).ids)

    def offsets(text: str) -> Sequence[Place]:
        return tokenizer.encode(printable(text), add_special_tokens=False).offsets

    return Room(offsets, max(1, cut - around), stride_of(cut), MOST_OF_CONTEXT)


@dataclass(frozen=True, slots=True)
class Windowed:
    """Rows and their windows.

    Args:
        windows: Of all rows, one row after the other.
        counts: (rows,) pieces of each row's context.
    """

    windows: Sequence[Window]
    counts: NDArray[np.int64]

    @staticmethod
    def of(texts: Sequence[Text], room: Room) -> "Windowed":
        """
        Args:
            texts: A question and a context each.
            room: See `room_of`.
        """
        rows = [parts_of(text) for text in texts]
        found = [
            window
            for row, (question, context) in enumerate(rows)
            for window in room.windows(row, question, context)
        ]
        return Windowed(found, np.array([len(pieces(row[-1])) for row in rows], np.int64))

    @property
    def texts(self) -> list[Text]:
        """What the model reads of each window."""
        return [window.texts for window in self.windows]

    def examples(self, whole: Examples) -> Examples:
        """The windows as rows, each with the answers that it holds.

        Args:
            whole: The rows, with their right answers.
        """
        sides = zip(*(window.texts for window in self.windows), strict=True)
        return Examples(
            ids=tuple(f"{whole.ids[w.row]}/{w.first}" for w in self.windows),
            inputs=dict(zip(whole.inputs, map(tuple, sides), strict=True)),
            target=tuple(_inside(window, whole.target[window.row]) for window in self.windows),
        )

    def joined(self, logits: Floats) -> Floats:
        """(rows, places, 2) of (windows, places, 2); NaN in rows of which a window is."""
        read = [LEAD + window.count for window in self.windows]
        parts = [one[:count] for one, count in zip(logits, read, strict=True)]
        found = joined(self.windows, parts, len(self.counts), LEAD)
        for window, part in zip(self.windows, parts, strict=True):
            if np.isnan(part).any():
                found[window.row] = np.nan
        return widened(found, LEAD + int(self.counts.max(initial=0)))


@dataclass(frozen=True, slots=True)
class Reading:
    """A job as its task reads it.

    Args:
        job: Its rows are windows, where they are read so.
        train: Of the training rows; None where every row is read as one.
        held: Of the validation rows.
    """

    job: Job
    train: Windowed | None = None
    held: Windowed | None = None

    @staticmethod
    def of(job: Job) -> "Reading":
        task = job.settings.task
        if not (isinstance(task, OneText) and task.windowed):
            return Reading(job)
        room = room_of(tokenizer_of(job.backbone), job.backbone.prefix, job.cut)
        train, held = (Windowed.of(rows.texts, room) for rows in (job.train, job.validation))
        read = replace(
            job, train=train.examples(job.train), validation=held.examples(job.validation)
        )
        return Reading(read, train, held)

    def result(self, found: Result) -> Result:
        """What a fit of the windows leaves, of the rows."""
        return replace(found, **self._logits(found.train_logits, found.validation_logits))

    def fit(self, found: ClosedFit) -> ClosedFit:
        """As `result`."""
        return replace(found, **self._logits(found.train_logits, found.validation_logits))

    def _logits(self, train: Floats, held: Floats) -> dict[str, Floats]:
        if self.train is None or self.held is None:
            return {}
        return {
            "train_logits": self.train.joined(train),
            "validation_logits": self.held.joined(held),
        }


def _inside(window: Window, answers: Sequence[Passage]) -> tuple[Passage, ...]:
    end = window.start + len(window.texts[1])
    return tuple(
        Passage(answer.start - window.start, answer.end - window.start, answer.text)
        for answer in answers
        if window.start <= answer.start and answer.end <= end
    )
