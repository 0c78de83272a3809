"""Training on the states of a frozen layer: read from the cache, padded into batches."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.core.errors import SettingError
from sartor.core.texts import Text
from sartor.models.packed import Ids, Packed
from sartor.models.passes import Halves
from sartor.models.states import TokenStates
from sartor.tasks._encoder.model import TextClassifier
from sartor.tune.api import ReadsStates
from sartor.tune.batching import Inputs, add_marks, rounded
from sartor.tune.job import Job
from sartor.tune.teaching import Teaches, words_of
from sartor.tune.upper import upper_of

_SHARE, _FEWEST = 0.5, 16


@runtime_checkable
class ReadsSome(Protocol):
    """A method that need not read all tokens of a text in each step."""

    @property
    def token_share(self) -> float | None:
        """Of the tokens; None leaves it to the task."""
        ...


class StateSource(Protocol):
    """Texts to the states of their tokens, through the activation cache."""

    @property
    def max_length(self) -> int:
        """Tokens a text is cut at."""
        ...

    def states(
        self,
        texts: Sequence[Text],
        layer: int,
        separator: int | None = None,
        *,
        passages: bool = False,
    ) -> TokenStates:
        """(tokens, width) of each text, of each row's texts in one sequence, or of documents; to be
        closed."""
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
        states, mask = _padded(self.found.read(rows))
        if self.marks is not None:
            add_marks(mask, self.marks, rows)
        return torch.from_numpy(states), torch.from_numpy(mask)


@dataclass(frozen=True, slots=True)
class SomeStates:
    """Rows of which a batch holds some tokens, in their order, drawn anew each time."""

    states: States
    share: float

    def lengths(self) -> NDArray[np.int64]:
        """As of all tokens: the same rows make a batch, and an epoch has as many steps."""
        return self.states.lengths()

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """As of `States`, of fewer tokens. Drawn by torch's generator, as dropout is."""
        # What is not cached is computed, and what that draws must not change what is drawn here.
        with torch.random.fork_rng(devices=[]):
            read = self.states.found.read(rows)
        states, mask = _padded([self._drawn(one) for one in read])
        return torch.from_numpy(states), torch.from_numpy(mask)

    def _drawn(self, states: Halves) -> Halves:
        tokens = len(states)
        kept = max(math.ceil(self.share * tokens), _FEWEST)
        if kept >= tokens:
            return states
        return states[np.sort(torch.randperm(tokens)[:kept].numpy())]


def _padded(rows: Sequence[Halves]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    longest = rounded(max(len(one) for one in rows))
    states = np.zeros((len(rows), longest, rows[0].shape[1]), np.float32)
    mask = np.zeros((len(rows), longest), np.int64)
    for i, one in enumerate(rows):
        states[i, : len(one)] = one
        mask[i, : len(one)] = 1
    return states, mask


@dataclass(frozen=True, slots=True)
class Trainee:
    """What the loop trains, and what it reads.

    Args:
        model: A classifier, or the upper part of one.
        depth: Its layers up to the highest one that its head reads.
        learnt: Training rows as a step reads them.
        train: Training rows in full.
        held: Validation rows.
        passages: The documents that are its outputs, as a step reads them and in full; None where
            the outputs are no documents.
    """

    model: nn.Module
    depth: int
    learnt: Inputs
    train: Inputs
    held: Inputs
    passages: tuple[Inputs, Inputs] | None = None


@contextmanager
def upper_part(job: Job, model: TextClassifier, source: StateSource) -> Iterator[Trainee]:
    """What is trained in the model's place.

    Args:
        job: Its method says which layer is read.
        model: With the method attached.
        source: The cached encoder of the job's backbone.

    Raises:
        NothingToTune: If the architecture cannot be cut.
        SettingError: If the encoder cuts texts elsewhere than the job, or the method leaves out
            tokens that are answered about or compared.
    """
    method = job.settings.method
    if not isinstance(method, ReadsStates):
        raise TypeError(f"{type(method).__name__} reads states and has no `below`")
    if source.max_length != job.cut:
        raise SettingError(
            f"the encoder cuts texts at {source.max_length} tokens, the tuner at {job.cut}.",
            fix="give both the same max_length: the whole model must read what its upper part did.",
        )
    share = share_read(method, whole=model.by_piece or model.separator is not None)
    below = method.below(model.layers)
    upper = upper_of(model, below)
    with ExitStack() as stack:
        rows, held = (
            States(
                stack.enter_context(source.states(examples.texts, below, model.separator)),
                source.marks(examples.texts) if model.by_piece else None,
            )
            for examples in (job.train, job.validation)
        )
        passages = None
        if isinstance(job.settings.task, Teaches):
            found = source.states(words_of(job), below, passages=True)
            told = States(stack.enter_context(found))
            passages = _some(told, share), told
        yield Trainee(upper, upper.depth, _some(rows, share), rows, held, passages)


def _some(states: States, share: float) -> Inputs:
    return SomeStates(states, share) if share < 1 else states


def share_read(method: object, *, whole: bool) -> float:
    """Of a text's tokens that a step of training reads.

    Args:
        method: Any.
        whole: Whether each token counts: pieces are answered about, or two texts compared.

    Raises:
        SettingError: If the method is told to leave some out where each counts.
    """
    asked = method.token_share if isinstance(method, ReadsSome) else 1.0
    if asked is None:
        return 1.0 if whole else _SHARE
    if whole and asked < 1:
        raise SettingError(
            f"token_share={asked:g}, but each token counts here: the answers are about pieces of a "
            "text, or a row is two texts.",
            fix="leave token_share out, or set it to 1.",
        )
    return asked
