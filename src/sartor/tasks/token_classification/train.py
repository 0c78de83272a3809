"""The training half of labelled parts: settings of the head, weights of tags, the loss.

L = mean over pieces of  −w[y_t] · log softmax(z_t)[y_t]

A piece is read at its first token; special tokens, padding and the further tokens of a piece have
no part in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
from annotated_types import Ge, Gt, Le, Len
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.core.likelihood import NO_PIECE
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.tasks import TRAINERS
from sartor.tasks._encoder.model import load
from sartor.tasks._encoder.one_text import OneText

__all__ = ["PieceSource", "TokenClassification", "load"]

_TEXTS = 512
"""Texts whose states are in memory at a time."""
_BEGINS_WITH = 0.1
"""C of the frozen head that what is descended on begins with: the middle of its portfolio."""


Marks = Sequence[NDArray[np.int32]]
"""For each text, how many of its pieces are read at each of its tokens."""


class Source(Protocol):
    """Texts to the states of their tokens, through the activation cache."""

    @property
    def max_length(self) -> int: ...

    def states(self, texts: Sequence[Text], layer: int) -> Any:
        """What `read` gives (tokens, width) of each of some texts of; to be closed."""
        ...

    def keep_states(self, texts: Sequence[Text], layers: Sequence[int]) -> None:
        """Compute what `states` will read of several layers, in one pass."""
        ...

    def marks(self, texts: Sequence[Text]) -> Marks: ...


@dataclass(frozen=True, slots=True)
class PieceSource:
    """Texts to what a head reads of their pieces, from the cached states of tokens.

    Args:
        source: Of texts.
    """

    source: Source
    _known: dict[tuple[Text, ...], Marks] = field(
        default_factory=dict[tuple[Text, ...], Marks], compare=False
    )

    @property
    def max_length(self) -> int:
        """Tokens a text is cut at."""
        return self.source.max_length

    def read(self, texts: Sequence[Text]) -> NDArray[np.int64]:
        """(texts,) pieces of each that are read: all but those that are cut off."""
        return np.array([int(marks.sum()) for marks in self._marks(texts)], np.int64)

    def features(self, texts: Sequence[Text], layers: Sequence[int]) -> Floats:
        """(pieces read of all texts, len(layers) · width), one text after the other.

        Args:
            texts: Without the backbone's prefix.
            layers: As of the source.
        """
        marks, columns = self._marks(texts), list[Floats]()
        if len(layers) > 1:
            self.source.keep_states(texts, layers)
        for layer in layers:
            parts: list[NDArray[np.float16]] = []
            with self.source.states(texts, layer) as states:
                for start in range(0, len(texts), _TEXTS):
                    some = range(start, min(start + _TEXTS, len(texts)))
                    for row, found in zip(some, states.read(list(some)), strict=True):
                        parts.append(np.repeat(found, marks[row], axis=0))
            columns.append(np.concatenate(parts).astype(np.float32))
        return columns[0] if len(columns) == 1 else np.hstack(columns)

    def _marks(self, texts: Sequence[Text]) -> Marks:
        key = tuple(texts)
        if key not in self._known:
            self._known[key] = self.source.marks(texts)
        return self._known[key]


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class TokenClassification(OneText):
    """What the task adds to every method's settings."""

    by_piece: ClassVar[bool] = True

    layers: Annotated[tuple[int, ...], Len(1)] = (-1,)
    """Hidden states the head reads, concatenated; negative counts from the top, 0 is the
    embedding layer. Layers above the highest one read are not run."""
    outside_weight: Annotated[float, Gt(0), Le(1)] = 1.0
    """Weight in the loss of pieces that stand in no entity: below 1 finds more entities."""
    focal: Annotated[float, Ge(0), Le(10)] = 0.0
    """Focal loss: a piece's loss times (1 − p of its tag) to this power; 0 is cross-entropy. For
    methods that are descended on."""

    @property
    def begins_with(self) -> float | None:
        """See `tune.solving.BeginsSolved`; a head in closed form minds no focal loss."""
        return None if self.focal else _BEGINS_WITH

    def weights(self, truth: NDArray[np.int64], outputs: int) -> NDArray[np.float32]:
        """(outputs,) weight of each tag in the loss."""
        found = np.ones(outputs, np.float32)
        found[0] = self.outside_weight
        return found

    def loss(self, logits: Tensor, truth: Tensor, weights: Tensor, smoothing: float) -> Tensor:
        """Cross-entropy, averaged over pieces by weight; focal where asked.

        Focal loss: Lin et al. 2017, https://arxiv.org/abs/1708.02002

        Args:
            logits: (batch, tokens, outputs), as `at_pieces` leaves them.
            truth: (batch, pieces), integers in [0, outputs), `NO_PIECE` where there is none. Of a
                text that is cut, the pieces behind the last token have no part.
            weights: (outputs,).
            smoothing: Share of the target spread over all tags.
        """
        width = min(logits.shape[1], truth.shape[1])
        wanted = truth[:, :width]
        # A text that is cut has pieces that no token is read for: there all logits are exactly 0.
        read = (wanted != NO_PIECE) & (logits[:, :width].detach() != 0).any(2)
        wide, labels = logits[:, :width][read].float(), wanted[read]
        each = nn.functional.cross_entropy(
            wide, labels, weight=weights, label_smoothing=smoothing, reduction="none"
        )
        if self.focal:
            sure = wide.softmax(-1).gather(1, labels.unsqueeze(1)).squeeze(1)
            # The power's gradient at 0 is infinite below 1; see text classification.
            each = (1 - sure).clamp(min=1e-6) ** self.focal * each
        return each.sum() / weights[labels].sum().clamp(min=1e-6)

    def reads(self, source: Any) -> PieceSource:
        """Cached states of tokens to what a head reads of pieces."""
        return PieceSource(source)
