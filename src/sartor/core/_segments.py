"""One segment of the activation cache: a folder that never changes once it has its name.

manifest.json (sizes, SHA-256 of the rest), keys.bin (16 bytes a text) and values.f16, float16 of
shape (layers + 1, texts, width): layer first, so that reading one layer reads one run of pages.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sartor.core.hashing import digest, file_sha256

KEY_BYTES = 16
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Space:
    """What, beside the text, decides an activation's numbers.

    Args:
        backbone_sha256: Of the weights.
        layers: Transformer layers; a text has `layers + 1` rows, row 0 the embedding layer's.
        width: Hidden size.
        pooling: How tokens become one vector, e.g. "mean".
        max_length: Tokens after which a text was cut.
        dtype: Of the arithmetic, "float32" or "bfloat16".
    """

    backbone_sha256: str
    layers: int
    width: int
    pooling: str = "mean"
    max_length: int = 256
    dtype: str = "float32"

    @property
    def key(self) -> str:
        """Name of the space's folder."""
        return digest(asdict(self))[:32]


class Damaged(Exception):
    """A segment's files do not agree with its manifest."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment whose manifest and keys were read; its values are checked by `is_sound`."""

    path: Path
    keys: bytes
    values_sha256: str

    def rows(self) -> list[bytes]:
        """The keys, one a text."""
        return [self.keys[i : i + KEY_BYTES] for i in range(0, len(self.keys), KEY_BYTES)]

    def is_sound(self) -> bool:
        """Whether the values are what was written."""
        try:
            return file_sha256(self.path / "values.f16") == self.values_sha256
        except OSError:
            return False


def write_segment(path: Path, space: Space, keys: bytes, values: NDArray[np.float16]) -> None:
    """Write and fsync the three files into a new folder.

    Args:
        path: Must not exist.
        space: Written into the manifest, so that a segment cannot be read as another space's.
        keys: 16 bytes a text, end to end.
        values: (layers + 1, texts, width).
    """
    path.mkdir(parents=True)
    manifest = {
        "format": _FORMAT,
        "space": asdict(space),
        "texts": len(keys) // KEY_BYTES,
        "keys_sha256": _write(path / "keys.bin", keys),
        "values_sha256": _write(path / "values.f16", values.tobytes()),
    }
    _write(path / "manifest.json", json.dumps(manifest, sort_keys=True).encode())
    sync_folder(path)


def map_values(path: Path, space: Space) -> NDArray[np.float16]:
    """(layers + 1, texts, width), memory-mapped: what is not indexed is not read."""
    file = path / "values.f16"
    texts = file.stat().st_size // (2 * (space.layers + 1) * space.width)
    return np.memmap(file, "<f2", "r", shape=(space.layers + 1, texts, space.width))


def read_segment(path: Path, space: Space) -> Segment:
    """Read a segment's manifest and keys.

    Raises:
        Damaged: If a file is missing, or sizes, space or digests differ from the manifest.
    """
    try:
        found = json.loads((path / "manifest.json").read_bytes())
        keys = (path / "keys.bin").read_bytes()
        size = (path / "values.f16").stat().st_size
    except (OSError, ValueError) as error:
        raise Damaged(str(error)) from error
    if not isinstance(found, dict):
        raise Damaged("the manifest is not a mapping")
    manifest = cast("Mapping[str, object]", found)
    texts = len(keys) // KEY_BYTES
    fits = (
        manifest.get("format") == _FORMAT
        and manifest.get("space") == asdict(space)
        and manifest.get("texts") == texts
        and manifest.get("keys_sha256") == hashlib.sha256(keys).hexdigest()
        and size == 2 * texts * (space.layers + 1) * space.width
    )
    if not fits:
        raise Damaged("sizes or digests differ from the manifest")
    return Segment(path, keys, str(manifest.get("values_sha256")))


def _write(path: Path, data: bytes) -> str:
    """Write and fsync; the data's SHA-256."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def sync_folder(path: Path) -> None:
    """Make a folder's list of names durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
