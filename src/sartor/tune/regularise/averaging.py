"""Averages of the weights over the steps: what is evaluated and kept instead of the last ones.

EMA: a ← d·a + (1 − d)·w,  d = min(decay, (1 + n) / (10 + n)) after n averaged steps, so that a
short run does not end on where it began. SWA: a ← a + (w − a) / n, the plain mean, here over every
step and under the falling rate.

Polyak and Juditsky 1992, https://doi.org/10.1137/0330046
Izmailov et al. 2018, https://arxiv.org/abs/1803.05407
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from sartor.tune.settings import Loop


class Averaging:
    """The averages of one run.

    Args:
        trainable: The tensors that train, by name.
        loop: `average`, `average_start`, `average_decay`.
        steps: Of the whole run.
    """

    def __init__(self, trainable: Mapping[str, nn.Parameter], loop: Loop, steps: int) -> None:
        self._trainable, self._loop = trainable, loop
        self._start = int(steps * loop.average_start)
        self._means: dict[str, Tensor] = {}

    def after_step(self, step: int) -> None:
        """Take the weights after `step` steps in; steps before the start are left out."""
        if self._loop.average == "none" or step <= self._start:
            return
        weights = {name: tensor.detach() for name, tensor in self._trainable.items()}
        if not self._means:
            self._means = {name: tensor.clone() for name, tensor in weights.items()}
            return
        share = self._share(step - self._start)
        for name, tensor in weights.items():
            self._means[name].lerp_(tensor, share)

    @contextmanager
    def evaluated(self) -> Iterator[Mapping[str, Tensor]]:
        """The weights to evaluate, in the model for the block: the averages, where there are any.

        Training goes on from the model's own, which come back untouched.
        """
        own = {name: tensor.data for name, tensor in self._trainable.items()}
        shown = self._means or own
        try:
            for name, tensor in self._trainable.items():
                tensor.data = shown[name]
            yield shown
        finally:
            for name, tensor in self._trainable.items():
                tensor.data = own[name]

    def state(self) -> Mapping[str, Tensor]:
        """For the checkpoint."""
        return self._means

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        self._means = {
            name: tensor.to(self._trainable[name].device) for name, tensor in state.items()
        }

    def _share(self, count: int) -> float:
        """Of the newest weights, the `count`-th averaged."""
        if self._loop.average == "swa":
            return 1.0 / count
        return 1.0 - min(self._loop.average_decay, (1 + count) / (10 + count))
