"""Finds trainable tensors that training never moved: a loss that does not reach them is a fault."""

import hashlib
from collections.abc import Mapping

from torch import Tensor, nn

from sartor.core.errors import SettingError

_PATIENCE = 3
"""Steps a tensor may stay: those of a warm-up leave LoRA's A where it was, for B is still zero."""


class Still:
    """The tensors that were not seen to move yet.

    Moving once is enough: a schedule may set a tensor back to where it began (AdaLoRA masks ranks
    to zero), and one that it never thaws need not move at all.

    Args:
        trainable: What the method opened, by name.
    """

    def __init__(self, trainable: Mapping[str, nn.Parameter]) -> None:
        self.trainable = trainable
        self._before = {name: _fingerprint(tensor) for name, tensor in trainable.items()}
        self.waits = dict.fromkeys(trainable, 0)
        """Steps that a tensor was open, for those not seen to move; save it, set it."""

    def look(self, step: int) -> None:
        """Called after each step of the optimizer, from 1."""
        for name in self.waits:
            self.waits[name] += self.trainable[name].requires_grad
        # Almost all move at once; those that do not need not be hashed at every step.
        if step & (step - 1) == 0:
            self._drop_moved()

    def check(self, steps: int, lr: float) -> None:
        """Raises:
        SettingError: If a tensor never moved though it was open.
        """
        self._drop_moved()
        still = [name for name, open_steps in self.waits.items() if open_steps >= _PATIENCE]
        if still:
            shown = ", ".join(still[:3]) + (" …" if len(still) > 3 else "")
            raise SettingError(
                f"{len(still)} of {len(self.trainable)} trainable tensors did not move in "
                f"{steps} steps: {shown}.",
                fix=f"raise the learning rate (lr={lr} now); if that does not help, "
                "the method opens weights that the loss does not reach.",
            )

    def _drop_moved(self) -> None:
        self.waits = {
            name: steps
            for name, steps in self.waits.items()
            if _fingerprint(self.trainable[name]) == self._before[name]
        }


def _fingerprint(tensor: Tensor) -> bytes:
    data = tensor.detach().cpu().contiguous().numpy()
    return hashlib.blake2b(data.tobytes(), digest_size=16).digest()
