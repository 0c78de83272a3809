"""What a tuning method is: it opens a model for training and closes it again.

A model has two parts: `encoder`, which came pretrained, and `head`, which did not. Every method
has the members of `Method`; one that does more than open and close tensors also has those of
`Schedules`, `Penalises`, `Objective`, `Settles` or `Finds`, which the fit looks for; one that reads
activations has those of `ClosedForm`. One that reads columns or histories, and one that only asks
a language model, opens nothing: it has those of `Portfolio`, and of `ClosedForm` where the model is
on this machine.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from sartor.core.errors import NothingToTune
from sartor.core.registry import Registry
from sartor.core.types import Backbone
from sartor.tune.frozen import ClosedFit, Frozen, Point

Reads = Literal["activations", "states", "tokens", "answers"]
"""What training reads: pooled "activations" of the frozen encoder, cached and fitted in closed
form; cached "states", the token states of a frozen layer, through the loop; "tokens", through
the whole encoder and the loop; or "answers" of a language model, with nothing to train."""


@dataclass(frozen=True, slots=True)
class Real:
    """A setting in [low, high]; searched on a logarithmic scale where `log`."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer setting in [low, high]; searched on a logarithmic scale where `log`."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting that is one of a few JSON values."""

    values: tuple[Any, ...]


Dimension = Real | Whole | Choice

_LAYER = re.compile(r"\.layers?\.(\d+)\.")


class Portfolio(Protocol):
    """What every method has, also one without weights; see `Method`."""

    reads: ClassVar[Reads]
    rung: ClassVar[int | None]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]: ...

    @staticmethod
    def space() -> Mapping[str, Dimension]: ...


@runtime_checkable
class Closed(Protocol):
    """A method whose fit may owe nothing to held-out rows, so that it may be made on them too."""

    @property
    def closed(self) -> bool:
        """Whether nothing in the fit is chosen by them, as the step where it stops is."""
        ...


class Method(Protocol):
    """One file in `tune/methods/`. Its dataclass fields are its settings.

    `reads` says what training reads. `rung` is its place on the default ladder, cheapest first;
    None where it is climbed only when the user asks for it.
    """

    reads: ClassVar[Reads]
    rung: ClassVar[int | None]

    def attach(self, model: nn.Module) -> None:
        """Make the model tunable in place: outputs unchanged, `requires_grad` on what trains.

        A method that cannot leave the outputs unchanged says so: see `Disturbs`.

        Raises:
            NothingToTune: If the method matches nothing in this model.
        """
        ...

    def fold(self, model: nn.Module) -> None:
        """Back to the plain architecture in place, outputs kept up to float rounding.

        Layers that cannot be folded into the plain ones stay, and `model.added` describes them.
        """
        ...

    def rate(self, name: str, depth: int) -> float:
        """Peak learning rate of the trainable tensor `name` in an encoder of `depth` layers."""
        ...

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        """Candidate settings that did well, best first; flat, as in `Candidate.settings`."""
        ...

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        """Settings worth searching, with their ranges; names as in `Candidate.settings`."""
        ...


@runtime_checkable
class Schedules(Protocol):
    """A method that changes what trains, or how, as the steps go by.

    It may freeze and thaw the tensors that `attach` opened, not open others: the optimizer knows
    those alone. A frozen tensor keeps its moments and does not decay.
    """

    def begin(self, model: nn.Module, steps: int) -> None:
        """Called once after `attach`, when the number of optimiser steps is known."""
        ...

    def after_step(self, model: nn.Module, step: int) -> None:
        """Called after every optimiser step, from 1, while the gradients are still there."""
        ...

    def state(self, model: nn.Module) -> Mapping[str, Tensor]:
        """What the model's own tensors do not hold, for the checkpoint."""
        ...

    def restore(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`; called after `begin`, when the model's tensors are back."""
        ...


@runtime_checkable
class Penalises(Protocol):
    """A method that adds a term to the loss."""

    def penalty(self, model: nn.Module) -> Tensor:
        """Scalar, in the units of the loss; added once a step, in float32."""
        ...


@runtime_checkable
class Objective(Protocol):
    """A method that trains towards something else than the task's loss on the logits."""

    def loss(self, model: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Scalar, averaged over rows.

        Args:
            model: With the method attached.
            inputs: What the model's `forward` takes, e.g. token ids and mask, (batch, tokens).
            labels: The rows' truth; see `core.likelihood`.
        """
        ...


@runtime_checkable
class ClosedForm(Protocol):
    """A method that reads activations: it fits many of its settings at once, without the loop."""

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> Sequence[ClosedFit]:
        """Fit every point, in the grid's order.

        A point's result does not depend on which others are asked for.

        Raises:
            DataError: If the rows cannot be learnt from.
            SettingError: If a setting cannot work with this backbone or these labels.
        """
        ...


@runtime_checkable
class ReadsStates(Protocol):
    """A method whose `reads` is "states": it leaves the lower layers as they are."""

    def below(self, layers: Sequence[int]) -> int:
        """The layer whose states training reads; everything up to it stays frozen.

        Args:
            layers: Hidden states that the head reads, counted from 0, the embedding layer.

        Returns:
            At least 0 and at most the lowest of `layers`.

        Raises:
            NothingToTune: If the method trains more layers than the head has below it.
        """
        ...


@runtime_checkable
class Choosy(Protocol):
    """A method that cannot apply to every backbone or every set of labels."""

    @staticmethod
    def obstacle(
        backbone: Backbone, outputs: Sequence[str], descriptions: Mapping[str, str]
    ) -> str:
        """Why it cannot apply, as a sentence's second half; empty where it can."""
        ...


@runtime_checkable
class Checks(Protocol):
    """A method whose settings bound one another; `attach` refuses what its check refuses."""

    def check(self) -> None:
        """Nothing where they go together.

        Raises:
            SettingError: Naming those that do not.
        """
        ...


@runtime_checkable
class OneLabelOnly(Protocol):
    """A method that learns, or asks, which one label a row has: for other answers it is no use."""

    one_label: ClassVar[Literal[True]]


@runtime_checkable
class ReadsNames(Protocol):
    """A method that compares a text with what the labels are called: of numbers it is no use."""

    names: ClassVar[Literal[True]]


@runtime_checkable
class Ranks(Protocol):
    """A method in closed form for tasks whose answers are documents, and for no others."""

    ranks: ClassVar[Literal[True]]


@runtime_checkable
class Locates(Protocol):
    """A method in closed form for tasks whose answers are parts of a context, and for no others."""

    locates: ClassVar[Literal[True]]


@runtime_checkable
class ReadsColumns(Protocol):
    """A method that reads the columns of a row: alone, or beside what the encoder makes of a text.

    It is fitted in closed form, on `Frozen.code`, and is not opened for training.
    """

    columns: ClassVar[Literal["alone", "beside"]]


@runtime_checkable
class ReadsItems(Protocol):
    """A method of histories of items alone, or beside their texts; fitted on `Frozen.code`."""

    items: ClassVar[Literal["alone", "beside"]]


@runtime_checkable
class Labours(Protocol):
    """A method that reads activations and works longer on them than on a head."""

    @staticmethod
    def operations(rows: int, outputs: int) -> float:
        """Floating-point operations of fitting one setting, roughly."""
        ...


@runtime_checkable
class Settles(Protocol):
    """A method whose model is not what was asked for before some step."""

    def settled(self, model: nn.Module) -> bool:
        """Whether the weights, after the step that was last, may be kept as the best."""
        ...


@runtime_checkable
class Finds(Protocol):
    """A method that learns something about the model besides its weights."""

    def findings(self, model: nn.Module) -> Mapping[str, Any]:
        """JSON values for the fit's record; asked for when training has ended, before `fold`."""
        ...


@runtime_checkable
class Disturbs(Protocol):
    """A method that changes the outputs by attaching alone, as virtual tokens do."""

    disturbs: ClassVar[Literal[True]]


@runtime_checkable
class Sheds(Protocol):
    """A method that ships something else than the backbone it read."""

    @staticmethod
    def shipped(backbone: Backbone) -> Backbone:
        """The backbone with the weights and layers of what is shipped in its place."""
        ...


def arrays_alone(backbone: Backbone) -> Backbone:
    """`Sheds.shipped` of a method whose model holds nothing of the backbone."""
    return replace(backbone, parameters=0, layers=0)


METHODS: Registry[Method] = Registry(
    "method", package="sartor.tune.methods", group="sartor.methods"
)


def asks(method: str) -> bool:
    """Whether a method asks a language model and trains nothing.

    Raises:
        UnknownName: If there is no such method.
    """
    found: Any = METHODS.get(method)
    return found.reads == "answers"


def tuning_methods() -> list[str]:
    """Names of all methods that open a model's weights for training."""
    found: dict[str, Any] = {name: METHODS.get(name) for name in METHODS.names()}
    closed = ReadsColumns | ReadsItems
    return [n for n, m in found.items() if not asks(n) and not isinstance(m, closed)]


def is_head(name: str) -> bool:
    """Whether a tensor belongs to the head, by its dotted name."""
    return name.startswith("head.")


def layer_of(name: str) -> int:
    """The encoder layer that a tensor belongs to, from 0, by its dotted name; else −1."""
    found = _LAYER.search(name)
    return int(found.group(1)) if found else -1


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
