"""One segment of the activation cache: a folder that never changes once it has its name.

manifest.json (sizes, SHA-256 of the rest), keys.bin (16 bytes a text) and values.f16, float16 of
shape (planes, rows, width). Pooled: a plane is a layer, so that reading one layer reads one run of
pages, and a text is one row. Token states: one plane, and a text has a row for each of its tokens;
lengths.i32 says how many.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sartor.core.hashing import digest, file_sha256

KEY_BYTES = 16
MANIFEST = "manifest.json"
_KEYS, _VALUES, _LENGTHS = "keys.bin", "values.f16", "lengths.i32"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Space:
    """What, beside the text, decides an activation's numbers.

    Args:
        backbone_sha256: Of all that the backbone is, its tokenizer included: `Backbone.sha256`.
        layers: Transformer layers; pooled, a text has `layers + 1` vectors, the embedding layer's
            first.
        width: Hidden size.
        pooling: How tokens become one vector, e.g. "mean"; "none" where each is kept.
        max_length: Tokens after which a text was cut.
        dtype: Of the arithmetic, "float32" or "bfloat16".
        layer: The one whose token states are kept, in [0, layers]; None for pooled activations.
    """

    backbone_sha256: str
    layers: int
    width: int
    pooling: str = "mean"
    max_length: int = 256
    dtype: str = "float32"
    layer: int | None = None

    @property
    def planes(self) -> int:
        """Layers kept of each text."""
        return self.layers + 1 if self.layer is None else 1

    @property
    def key(self) -> str:
        """Name of the space's folder."""
        return digest(self.described())[:32]

    def described(self) -> dict[str, object]:
        """As a manifest says it; what does not apply is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Damaged(Exception):
    """A segment's files do not agree with its manifest."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment whose manifest and keys were read; its values are checked by `is_sound`.

    Args:
        path: Its folder.
        keys: 16 bytes a text, end to end.
        lengths: (texts,), rows of each text.
        values_sha256: What the manifest says of the values.
    """

    path: Path
    keys: bytes
    lengths: NDArray[np.int32]
    values_sha256: str

    def places(self) -> Iterator[tuple[bytes, int, int]]:
        """(key, first row, row after the last) of each text."""
        bounds = np.cumsum([0, *self.lengths]).tolist()
        for i, (start, stop) in enumerate(pairwise(bounds)):
            yield self.keys[i * KEY_BYTES : (i + 1) * KEY_BYTES], start, stop

    def is_sound(self) -> bool:
        """Whether the values are what was written."""
        try:
            return file_sha256(self.path / _VALUES) == self.values_sha256
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Content:
    """What a segment is written from.

    Args:
        keys: 16 bytes a text, end to end.
        values: (planes, rows, width), contiguous.
        lengths: (texts,), rows of each text; None where each has one.
    """

    keys: bytes
    values: NDArray[np.float16]
    lengths: NDArray[np.int32] | None = None

    @property
    def size(self) -> int:
        """Bytes on disk, the manifest aside."""
        return (
            self.values.nbytes
            + len(self.keys)
            + (0 if self.lengths is None else self.lengths.nbytes)
        )


def write_segment(path: Path, space: Space, content: Content) -> None:
    """Write and fsync the files into a new folder.

    Args:
        path: Must not exist.
        space: Written into the manifest, so that a segment cannot be read as another space's.
        content: What to write.
    """
    path.mkdir(parents=True)
    manifest = {
        "format": _FORMAT,
        "space": space.described(),
        "texts": len(content.keys) // KEY_BYTES,
        "keys_sha256": _write(path / _KEYS, content.keys),
        "values_sha256": _write(path / _VALUES, content.values.data),
    }
    if content.lengths is not None:
        manifest["lengths_sha256"] = _write(path / _LENGTHS, content.lengths.data)
    _write(path / MANIFEST, json.dumps(manifest, sort_keys=True).encode())
    sync_folder(path)


def map_values(path: Path, space: Space) -> NDArray[np.float16]:
    """(planes, rows, width), memory-mapped: what is not indexed is not read."""
    file = path / _VALUES
    rows = file.stat().st_size // (2 * space.planes * space.width)
    return np.memmap(file, "<f2", "r", shape=(space.planes, rows, space.width))


def read_segment(path: Path, space: Space) -> Segment:
    """Read a segment's manifest, keys and lengths.

    Raises:
        Damaged: If a file is missing, or sizes, space or digests differ from the manifest.
    """
    try:
        found = json.loads((path / MANIFEST).read_bytes())
        keys = (path / _KEYS).read_bytes()
        size = (path / _VALUES).stat().st_size
        counted = b"" if space.layer is None else (path / _LENGTHS).read_bytes()
    except (OSError, ValueError) as error:
        raise Damaged(str(error)) from error
    if not isinstance(found, dict):
        raise Damaged("the manifest is not a mapping")
    manifest = cast("Mapping[str, object]", found)
    texts = len(keys) // KEY_BYTES
    fits = (
        manifest.get("format") == _FORMAT
        and manifest.get("space") == space.described()
        and manifest.get("texts") == texts
        and manifest.get("keys_sha256") == hashlib.sha256(keys).hexdigest()
    )
    lengths = np.ones(texts, np.int32)
    if space.layer is not None:
        fits = fits and manifest.get("lengths_sha256") == hashlib.sha256(counted).hexdigest()
        lengths = np.frombuffer(counted, "<i4") if fits else lengths
    rows = int(lengths.sum(dtype=np.int64))
    if not fits or len(lengths) != texts or size != 2 * rows * space.planes * space.width:
        raise Damaged("sizes or digests differ from the manifest")
    return Segment(path, keys, lengths, str(manifest.get("values_sha256")))


def _write(path: Path, data: bytes | memoryview) -> str:
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
