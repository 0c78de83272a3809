"""Where bundles lie between people: one file a kind of address, named by its scheme.

A store keeps files by their content, and last of all a list of which files a bundle is made of.
Until that list is there, nothing is: a push that was cut off is not found by anybody, and the next
one sends only what is missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sartor.core.registry import Registry

AGAIN = "do it again: a push goes on where it stopped, a pull begins anew."
"""What helps where the other side failed."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a bundle.

    Args:
        name: Its plain name in the folder.
        sha256: Of its content, 64 hex digits.
        bytes: Its size.
    """

    name: str
    sha256: str
    bytes: int


class Store(Protocol):
    """One place for one bundle, made from its address. Every error is a `SartorError`."""

    def send(self, item: Item, path: Path) -> bool:
        """Put a file's content there, whole or not at all; False where it was there already."""
        ...

    def publish(self, items: Sequence[Item]) -> str:
        """Say, in one step, that these are the bundle now; an address of exactly this one."""
        ...

    def listed(self) -> list[Item]:
        """What the bundle is made of, as whoever wrote it there says: nothing of it is verified."""
        ...

    def fetch(self, item: Item) -> Iterator[bytes]:
        """A file's content in pieces, which may be anything."""
        ...

    def close(self) -> None:
        """Leave the other side's connections."""
        ...


STORES: Registry[Store] = Registry(
    "kind of address", package="sartor.ship.stores", group="sartor.stores"
)
