"""A server follows its deployment: it looks for changes, loads beside what answers, then swaps.

Twice a second it asks the history for its size and time. A change is taken as a whole: every bundle
of it is verified, loaded and warmed while the old line-up goes on answering, and where one of them
cannot be, nothing is replaced, the fault is reported, and the change is tried again later.
"""

import asyncio
import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from sartor.core.errors import BundleError, SartorError, WorkspaceError
from sartor.core.events import Emit, Note
from sartor.core.tables import now
from sartor.serve import reports
from sartor.serve.deploying import check_id
from sartor.serve.deployment import Change, Deployment, Placed
from sartor.serve.reports import Report
from sartor.serve.runtime import Runtime, open_runtime
from sartor.serve.settings import ServeSettings
from sartor.serve.shadow import Shadow
from sartor.serve.versions import Lineup, Version, Versions

_log = logging.getLogger(__name__)
_LOOK_S, _REPORT_S, _AGAIN_S = 0.5, 5.0, 60.0


def open_live(settings: ServeSettings) -> Runtime:
    """What a server begins with, warm: its bundle, or the live one of its deployment.

    Raises:
        BundleError: If it is damaged, or unreleased and not allowed.
        DeploymentError: If nothing is deployed.
    """
    if settings.deployment is None:
        return open_runtime(settings)
    deployment = Deployment(Path(settings.deployment))
    try:
        return _open(settings, deployment, deployment.now().live)
    except BundleError as error:
        back = f"or go back: sartor rollback {deployment.name}."
        raise BundleError(error.what, fix=f"{error.fix.removesuffix('.')}; {back}") from error


def _open(settings: ServeSettings, deployment: Deployment, placed: Placed) -> Runtime:
    folder = deployment.folder_of(placed)
    allowed = settings.unreleased or placed.unreleased
    runtime = open_runtime(replace(settings, bundle=str(folder), unreleased=allowed))
    check_id(folder, placed, runtime.id)
    return runtime


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bundles of a change, loaded where they were not."""

    live: Runtime | Version
    canary: Runtime | Version | None
    shadow: Runtime | Shadow | None


class Follower:
    """Keeps the line-up of one server at what its deployment says."""

    def __init__(self, settings: ServeSettings, versions: Versions, emit: Emit) -> None:
        assert settings.deployment is not None
        self.deployment = Deployment(Path(settings.deployment))
        self._settings, self._versions, self._emit = settings, versions, emit
        self._seen, self._look_again, self._report_again = (-1, -1), 0.0, 0.0
        # Always the same thread: each one that loads a model keeps memory of its own.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="sartor-load")
        self._taking: asyncio.Task[None] | None = None
        self._place = reports.new_place(self.deployment.reports)
        began = now()
        self.report = Report(
            address=f"{settings.host}:{settings.port}",
            started=began,
            seen=began,
            state="changing",
            number=0,
            wanted=0,
        )
        """How this server is; written every few seconds."""

    async def follow(self) -> None:
        """Look and report until cancelled."""
        while True:
            await self.look()
            if time.monotonic() >= self._report_again:
                await self._say()
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Take the deployment's newest change, where it is new or failed a while ago."""
        version = self.deployment.version()
        if version == self._seen and time.monotonic() < self._look_again:
            return
        self._seen, self._look_again = version, float("inf")
        # Waited for, not awaited: whatever is wrong with a bundle, the server goes on.
        self._taking = asyncio.create_task(self._take())
        await asyncio.wait({self._taking})
        if (error := self._taking.exception()) is not None:
            self._fail(error)
        self._taking = None
        await self._say()

    async def stop(self, task: "asyncio.Task[None]") -> None:
        """End `follow` and report for the last time."""
        for one in (task, self._taking):
            if one is not None:
                one.cancel()
                await asyncio.wait({one})
        self._loader.shutdown(wait=False)
        self.report = self.report.model_copy(update={"state": "stopped"})
        await self._say()

    async def _take(self) -> None:
        change = await asyncio.to_thread(self.deployment.now)
        before = self._versions.lineup
        if change.number == before.number:
            self._note(state="current", wanted=change.number, problem="")
            return
        self._note(state="changing", wanted=change.number)
        loop = asyncio.get_running_loop()
        wanted = await loop.run_in_executor(self._loader, self._load, change, before)
        lineup = self._lined_up(change, wanted)
        self._versions.take(lineup)
        self._note(state="current", number=change.number, problem="")
        roles = ", ".join(f"{role} {placed.id[:12]}" for role, placed in change.placed.items())
        self._emit(Note(f"Change {change.number} of {self.deployment.name}: {roles}."))

    def _load(self, change: Change, before: Lineup) -> Wanted:
        """Everything that the change wants and that is not loaded yet."""
        have = {version.id: version for version in before.versions}

        def answering(placed: Placed) -> Runtime | Version:
            return have.get(placed.id) or _open(self._settings, self.deployment, placed)

        shadow = before.shadow
        if change.shadow is None:
            shadow = None
        elif shadow is None or shadow.id != change.shadow.id:
            # One thread, so that all of its work happens in the thread that gives way.
            settings = replace(self._settings, threads=1)
            shadow = _open(settings, self.deployment, change.shadow)
        canary = answering(change.canary) if change.canary else None
        return Wanted(answering(change.live), canary, shadow)

    def _lined_up(self, change: Change, wanted: Wanted) -> Lineup:
        def version(found: Runtime | Version) -> Version:
            return self._versions.version(found) if isinstance(found, Runtime) else found

        shadow = wanted.shadow
        return Lineup(
            change.number,
            version(wanted.live),
            version(wanted.canary) if wanted.canary else None,
            change.share,
            self._versions.shadow(shadow) if isinstance(shadow, Runtime) else shadow,
        )

    def _fail(self, error: BaseException) -> None:
        """Go on with what answers, say why, and try again later."""
        self._look_again = time.monotonic() + _AGAIN_S
        if not isinstance(error, SartorError):
            _log.error("a change of %s failed", self.deployment.name, exc_info=error)
        problem = (str(error) or type(error).__name__)[:2_000]
        if problem != self.report.problem:
            self._emit(Note(f"{self.deployment.name} stays as it was: {problem}", "warning"))
        self._note(state="failed", problem=problem)

    def _note(self, **update: object) -> None:
        self.report = self.report.model_copy(update=update)

    async def _say(self) -> None:
        self._report_again = time.monotonic() + _REPORT_S
        self.report = reports.fresh(self._versions.figures, self.report)
        # A report that cannot be written must not stop the server; the next one may succeed.
        with contextlib.suppress(WorkspaceError, OSError):
            await asyncio.to_thread(reports.write, self._place, self.report)
