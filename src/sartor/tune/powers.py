"""What a method does besides opening tensors: the optional powers of `tune.api`, as one object."""

from collections.abc import Mapping

from torch import Tensor, nn

from sartor.tune.api import Objective, Penalises, Schedules
from sartor.tune.recipe import Loss


class Powers:
    """The powers of a method, called where it has them; without one nothing is called.

    Args:
        holder: The method; any object, or None.
        model: With the method attached.
        loss: Of the task, in force where the holder has no objective of its own.
    """

    def __init__(self, holder: object, model: nn.Module, loss: Loss) -> None:
        self._model, self._loss = model, loss
        self._schedule = holder if isinstance(holder, Schedules) else None
        self._penalty = holder if isinstance(holder, Penalises) else None
        self._objective = holder if isinstance(holder, Objective) else None

    def begin(self, steps: int) -> None:
        """Called once, when the tensors are open and the number of optimiser steps is known."""
        if self._schedule:
            self._schedule.begin(self._model, steps)

    def after_step(self, step: int) -> None:
        """Called after every optimiser step, while the gradients are still there."""
        if self._schedule:
            self._schedule.after_step(self._model, step)

    def loss(self, model: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Averaged over the batch's rows; `model` is the one to call, which may be wrapped."""
        if self._objective:
            return self._objective.loss(model, inputs, labels)
        return self._loss(model(*inputs), labels)

    def penalty(self) -> Tensor | None:
        """What is added to the loss of a step."""
        return self._penalty.penalty(self._model) if self._penalty else None

    def groups(self) -> dict[str, Mapping[str, Tensor]]:
        """For the checkpoint: name of a group to its tensors."""
        state = self._schedule.state(self._model) if self._schedule else {}
        return {"method": state} if state else {}

    def restore(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """The inverse of `groups`; called when the model's tensors are back."""
        if self._schedule:
            self._schedule.restore(self._model, groups.get("method", {}))
