"""Files that survive a crash: written under another name, flushed, then renamed into place."""

import errno
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sartor.core.errors import WorkspaceError


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

    Two processes that build the same `final` do not collide: the later one's work is dropped.

    Raises:
        WorkspaceError: If the disk is full.
    """
    with disk_space(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
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


@contextmanager
def disk_space(path: Path) -> Generator[None]:
    """Turn "no space left" and "quota exceeded" into an error that says what to do.

    Raises:
        WorkspaceError: When the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise WorkspaceError(
            f"No space left on the disk while writing {path}.",
            fix="free some space (old runs and activations lie under .sartor/), then run the"
            " same command again: what was finished is kept.",
        ) from error
