"""What a target is: a place where a bundle runs, and the folder that brings it there.

A folder holds the bundle as it was judged, the wheel of the sartor that judged it, the exact
versions of everything else, and what the place itself wants to read. It is made to be committed:
it holds no secret and no trace of the machine that wrote it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from sartor.core.registry import Registry
from sartor.ship.parcel import Parcel

__all__ = ["TARGETS", "Handed", "Parcel", "Step", "Target"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do with a folder.

    Args:
        command: For a POSIX shell, run inside the folder; names files relative to it.
        what: What it does, one clause without a full stop.
    """

    command: str
    what: str


@dataclass(frozen=True, slots=True)
class Handed:
    """What whoever gets the folder is told.

    Args:
        steps: In order, from the folder to an answer.
        notes: What else must be known, a sentence each: where keys come from, what does not hold.
    """

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


class Target(Protocol):
    """One file, or folder, in `ship/targets/`. Its dataclass fields are its settings.

    A string below each field documents it; every field has a default that works.
    """

    summary: ClassVar[str]
    """One line for `sartor ship --list`, without a full stop."""

    def write(self, folder: Path, parcel: Parcel) -> Handed:
        """Write everything into `folder`, which is empty and will be renamed.

        The same parcel and settings give the same bytes. A `README.md` with the steps and the
        notes is added afterwards where the target writes none, and a list of all files' hashes.

        Raises:
            SettingError: If the settings do not fit the bundle.
            BundleError: If the place cannot run such a bundle.
        """
        ...


TARGETS: Registry[Target] = Registry(
    "target", package="sartor.ship.targets", group="sartor.targets"
)
