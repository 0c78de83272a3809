"""Files that survive a crash: written under another name, flushed, then renamed into place."""

import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sartor.core.errors import WorkspaceError

_STAGED = re.compile(r"\..+\.[a-z0-9_]{8}")
"""What `tempfile` makes of `staged_folder`'s prefix."""
_DEPTH = 4
_FULL = (errno.ENOSPC, errno.EDQUOT)


def fsync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename inside it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder`, then `folder` itself."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            fsync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    fsync_folder(folder)


def write_durably(path: Path, data: bytes, *, beside: Path | None = None) -> None:
    """Replace `path` with `data` in one step: a reader sees the old bytes or the new ones.

    Args:
        path: Its folder must exist.
        data: All of the new content.
        beside: Folder on the same disk for the unfinished file, where a kill may leave it;
            default: the folder of `path`.

    Raises:
        WorkspaceError: If the disk is full.
    """
    with disk_space(path):
        handle, name = tempfile.mkstemp(dir=beside or path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


@contextmanager
def staged_folder(final: Path) -> Generator[Path]:
    """A new folder that becomes `final` when the block ends well, and is removed when it does not.

    Two processes that build the same `final` do not collide: the later one's work is dropped. What
    a killed one leaves behind, `sweep` removes.

    Raises:
        WorkspaceError: If the disk is full.
    """
    with disk_space(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        staging, lock = _new_staging(final, final.parent)
        try:
            yield staging
            staging.chmod(0o755)  # mkdtemp's 0700 would hide a bundle from the user that serves it
            fsync_tree(staging)
            try:
                staging.rename(final)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            fsync_folder(final.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(lock)


@contextmanager
def named_folder(final: Path) -> Generator[Path]:
    """What `staged_folder` gives, for a folder that a user names: it may be there already, empty,
    and be the current one or a mount point, in whose place no other can be put. What was staged
    then moves into it.

    Raises:
        WorkspaceError: If the disk is full.
    """
    final = Path(os.path.abspath(final))
    if not _stays(final):
        with staged_folder(final) as staging:
            yield staging
        return
    with disk_space(final):
        # Inside: that is the disk that is meant, and the folder above may be another user's.
        staging, lock = _new_staging(final, final)
        try:
            yield staging
            fsync_tree(staging)
            if all(_STAGED.fullmatch(path.name) for path in final.iterdir()):
                for path in sorted(staging.iterdir()):
                    path.rename(final / path.name)
            fsync_folder(final)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(lock)


def is_free(final: Path) -> bool:
    """Whether `named_folder` can fill it: nothing is there, or an empty folder.

    What killed processes left of building it is removed first.
    """
    sweep_beside(final)
    if final.is_symlink():
        return False
    return not final.exists() or (final.is_dir() and not any(final.iterdir()))


def _stays(folder: Path) -> bool:
    """Whether a folder is there that no other can be renamed over."""
    if not folder.is_dir():
        return False
    with suppress(OSError):  # the current folder may be gone, and not every system has /proc
        if folder.samefile(Path.cwd()):
            return True
    # One that shows a folder of the same disk is no mount point to Python.
    with suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
        if str(folder.resolve()).replace(" ", "\\040") in {line.split(" ")[4] for line in mounts}:
            return True
    return os.path.ismount(folder)


def make_readable(folder: Path) -> None:
    """Let everybody read what is in a folder, whatever the umask and whatever a library chose: an
    image's user, or who serves a model, is not the one who wrote it."""
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
        else:
            with path.open("rb") as file:
                path.chmod(0o755 if file.read(2) == b"#!" else 0o644)


def sweep(root: Path) -> list[Path]:
    """Remove the staging folders below `root` that no process is building any more.

    Whoever builds one holds a lock on it, which ends with the process. Where the file system has no
    locks nothing is removed.

    Args:
        root: Searched to a depth of four folders; inside of staging folders nothing is searched.

    Returns:
        What was removed.
    """
    return [folder for folder in _staged_below(root, _DEPTH) if _removed(folder)]


def sweep_beside(final: Path) -> None:
    """Remove what killed processes left of building `final`, and nothing else of its folder.

    Args:
        final: As of `staged_folder` or `named_folder`; need not exist.
    """
    final = Path(os.path.abspath(final))
    name = re.compile(rf"\.{re.escape(final.name)}\.[a-z0-9_]{{8}}")
    for place in (final.parent, final):
        with suppress(FileNotFoundError, NotADirectoryError):
            for entry in os.scandir(place):
                if name.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    _removed(Path(entry.path))


def _new_staging(final: Path, place: Path) -> tuple[Path, int]:
    """A new folder in `place` and the open file that holds its lock."""
    while True:
        staging = Path(tempfile.mkdtemp(dir=place, prefix=f".{final.name}."))
        try:
            lock = os.open(staging, os.O_RDONLY)
        except FileNotFoundError:
            continue  # swept before it was locked
        with suppress(OSError):  # no locks here: then nobody sweeps either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if staging.exists():
            return staging, lock
        os.close(lock)


def _staged_below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        inside = sorted(e.name for e in os.scandir(folder) if e.is_dir(follow_symlinks=False))
    except OSError:
        return  # gone meanwhile, or another user's
    for name in inside:
        if _STAGED.fullmatch(name):
            yield folder / name
        elif depth > 1:
            yield from _staged_below(folder / name, depth - 1)


def _removed(staging: Path) -> bool:
    try:
        lock = os.open(staging, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(staging)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


@contextmanager
def disk_space(path: Path) -> Generator[None]:
    """Turn "no space left" and "quota exceeded" into an error that says what to do.

    Raises:
        WorkspaceError: When the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not _says_full(error):
            raise
        raise WorkspaceError(
            f"No space left on the disk while writing {path}.",
            fix="free some space (`sartor clean` says what of .sartor/ can be made again), then run"
            " the same command again: what was finished is kept.",
        ) from error


def _says_full(error: Exception) -> bool:
    """Whether an error is that of a full disk; libraries in Rust raise theirs in words alone."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(f"(os error {number})" in str(error) for number in _FULL)
