"""Layers that some tuning methods leave in a model, one file a kind.

A saved model names them in classifier.json as plain values, `{"kind": "adapter", "bottleneck": 24,
…}`; loading puts the same layers into a fresh encoder before its tensors are read. Nothing but the
kinds registered here can be named there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol, cast

from pydantic import TypeAdapter, ValidationError
from torch import nn

from sartor.core.errors import ModelError, UnknownName
from sartor.core.registry import Registry

_AGAIN = "train it again: `sartor run` rebuilds what is missing."


class Added(Protocol):
    """What was added, and where. Its dataclass fields, JSON values, are all there is to know."""

    def install(self, model: nn.Module) -> None:
        """Put the layers into `model.encoder`, in place; their weights come from torch's generator.

        Raises:
            ModelError: If the encoder has no such place, or the layers do not fit it.
        """
        ...


ADDED: Registry[Added] = Registry(
    "kind of added layer", package="sartor.tasks._encoder.added", group="sartor.added"
)


def install(model: nn.Module, layers: Added) -> None:
    """Put layers into a model, and note it in `model.added` for when the model is saved."""
    layers.install(model)
    model.added = (*cast("tuple[Added, ...]", getattr(model, "added", ())), layers)  # type: ignore[assignment]  # torch types attributes as tensors or modules


def describe(added: Sequence[Added]) -> list[dict[str, Any]]:
    """JSON values from which `read_added` makes equal objects."""
    return [{"kind": _kind(layers), **asdict(cast("Any", layers))} for layers in added]


def read_added(descriptions: object) -> list[Added]:
    """The inverse of `describe`.

    Raises:
        ModelError: If this is no list of objects, a kind is unknown, or a value is not one that
            it can have.
    """
    try:
        plain = TypeAdapter(list[dict[str, Any]]).validate_python(descriptions, strict=True)
    except ValidationError as error:
        raise ModelError(
            f"the model's added layers are no list of descriptions but {descriptions!r:.80}.",
            fix=_AGAIN,
        ) from error
    return [_read(description) for description in plain]


def _read(description: Mapping[str, Any]) -> Added:
    values = dict(description)
    kind = values.pop("kind", None)
    try:
        chosen = cast("Any", ADDED.get(str(kind)))
        return TypeAdapter(chosen).validate_python(values)
    except UnknownName as error:
        raise ModelError(
            f"the model has added layers of a kind that this Sartor does not know: {kind!r}.",
            fix=error.fix,
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            f"the model's added layers ({kind}) say {place}={first['input']!r}: {first['msg']}.",
            fix=_AGAIN,
        ) from error


def _kind(layers: Added) -> str:
    """The name that reads it back, which is not always its module's: see `Registry.add`."""
    for name in ADDED.names():
        if ADDED.get(name) is type(layers):
            return name
    raise ModelError(
        f"{type(layers).__qualname__} is no registered kind of added layer, so a model with it "
        "could not be loaded again.",
        fix=f"name it as an entry point of the group {ADDED.group!r}.",
    )
