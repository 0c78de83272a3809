"""A folder that several machines reach: `/mnt/models/reviews` or `file:///mnt/models/reviews`."""

import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sartor.core.durable import disk_space, fsync_folder, write_durably
from sartor.core.errors import TransferError
from sartor.core.hashing import file_sha256
from sartor.ship.stores import STORES, Item
from sartor.ship.stores._listing import MOST_BYTES, NAME, blob, read_listing, write_listing

_PIECE = 1 << 20
_PART, _STALE_S = ".part.", 86_400.0
"""How an unfinished file begins, and after how long nobody goes on with it."""


@STORES.add
class Folder:
    """
    Args:
        address: A path, or `file://` and a path.
    """

    def __init__(self, address: str) -> None:
        self.folder = Path(address.removeprefix("file://"))

    def send(self, item: Item, path: Path) -> bool:
        target = self.folder / blob(item)
        with self._usable():
            # Read again: content that was damaged there would never be sent anew otherwise.
            if target.is_file() and file_sha256(target) == item.sha256:
                return False
            target.parent.mkdir(parents=True, exist_ok=True)
            _sweep(target.parent)
            with disk_space(target):
                handle, name = tempfile.mkstemp(dir=target.parent, prefix=_PART)
                try:
                    with os.fdopen(handle, "wb") as file, path.open("rb") as source:
                        shutil.copyfileobj(source, file, _PIECE)
                        file.flush()
                        os.fsync(file.fileno())
                    if file_sha256(Path(name)) != item.sha256:
                        raise TransferError(
                            f"{path} changed while it was sent.",
                            fix="push the bundle again once it stays as it is.",
                        )
                    os.chmod(name, 0o644)
                    os.replace(name, target)
                except BaseException:
                    Path(name).unlink(missing_ok=True)
                    raise
            fsync_folder(target.parent)
        return True

    def publish(self, items: Sequence[Item]) -> str:
        with self._usable():
            write_durably(self.folder / NAME, write_listing(items))
        return str(self.folder)

    def listed(self) -> list[Item]:
        place = self.folder / NAME
        if not place.is_file():
            raise TransferError(
                f"{self.folder} holds no pushed bundle: there is no {NAME}.",
                fix="check the path; a bundle's own folder is used as it is, or copied.",
            )
        with self._usable(), place.open("rb") as file:
            return read_listing(file.read(MOST_BYTES + 1), str(place))

    def fetch(self, item: Item) -> Iterator[bytes]:
        place = self.folder / blob(item)
        if not place.is_file():
            raise TransferError(
                f"{self.folder} lists {item.name}, and {place} is gone.",
                fix="push the bundle again.",
            )
        with self._usable(), place.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    def close(self) -> None: ...

    @contextmanager
    def _usable(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise TransferError(
                f"{error.filename or self.folder} cannot be used: {error.strerror or error}.",
                fix="check the path and its permissions.",
            ) from None


def _sweep(folder: Path) -> None:
    """Remove what pushes left that were killed.

    A lock would not tell: another machine may be writing, and its locks need not be seen here.
    """
    for part in folder.glob(f"{_PART}*"):
        with suppress(FileNotFoundError):  # finished meanwhile, or swept by another
            if time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink()
