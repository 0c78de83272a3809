"""What of a workspace can be made again: how large it is, and how it is removed.

    fits/KEY            what was trained; of every trial a whole model
    stages/NAME/KEY     exported graphs, and what compressors left
    activations/ states/    what frozen backbones computed
    pretrained/ work/   backbones that read on, and half-done work

Bundles and the fits that they were made of stay, and so do runs with their reports, the store, what
language models answered and what searches tried. A run that is taken up again makes what it needs
anew, to the same result.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.errors import WorkspaceError
from sartor.core.workspace import Workspace

_DEPTHS = {"fits": 1, "stages": 2, "activations": 0, "states": 0, "pretrained": 1, "work": 1}
"""Kind to the depth of one entry in its folder; 0 where all of it is one."""
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Cleared:
    """One kind of what can be made again.

    Args:
        kind: Its folder.
        entries: That go, or would.
        bytes: They take.
        kept: Entries that stay: a bundle was made of them, or they were used of late.
    """

    kind: str
    entries: int
    bytes: int
    kept: int


def clear(place: Workspace, older_than_days: float = 0.0, *, remove: bool) -> list[Cleared]:
    """Remove what can be made again, or say how much that would be.

    Args:
        place: The workspace.
        older_than_days: Keep what was written since.
        remove: Whether it is removed.

    Raises:
        WorkspaceError: If a run is at work and something is to be removed.
    """
    since = time.time() - older_than_days * _DAY_S
    needed = _needed(place)
    with ExitStack() as stack:
        if remove:
            _stop_at_runs(place, stack)
        return [_cleared(place, kind, since, needed, remove) for kind in _DEPTHS]


def _cleared(place: Workspace, kind: str, since: float, needed: set[Path], remove: bool) -> Cleared:
    gone = size = kept = 0
    for entry in _entries(place.folder / kind, _DEPTHS[kind]):
        taken, newest = _measured(entry)
        if entry.resolve() in needed or newest > since:
            kept += 1
            continue
        gone, size = gone + 1, size + taken
        if remove:
            shutil.rmtree(entry)
            entry.with_suffix(".json").unlink(missing_ok=True)
    return Cleared(kind, gone, size, kept)


def _entries(folder: Path, depth: int) -> Iterator[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return
    if depth == 0:
        yield folder
        return
    for each in sorted(folder.iterdir()):
        if each.is_dir() and not each.is_symlink():
            yield from _entries(each, depth - 1)


def _measured(folder: Path) -> tuple[int, float]:
    """(bytes, when the newest file was written), of all files."""
    size, newest = 0, 0.0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                told = os.lstat(os.path.join(parent, name))
            except FileNotFoundError:  # a run beside may have removed it
                continue
            size, newest = size + told.st_size, max(newest, told.st_mtime)
    return size, newest


def _needed(place: Workspace) -> set[Path]:
    """The folders that bundles say they were made of: whoever personalises or exports one, trains
    on from there."""
    found: set[Path] = set()
    for manifest in place.bundles.glob("*/manifest.json"):
        try:
            told: Any = json.loads(manifest.read_bytes())
            fit: Any = told["lineage"]["fit"]
        except (OSError, ValueError, RecursionError, LookupError, TypeError):
            continue
        if isinstance(fit, str):
            path = (place.folder / fit).resolve()
            found |= {path, *path.parents}
    return found


def _stop_at_runs(place: Workspace, stack: ExitStack) -> None:
    """Hold every run's lock until the stack ends.

    Raises:
        WorkspaceError: If another process holds one.
    """
    for number in place.run_numbers():
        file = place.folder / "runs" / str(number) / "lock"
        if not file.exists():
            continue
        handle = stack.enter_context(file.open("r+"))
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkspaceError(
                f"Run {number} is at work in {place.folder}.",
                fix="wait for it, or stop it: what it had finished is made again.",
            ) from None
