"""A head that is solved, not descended on, once the encoder under it is tuned."""

from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sartor.core.likelihood import Truth
from sartor.tune.batching import Inputs
from sartor.tune.heads import HeadData, HeadSetting, fit_heads
from sartor.tune.scoring import score


@runtime_checkable
class SolvesHead(Protocol):
    """A method that descends on the encoder alone, towards something else than answers.

    Until its head is solved the model answers at random, so no held-out answer can choose among
    its weights: the last ones are kept.
    """

    solves_head: ClassVar[Literal[True]]

    @property
    def C(self) -> float:
        """Inverse strength of the head's L2 penalty, on standardised features."""
        ...


@runtime_checkable
class BeginsSolved(Protocol):
    """A task whose heads are descended on from the frozen encoder's, not from numbers drawn.

    Few steps do not teach a drawn head dozens of tags, and meanwhile it drags the encoder along.

    Kumar et al. 2022, https://arxiv.org/abs/2202.10054
    """

    @property
    def begins_with(self) -> float | None:
        """C of the logistic regression that the head begins as; None to draw it."""
        ...


def begins_with(task: object) -> float | None:
    """As of `BeginsSolved`; None for tasks whose heads are drawn."""
    return task.begins_with if isinstance(task, BeginsSolved) else None


def solve_head(
    model: Any, inputs: Inputs, labels: Truth, of: tuple[tuple[float, ...], float]
) -> None:
    """Put the logistic regression of the labels on the model's features in its head's place.

    Args:
        model: A `TextClassifier` with a linear head.
        inputs: What it reads of the training rows.
        labels: (rows,) their classes.
        of: Weight of each class in the loss, and C.

    Raises:
        DataError: If all rows have the same label.
        SettingError: If a feature is not finite.
    """
    found = score(_Features(model), inputs)
    weights, strength = of
    data = HeadData(lambda _: found, lambda _: found[:0], labels, len(weights))
    (fit,) = fit_heads(data, [HeadSetting(model.layers, strength, weights)])
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(fit.weight))
        model.head.bias.copy_(torch.from_numpy(fit.bias))


class _Features(nn.Module):
    """What the head of a model reads, as its answer."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model.features(*inputs)
