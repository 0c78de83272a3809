"""Texts in, logits out, by asking: a prompted language model in the place of a graph.

    logits[label] = log((1 - e) / (e / (labels - 1))),  others 0

the logarithm of a smoothed distribution, up to a constant. How sure an answer makes us is settled
on validation rows, by the temperature, as for every other model. A text without a usable answer
has logits of 0: every label is as likely as the next.
"""

import math
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sartor.core.errors import LlmError
from sartor.core.events import Emit, StageDone, StageProgress, StageStarted, silent
from sartor.core.protocols import Floats
from sartor.llm.chat import Chat
from sartor.llm.memory import Memory
from sartor.llm.prompt import Prompt, read_label, repair, schema

SMOOTHING = 0.05
"""Probability that an answer leaves to the other labels, before calibration."""
WORKERS = 4
"""Questions in the air at a time: few enough for a model on the same machine."""

_WAKE_S = 0.2
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Asks:
    """How a prompt is asked.

    Args:
        memory: Where answers are kept and found again; None while serving, which keeps no text.
        emit: Told of progress.
        deadline: `time.monotonic()` after which no further question is put.
    """

    memory: Memory | None = None
    emit: Emit = silent
    deadline: float = math.inf


@dataclass(frozen=True, slots=True)
class Asker:
    """A prompt and the model that it is put to; safe to share between threads."""

    prompt: Prompt
    outputs: tuple[str, ...]
    chat: Chat
    asks: Asks = Asks()

    def logits(self, texts: Sequence[str]) -> Floats:
        """(texts, outputs), in the order of the texts; equal texts are asked about once.

        Raises:
            LlmError: If the model cannot be asked, or the deadline passes.
        """
        labels = self.labels(texts)
        found = np.zeros((len(texts), len(self.outputs)), np.float32)
        sure = math.log((1 - SMOOTHING) * max(len(self.outputs) - 1, 1) / SMOOTHING)
        for row, text in enumerate(texts):
            if (label := labels[text]) is not None:
                found[row, self.outputs.index(label)] = sure
        return found

    def labels(self, texts: Sequence[str]) -> dict[str, str | None]:
        """Text to the label that the model gives it, None where it gave none that could be used."""
        wanted = list(dict.fromkeys(texts))
        found = {text: known[0] for text in wanted if (known := self._recall(text)) is not None}
        missing = [text for text in wanted if text not in found]
        emit, recalled = self.asks.emit, len(found)
        emit(StageStarted("ask", len(wanted), "texts"))
        for text, label in self._ask_all(missing):
            found[text] = label
            emit(StageProgress("ask", len(found), len(wanted)))
        silence = sum(label is None for label in found.values())
        parts = [f"{recalled:,} from memory"] * bool(recalled)
        parts += [f"{silence:,} without a usable answer"] * bool(silence)
        said = f" ({', '.join(parts)})" if parts else ""
        where = f"{self.chat.model} at {self.chat.place}"
        emit(StageDone("ask", f"{len(wanted):,} texts answered by {where}{said}"))
        return found

    def _recall(self, text: str) -> tuple[str | None] | None:
        if self.asks.memory is None:
            return None
        known = self.asks.memory.recall(self.prompt.address(text, self.outputs))
        return known if known is None or known[0] in (None, *self.outputs) else None

    def _ask_all(self, texts: Sequence[str]) -> Iterator[tuple[str, str | None]]:
        """(text, label) as answers come.

        The workers are daemons: what is in the air when a user stops the run is given up with it.
        """
        todo: queue.SimpleQueue[str] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[str, str | None] | LlmError | None] = queue.SimpleQueue()
        stop = threading.Event()
        for text in texts:
            todo.put(text)

        def work() -> None:
            try:
                while not stop.is_set():
                    text = todo.get_nowait()
                    done.put((text, self._ask(text, stop)))
            except queue.Empty:
                pass
            except LlmError as error:
                done.put(error)
            finally:
                done.put(None)

        alive = min(WORKERS, len(texts))
        for _ in range(alive):
            threading.Thread(target=work, name="sartor-ask", daemon=True).start()
        try:
            while alive:
                found = _next(done)
                if found is None:
                    alive -= 1
                elif isinstance(found, LlmError):
                    raise found
                else:
                    yield found
        finally:
            stop.set()

    def _ask(self, text: str, stop: threading.Event) -> str | None:
        if time.monotonic() > self.asks.deadline:
            raise LlmError(
                "The budget ended before every text was asked about.",
                fix="raise budget.minutes and run again: what was answered is kept.",
            )
        messages, form = self.prompt.messages(text), schema(self.outputs)
        said = self.chat.ask(messages, form, stop)
        label = read_label(said, self.outputs)
        if label is None:
            said = self.chat.ask([*messages, *repair(said, self.outputs)], form, stop)
            label = read_label(said, self.outputs)
        if self.asks.memory is not None:
            self.asks.memory.keep(self.prompt.address(text, self.outputs), label)
        return label


def _next(done: queue.SimpleQueue[_T]) -> _T:
    """The next in the queue. A signal may reach another thread: this one wakes to hear of it."""
    while True:
        with suppress(queue.Empty):
            return done.get(timeout=_WAKE_S)
