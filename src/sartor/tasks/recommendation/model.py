"""What recommends, as arrays: a sum of parts, each a plain function of the history.

    logits = bias + Σ_p near_place[p] · near(h_p) + Σ_parts (Σ_p place[p] · given[h_p] / z)ᵀ wanted
    z = max(Σ_p place[p], ε),   p over the places that hold an item, the newest first

`bias` says what is chosen anyhow. `near(j)` holds the items that are chosen after j, and how
strongly: item-to-item neighbours. A part of vectors compares what the history gives with what every
item wants: texts made alike by an encoder, or two towers that were learnt. Weights of the parts are
multiplied in. A history without known items leaves the bias alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.core.protocols import Floats
from sartor.tasks._encoder.files import write_model

KIND = "recommender"
LEAST = 1e-6
"""ε above."""


@dataclass(frozen=True, slots=True)
class Near:
    """Item-to-item neighbours.

    Args:
        items: (items, neighbours) places of each item's neighbours.
        share: (items, neighbours) how strongly each follows.
        place: (length,) weight of a history's places, the newest first.
    """

    items: NDArray[np.int64]
    share: Floats
    place: Floats


@dataclass(frozen=True, slots=True)
class Vectors:
    """One vector that an item gives to a history that holds it, and one that it wants of one.

    Args:
        given: (items, width).
        wanted: (items, width).
        place: (length,) weight of a history's places, the newest first; not negative.
    """

    given: Floats
    wanted: Floats
    place: Floats


class Recommender(nn.Module):
    """See above.

    Args:
        sizes: Items, length of a history, neighbours of an item (0 for no such part), and the width
            of each part of vectors.
    """

    bias: Tensor
    near_items: Tensor
    near_share: Tensor
    near_place: Tensor

    def __init__(self, sizes: "Sizes") -> None:
        super().__init__()
        self.sizes = sizes
        items, length = sizes.items, sizes.length
        self.register_buffer("bias", torch.zeros(items))
        self.register_buffer("near_items", torch.zeros(items, sizes.near, dtype=torch.int64))
        self.register_buffer("near_share", torch.zeros(items, sizes.near))
        self.register_buffer("near_place", torch.zeros(length))
        for at, width in enumerate(sizes.widths):
            self.register_buffer(f"given_{at}", torch.zeros(items, width))
            self.register_buffer(f"wanted_{at}", torch.zeros(items, width))
            self.register_buffer(f"place_{at}", torch.zeros(length))

    def forward(self, columns: Tensor) -> Tensor:
        """Logits (batch, items).

        Args:
            columns: (batch, length) places of the history's items, the newest first, then −1.
        """
        items = columns.long().clamp(min=0)
        there = (columns >= 0).float()
        logits = self.bias.expand(len(columns), -1).clone()
        if self.sizes.near:
            strength = self.near_share[items] * (there * self.near_place).unsqueeze(-1)
            logits.scatter_add_(1, self.near_items[items].flatten(1), strength.flatten(1))
        for at in range(len(self.sizes.widths)):
            weight = there * self.get_buffer(f"place_{at}")
            said = (weight.unsqueeze(1) @ self.get_buffer(f"given_{at}")[items]).squeeze(1)
            said = said / weight.sum(1, keepdim=True).clamp(min=LEAST)
            logits = logits + said @ self.get_buffer(f"wanted_{at}").T
        return logits

    def save(self, folder: Path) -> None:
        """Write model.safetensors and classifier.json."""
        write_model(self, folder, {"kind": KIND, **self.sizes.as_json()})


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is of everything; see `Recommender`."""

    items: int
    length: int
    near: int
    widths: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "items": self.items,
            "length": self.length,
            "near": self.near,
            "widths": list(self.widths),
        }


def made_of(
    bias: Floats, length: int, near: Near | None, vectors: Sequence[Vectors]
) -> Recommender:
    """The model of parts, in eval mode.

    Args:
        bias: (items,).
        length: Of an encoded history, that of every part's places.
        near: Neighbours, or None.
        vectors: Parts of vectors.
    """
    widths = tuple(part.given.shape[1] for part in vectors)
    most = near.items.shape[1] if near else 0
    model = Recommender(Sizes(len(bias), length, most, widths))
    found: dict[str, NDArray[Any]] = {"bias": bias}
    if near is not None:
        found |= {"near_items": near.items, "near_share": near.share, "near_place": near.place}
    for at, part in enumerate(vectors):
        found |= {
            f"given_{at}": part.given,
            f"wanted_{at}": part.wanted,
            f"place_{at}": part.place,
        }
    with torch.no_grad():
        for name, value in found.items():
            model.get_buffer(name).copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return model.eval()


def rebuild(shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Recommender:
    """What `save` wrote.

    Raises:
        KeyError, RuntimeError, ValueError: If the two do not fit each other.
    """
    if shape["kind"] != KIND:
        raise ValueError(f"no model that recommends is called {shape['kind']!r}")
    sizes = Sizes(shape["items"], shape["length"], shape["near"], tuple(shape["widths"]))
    model = Recommender(sizes)
    model.load_state_dict(dict(tensors))
    places = tensors["near_items"]
    if places.numel() and not 0 <= int(places.min()) <= int(places.max()) < sizes.items:
        raise RuntimeError(f"near_items points outside the {sizes.items} there are")
    return model.eval()
