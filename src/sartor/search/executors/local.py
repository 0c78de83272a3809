"""In this process, one group after the other, on all of its threads."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sartor.core.errors import SettingError
from sartor.core.events import Emit
from sartor.core.types import Candidate
from sartor.core.workspace import Run, Workspace
from sartor.search.executing import EXECUTORS
from sartor.search.fitting import Bench, fit_group
from sartor.search.ladder import Scored


@EXECUTORS.add
@dataclass(frozen=True, slots=True)
class Local:
    """Fits where the run is."""

    address: str = ""

    def check(self) -> None:
        if self.address:
            raise SettingError(
                f"--on local takes no address. Got {self.address!r}.", fix="leave --on out."
            )

    @contextmanager
    def crew(self, place: Workspace, here: Run, emit: Emit) -> Generator["LocalCrew"]:
        yield LocalCrew(emit)


@dataclass(frozen=True, slots=True)
class LocalCrew:
    """This process."""

    emit: Emit
    workers: int = 1
    threads: int | None = None

    def fit(
        self, bench: Bench, groups: Sequence[Sequence[Candidate]]
    ) -> list[list[Scored | Exception]]:
        return [fit_group(bench, group, self.emit) for group in groups]
