"""Training on the states of a frozen layer: read from the cache, padded into batches."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sartor.core.errors import SettingError
from sartor.core.texts import Text
from sartor.models.packed import Ids, Packed
from sartor.models.states import TokenStates
from sartor.tasks._encoder.model import TextClassifier
from sartor.tune.api import ReadsStates
from sartor.tune.batching import add_marks, rounded
from sartor.tune.job import Job
from sartor.tune.upper import Upper


class StateSource(Protocol):
    """Texts to the states of their tokens, through the activation cache."""

    @property
    def max_length(self) -> int:
        """Tokens a text is cut at."""
        ...

    def states(
        self, texts: Sequence[Text], layer: int, separator: int | None = None
    ) -> TokenStates:
        """(tokens, width) of each text, or of each row's texts in one sequence; to be closed."""
        ...

    def marks(self, texts: Sequence[Text]) -> Packed:
        """How many pieces of each text are read at each of its tokens."""
        ...


@dataclass(frozen=True, slots=True)
class States:
    """Rows as token states; the loop's `Inputs`."""

    found: TokenStates
    marks: Sequence[Ids] | None = None
    """As of `batching.Tokens`."""

    def lengths(self) -> NDArray[np.int64]:
        return self.found.lengths()

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """States (rows, longest rounded up, width), float32, and the attention mask, int64."""
        read = self.found.read(rows)
        longest = rounded(max(len(one) for one in read))
        states = np.zeros((len(read), longest, read[0].shape[1]), np.float32)
        mask = np.zeros((len(read), longest), np.int64)
        for i, one in enumerate(read):
            states[i, : len(one)] = one
            mask[i, : len(one)] = 1
        if self.marks is not None:
            add_marks(mask, self.marks, rows)
        return torch.from_numpy(states), torch.from_numpy(mask)


@contextmanager
def upper_part(
    job: Job, model: TextClassifier, source: StateSource
) -> Iterator[tuple[Upper, tuple[States, States]]]:
    """What is trained in the model's place, and what it reads: training and validation rows.

    Args:
        job: Its method says which layer is read.
        model: With the method attached.
        source: The cached encoder of the job's backbone.

    Raises:
        NothingToTune: If the architecture cannot be cut.
        SettingError: If the encoder cuts texts elsewhere than the job.
    """
    method = job.settings.method
    if not isinstance(method, ReadsStates):
        raise TypeError(f"{type(method).__name__} reads states and has no `below`")
    if source.max_length != job.cut:
        raise SettingError(
            f"the encoder cuts texts at {source.max_length} tokens, the tuner at {job.cut}.",
            fix="give both the same max_length: the whole model must read what its upper part did.",
        )
    below = method.below(model.layers)
    upper = Upper(model, below)
    with ExitStack() as stack:
        rows, held = (
            States(
                stack.enter_context(source.states(examples.texts, below, model.separator)),
                source.marks(examples.texts) if model.by_piece else None,
            )
            for examples in (job.train, job.validation)
        )
        yield upper, (rows, held)
