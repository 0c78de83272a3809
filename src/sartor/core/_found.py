"""What a look into the activation cache found: kept from eviction until it is closed."""

from collections.abc import Sequence
from io import BufferedWriter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sartor.core._segments import Space, map_values
from sartor.core.errors import SettingError
from sartor.core.protocols import Floats

Place = tuple[str, int, int]
"""Segment, first row, row after the last."""


class Found:
    """The texts of one `Activations.get` that are there, pinned until closed.

    Args:
        mask: (keys,), whether each key is present.
    """

    def __init__(
        self, space: Space, folder: Path, places: Sequence[Place | None], pin: BufferedWriter | None
    ) -> None:
        self.mask: NDArray[np.bool_] = np.fromiter((p is not None for p in places), np.bool_)
        self._space, self._folder, self._pin = space, folder, pin
        self._groups: dict[str, tuple[list[int], list[int]]] = {}
        self._places, self._maps = places, dict[str, NDArray[np.float16]]()
        for position, place in enumerate(places):
            if place is not None:
                positions, rows = self._groups.setdefault(place[0], ([], []))
                positions.append(position)
                rows.append(place[1])

    def gather(self, layers: Sequence[int], out: Floats | None = None) -> Floats:
        """Read some layers; the pages of the others are not touched.

        Args:
            layers: Rows of a text to read, each in [0, space.layers].
            out: (keys, len(layers), width); the present keys' rows are filled, others left alone.
                A new array with zeros for the absent when not given.

        Raises:
            SettingError: If a layer does not exist.
        """
        for layer in layers:
            if not 0 <= layer < self._space.planes:
                raise SettingError(
                    f"Layer {layer} was asked for; the backbone has layers 0 to "
                    f"{self._space.layers}.",
                    fix=f"choose layers between 0 and {self._space.layers}.",
                )
        if out is None:
            out = np.zeros((len(self.mask), len(layers), self._space.width), np.float32)
        for name, (positions, rows) in self._groups.items():
            values = self._values(name)
            for column, layer in enumerate(layers):
                out[positions, column] = values[layer, rows]
        return out

    def lengths(self) -> NDArray[np.int64]:
        """(keys,), rows of each: its tokens where token states are kept; 0 for the absent."""
        counts = (0 if place is None else place[2] - place[1] for place in self._places)
        return np.fromiter(counts, np.int64, len(self._places))

    def rows(self, position: int) -> NDArray[np.float16]:
        """(planes, rows, width) of one present key: a view of the file, valid after `close` too."""
        place = self._places[position]
        if place is None:
            raise LookupError(f"key {position} is not in the cache")
        return self._values(place[0])[:, place[1] : place[2]]

    def _values(self, name: str) -> NDArray[np.float16]:
        if name not in self._maps:
            self._maps[name] = map_values(self._folder / name, self._space)
        return self._maps[name]

    def close(self) -> None:
        """Let the segments be evicted again."""
        if self._pin is not None:
            Path(self._pin.name).unlink(missing_ok=True)
            self._pin.close()
            self._pin = None

    def __enter__(self) -> "Found":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
