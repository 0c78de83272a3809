"""What a compressor is: it makes an artefact smaller or faster; parity then says what it cost."""

from pathlib import Path
from typing import Protocol

from sartor.core.registry import Registry


class Compressor(Protocol):
    """One file in `shrink/compressors/`. Its dataclass fields are its settings."""

    def compress(self, source: Path, target: Path) -> None:
        """Write a changed copy of the ONNX graph `source` to `target`; `source` stays.

        Raises:
            NothingToShrink: If the graph holds nothing this compressor works on. A compressor never
                passes a graph through unchanged.
        """
        ...


COMPRESSORS: Registry[Compressor] = Registry(
    "compressor", package="sartor.shrink.compressors", group="sartor.compressors"
)
