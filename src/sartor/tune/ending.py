"""Where fits end: at their own end, or where a run cut them: by its clock, or for want of promise.

That is a fact of the run and not of the fit: the run that was cut ends at the same step when it is
resumed, and another run with more time goes on from the checkpoint there to the whole fit. Both
results lie beside each other, `cut-00000120` and `fitted`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Facts(Protocol):
    """What a run found out once; a `core.workspace.Run` is one."""

    def fact(self, name: str, find: Callable[[], Any]) -> Any:
        """The fact of this name, found now if it is not known."""
        ...

    def recall(self, name: str) -> Any:
        """The fact of this name, or None."""
        ...


class NoFacts:
    """For fits outside a run: nothing is remembered."""

    def fact(self, name: str, find: Callable[[], Any]) -> Any:
        return find()

    def recall(self, name: str) -> Any:
        return None


@dataclass(frozen=True, slots=True)
class Ending:
    """How one fit ends in one run.

    Args:
        facts: Of the run.
        name: Of the fact; follows the fit's key.
    """

    facts: Facts
    name: str

    def known(self) -> bool:
        """Whether this run came to the fit's end before."""
        return self.facts.recall(self.name) is not None

    def cut(self) -> int | None:
        """Steps after which this run cut it; None if it did not, or did not come to its end."""
        found = self.facts.recall(self.name)
        return found["cut"] if found else None

    def pruned(self) -> bool:
        """Whether it was cut since it promised too little."""
        found = self.facts.recall(self.name)
        return bool(found and found.get("pruned"))

    def record(self, cut: int | None) -> None:
        """Keep where it ended, the first time; None for a whole fit."""
        self.facts.fact(self.name, lambda: {"cut": cut})

    def prune(self, cut: int) -> None:
        """Keep that it was cut there since it promised too little."""
        self.facts.fact(self.name, lambda: {"cut": cut, "pruned": True})


def folder_of(place: Path, cut: int | None) -> Path:
    """Of the result, below the fit's place."""
    return place / ("fitted" if cut is None else f"cut-{cut:08d}")
