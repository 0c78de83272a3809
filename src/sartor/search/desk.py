"""What a run works with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.events import Emit
from sartor.core.store import Store
from sartor.core.workspace import Workspace
from sartor.need.model import Need

Facts = Callable[[str, Callable[[], Any]], Any]
"""Name and how to find it: a fact about the machine, recorded once a run and replayed."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a run works with.

    Args:
        place: The workspace.
        store: Its tables.
        need: What is asked.
        file: The need file, as the user wrote it: for messages.
        root: Folder the need's paths are relative to.
        fact: See `Facts`.
        emit: Progress.
    """

    place: Workspace
    store: Store
    need: Need
    file: str
    root: Path
    fact: Facts
    emit: Emit
