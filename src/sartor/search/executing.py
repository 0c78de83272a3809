"""Where the fits of a run are made: in this process, or on other processes and machines.

What is asked, told, assessed and decided stays with the run; an executor only fits groups of
candidates, and gives what each left. A fit is found by its content in the workspace, so who made it
does not matter to whoever asks for it next.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from sartor.core.events import Emit
from sartor.core.registry import Registry
from sartor.core.types import Candidate
from sartor.core.workspace import Run, Workspace
from sartor.search.fitting import Bench
from sartor.search.ladder import Scored

DEFAULT = "local"


class Crew(Protocol):
    """An executor at work."""

    @property
    def workers(self) -> int:
        """Groups that are fitted at once; the same whenever the run is resumed."""
        ...

    @property
    def threads(self) -> int | None:
        """Threads of one fit; None for as many as this process takes."""
        ...

    def fit(
        self, bench: Bench, groups: Sequence[Sequence[Candidate]]
    ) -> Sequence[Sequence[Scored | Exception]]:
        """Group by group what each candidate left, or the error that ended it.

        Args:
            bench: What the fits work with.
            groups: Each of one method; of more than one candidate only where it reads activations.
        """
        ...


class Executor(Protocol):
    """One file in `search/executors/`. Its one field is `address`, "" where none is given."""

    def check(self) -> None:
        """Cheap and before anything is begun: whether a run can count on it.

        Raises:
            SartorError: If not.
        """
        ...

    def crew(self, place: Workspace, here: Run, emit: Emit) -> AbstractContextManager[Crew]:
        """Ready to fit for the length of the block.

        Args:
            place: Where fits are kept.
            here: The run: what depends on the moment is a fact of it.
            emit: Told what the user should know.

        Raises:
            SartorError: If it cannot be reached, or does not share the workspace.
        """
        ...


EXECUTORS: Registry[Executor] = Registry(
    "executor", package="sartor.search.executors", group="sartor.executors"
)


def find_executor(on: str) -> Executor:
    """The executor of `--on`: its name, and behind a colon where it is.

    Raises:
        UnknownName: If there is none of that name.
        SettingError: If it cannot be at that address.
        MissingExtra: If it is not installed.
    """
    name, _, address = on.partition(":")
    found = EXECUTORS.get(name)(address=address)
    found.check()
    return found
