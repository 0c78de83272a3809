"""Zip files that have the same bytes whenever and wherever they are written."""

import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_UNIX = 3


def write_archive(path: Path, held: Mapping[str, bytes | Path]) -> None:
    """Write a zip.

    Args:
        path: Of the archive.
        held: Place inside it to content, or to the file whose content is copied; in this order.
    """
    with ZipFile(path, "w") as archive:
        for place, content in held.items():
            entry = ZipInfo(place, _EPOCH)
            entry.create_system = _UNIX  # whatever this is
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = ZIP_DEFLATED
            if isinstance(content, bytes):
                archive.writestr(entry, content)
            else:
                # The size decides the form of the entry's head, so it is told before.
                entry.file_size = content.stat().st_size
                with content.open("rb") as source, archive.open(entry, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
