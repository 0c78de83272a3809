"""What a tuning method is: it opens a model for training and closes it again.

A model has two parts: `encoder`, which came pretrained, and `head`, which did not.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

from torch import nn

from sartor.core.errors import NothingToTune
from sartor.core.registry import Registry


class Method(Protocol):
    """One file in `tune/methods/`. Its dataclass fields are its settings.

    `reads` says what training reads: "activations" of the frozen encoder, cached and fitted in
    closed form, or "tokens", through the loop.
    """

    reads: ClassVar[Literal["activations", "tokens"]]

    def attach(self, model: nn.Module) -> None:
        """Make the model tunable in place: outputs unchanged, `requires_grad` on what trains.

        Raises:
            NothingToTune: If the method matches nothing in this model.
        """
        ...

    def fold(self, model: nn.Module) -> None:
        """Back to the plain architecture in place, outputs kept up to float rounding."""
        ...

    def rate(self, name: str, depth: int) -> float:
        """Peak learning rate of the trainable tensor `name` in an encoder of `depth` layers."""
        ...

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        """Candidate settings that did well, best first; flat, as in `Candidate.settings`."""
        ...


METHODS: Registry[Method] = Registry(
    "method", package="sartor.tune.methods", group="sartor.methods"
)


def is_head(name: str) -> bool:
    """Whether a tensor belongs to the head, by its dotted name."""
    return name.startswith("head.")


def open_tensors(model: nn.Module, which: Callable[[str], bool]) -> None:
    """Make exactly the tensors whose dotted name satisfies `which` trainable.

    Raises:
        NothingToTune: If none does.
    """
    names = [name for name, _ in model.named_parameters()]
    if not any(which(name) for name in names):
        raise NothingToTune(
            f"none of the model's {len(names)} tensors is one that the method trains.",
            fix="choose another method, or a backbone with weights to train.",
        )
    for name, tensor in model.named_parameters():
        tensor.requires_grad_(which(name))
