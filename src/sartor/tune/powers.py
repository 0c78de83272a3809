"""What shapes a run besides the task: the method's optional powers, and regularisers."""

from collections.abc import Mapping

from torch import Tensor, nn

from sartor.core.errors import SettingError
from sartor.tune.api import Objective, Penalises, Schedules, Settles
from sartor.tune.recipe import Recipe
from sartor.tune.regularise.consistency import RDrop
from sartor.tune.regularise.mixup import Mixup
from sartor.tune.regularise.starting_point import StartingPoint


class Powers:
    """The powers of a run's parts, called where a part has them; without one nothing is called.

    Args:
        recipe: With the method and the settings.
        model: With the method attached, before training.

    Raises:
        SettingError: If more than one part has an objective, or a regulariser cannot apply.
    """

    def __init__(self, recipe: Recipe, model: nn.Module) -> None:
        self._model, self._loss = model, recipe.loss
        parts = {"the method": recipe.method, "the task": recipe.objective}
        parts |= _regularisers(recipe, model)
        self._schedule = recipe.method if isinstance(recipe.method, Schedules) else None
        self._settles = recipe.method if isinstance(recipe.method, Settles) else None
        self._penalties = [part for part in parts.values() if isinstance(part, Penalises)]
        objectives = {name: part for name, part in parts.items() if isinstance(part, Objective)}
        if len(objectives) > 1:
            raise SettingError(
                f"{' and '.join(objectives)} each have a loss of their own.",
                fix=f"keep one of them: leave {list(objectives)[-1]} out.",
            )
        self._objective = next(iter(objectives.values()), None)

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
        found = [part.penalty(self._model) for part in self._penalties]
        return sum(found[1:], start=found[0]) if found else None

    def settled(self) -> bool:
        """Whether the weights after the last step may be kept as the best."""
        return self._settles.settled(self._model) if self._settles else True

    def state(self) -> Mapping[str, Tensor]:
        """What the checkpoint must hold of the method besides the model's tensors."""
        return self._schedule.state(self._model) if self._schedule else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`; called when the model's tensors are back."""
        if self._schedule:
            self._schedule.restore(self._model, state)


def _regularisers(recipe: Recipe, model: nn.Module) -> dict[str, object]:
    """Setting to part, of the settings that are on."""
    loop, parts = recipe.loop, dict[str, object]()
    if loop.r_drop:
        parts["r_drop"] = RDrop(recipe.loss, loop.r_drop)
    if loop.mixup:
        parts["mixup"] = Mixup(recipe.loss, loop.mixup)
    if loop.l2_sp:
        came = [
            tensor
            for tensor in model.parameters()
            if tensor.requires_grad and tensor in recipe.pretrained
        ]
        parts["l2_sp"] = StartingPoint(came, loop.l2_sp)
    return parts
