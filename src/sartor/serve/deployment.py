"""A deployment: the bundle that is live under a name, what runs beside it, and how it came to be.

`.sartor/deployments/NAME/history.jsonl` is one append-only file. A line is one change and holds the
whole state after it, so the last line is the state, and state and history cannot disagree. Writers
hold a lock on the file from reading to flushing. A kill while a line is written leaves a part of
one that nobody was told of: readers pass over it, and the next writer cuts it off.
"""

import fcntl
import getpass
import os
import re
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sartor.bundle import Manifest
from sartor.core.durable import disk_space, fsync_folder
from sartor.core.errors import DeploymentError, SettingError, WorkspaceError
from sartor.core.forms import first_fault
from sartor.core.hashing import digest
from sartor.core.near import near_miss
from sartor.core.tables import now
from sartor.tasks import TASKS, Listed

HISTORY, REPORTS = "history.jsonl", "servers"
MOST_PREVIOUS = 10
"""Bundles that can be rolled back to, one after the other."""
_NAME = re.compile(r"\w([\w .-]*\w)?")
_TAIL, _PATH = 1 << 18, 4_096
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_Action = Literal["deploy", "canary", "shadow", "promote", "rollback", "withdraw"]


class Placed(BaseModel):
    """A bundle as a deployment names it."""

    model_config = _STRICT

    bundle: str = Field(min_length=1, max_length=_PATH)
    """Its folder; relative to the workspace where it lies inside."""
    id: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Content id: a folder that holds another bundle by now is refused."""
    name: str = Field(max_length=200)
    contract: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Digest of task, inputs and labels: what clients rely on."""
    unreleased: bool = False
    """Whether it may be served although its need was not shown to be met."""


class Change(BaseModel):
    """One change, and the whole state after it."""

    model_config = _STRICT

    number: int = Field(ge=1)
    time: AwareDatetime
    who: str = Field(max_length=500)
    action: _Action
    live: Placed
    previous: tuple[Placed, ...] = Field(default=(), max_length=MOST_PREVIOUS)
    """What was live before, newest first."""
    canary: Placed | None = None
    share: float = Field(default=0.0, ge=0, le=100)
    """Percent of the users whom the canary answers."""
    shadow: Placed | None = None

    @property
    def placed(self) -> dict[str, Placed]:
        """Role to bundle, of those that are in place."""
        found = {"live": self.live, "canary": self.canary, "shadow": self.shadow}
        return {role: bundle for role, bundle in found.items() if bundle is not None}


@dataclass(frozen=True, slots=True)
class Step:
    """What a change does: the state that it leads to."""

    action: _Action
    live: Placed
    previous: tuple[Placed, ...] = ()
    canary: Placed | None = None
    share: float = 0.0
    shadow: Placed | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of a workspace.

    Args:
        folder: `.sartor/deployments/NAME`.
    """

    folder: Path

    @staticmethod
    def of(workspace: Path, name: str) -> "Deployment":
        """
        Args:
            workspace: `.sartor`.
            name: As names of needs are.

        Raises:
            SettingError: If it cannot be the name of one.
        """
        if not _NAME.fullmatch(name) or len(name.encode("utf-8", "replace")) > 150:
            raise SettingError(
                f"{name[:200]!r} cannot be the name of a deployment.",
                fix="use letters, digits, spaces, '.', '_' and '-'; begin and end with a letter.",
            )
        return Deployment(workspace / "deployments" / name)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def reports(self) -> Path:
        """Where servers say how they are."""
        return self.folder / REPORTS

    def now(self) -> Change:
        """The state that holds.

        Raises:
            DeploymentError: If nothing was ever deployed under this name.
            WorkspaceError: If its history is damaged.
        """
        if not (whole := self._tail()):
            known = [name for name in names(self.folder.parents[1]) if name != self.name]
            raise DeploymentError(
                f"Nothing is deployed as {self.name!r}.",
                fix=near_miss(self.name, known) if known else "start with sartor deploy BUNDLE.",
            )
        return self._read(whole[-1])

    def history(self) -> list[Change]:
        """Every change, oldest first.

        Raises:
            WorkspaceError: If a line is damaged.
        """
        try:
            content = (self.folder / HISTORY).read_bytes()
        except FileNotFoundError:
            return []
        return [self._read(line) for line in _whole(content)]

    def version(self) -> tuple[int, int]:
        """Changes whenever the state does; cheap enough to ask twice a second."""
        try:
            found = (self.folder / HISTORY).stat()
        except OSError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_size)

    def change(self, decide: Callable[[Change | None], Step]) -> Change:
        """Change the state, one at a time: what `decide` sees holds until its step is on the disk.

        Args:
            decide: From the present state, None before the first; raises to change nothing.

        Raises:
            WorkspaceError: If the history is damaged, or the disk is full.
        """
        place = self.folder / HISTORY
        with disk_space(place):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(place) as handle:
                whole = _end_of_last_line(handle)
                before = self._read(lines[-1]) if (lines := self._tail()) else None
                step = decide(before)
                changed = _changed(before, step)
                _append(handle, whole, changed.model_dump_json().encode() + b"\n")
            fsync_folder(self.folder)
            fsync_folder(self.folder.parent)
        return changed

    def place(self, folder: Path, manifest: Manifest, *, unreleased: bool) -> Placed:
        """A bundle as this deployment names it; one of the workspace moves along with it.

        Raises:
            SettingError: If the folder's path is not UTF-8 or too long.
        """
        where, root = folder.resolve(), self.folder.resolve().parents[1]
        path = where.relative_to(root).as_posix() if where.is_relative_to(root) else str(where)
        if len(path.encode("utf-8", "replace")) > _PATH or not _is_utf8(path):
            raise SettingError(
                f"{path[:200]!r} cannot be written down as the place of a bundle.",
                fix="move the bundle to a folder with a shorter or plainer name.",
            )
        return Placed(
            bundle=path,
            id=manifest.id,
            name=manifest.name,
            contract=contract(manifest),
            unreleased=unreleased,
        )

    def folder_of(self, placed: Placed) -> Path:
        """Where a bundle lies."""
        return self.folder.parents[1] / placed.bundle

    def _tail(self) -> list[bytes]:
        """The last whole lines; the newest is among them."""
        try:
            with (self.folder / HISTORY).open("rb") as file:
                start = max(0, file.seek(0, os.SEEK_END) - _TAIL)
                file.seek(start)
                lines = _whole(file.read())
        except FileNotFoundError:
            return []
        return lines[1:] if start else lines

    def _read(self, line: bytes) -> Change:
        try:
            return Change.model_validate_json(line)
        except ValidationError as error:
            raise WorkspaceError(
                f"{self.folder / HISTORY} has a line that is damaged:"
                f" {first_fault(error, 'the line')}.",
                fix="remove that line, which undoes its change.",
            ) from None


def names(workspace: Path) -> list[str]:
    """The deployments of a workspace, `.sartor`."""
    try:
        found = sorted(entry.name for entry in os.scandir(workspace / "deployments"))
    except FileNotFoundError:
        return []
    # A first change that was refused leaves an empty file.
    return [name for name in found if Deployment(workspace / "deployments" / name).version()[1]]


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def contract(manifest: Manifest) -> str:
    """Digest of what clients rely on; the order of labels is not part of it.

    Documents are quoted, and nobody relies on which there are.
    """
    listed = isinstance(TASKS.get(manifest.task)().target, Listed)
    return digest(manifest.task, manifest.inputs, [] if listed else sorted(manifest.outputs))


def _changed(before: Change | None, step: Step) -> Change:
    return Change(
        number=before.number + 1 if before else 1,
        time=_after(before),
        who=_who(),
        action=step.action,
        live=step.live,
        previous=step.previous[:MOST_PREVIOUS],
        canary=step.canary,
        share=step.share,
        shadow=step.shadow,
    )


def _after(before: Change | None) -> datetime:
    """Now; never before the change before, whatever a clock was set to."""
    return max(now(), before.time) if before else now()


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"[:500]


@contextmanager
def _locked(place: Path) -> Generator[int]:
    """The open file, ours alone until the block ends; a process that dies lets it go."""
    handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _end_of_last_line(handle: int) -> int:
    size = os.fstat(handle).st_size
    tail = os.pread(handle, _TAIL, max(0, size - _TAIL))
    return max(0, size - _TAIL) + tail.rfind(b"\n") + 1


def _append(handle: int, end: int, line: bytes) -> None:
    os.ftruncate(handle, end)
    try:
        done = 0
        while done < len(line):
            done += os.pwrite(handle, line[done:], end + done)
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, end)  # It was not made, so it must not be found.
        raise


def _whole(content: bytes) -> list[bytes]:
    """Its lines; what follows the last line break was never finished."""
    return content.split(b"\n")[:-1]
