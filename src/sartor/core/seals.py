"""What a folder held when it was complete: the SHA-256 of every file, in one file of JSON."""

import json
from pathlib import Path
from typing import Any, cast

from sartor.core.durable import write_durably
from sartor.core.hashing import file_sha256

_NAME = "manifest.json"


def seal(folder: Path, seals: Path | None = None) -> None:
    """Write down all files of a folder, which must be complete.

    Args:
        folder: Holds them.
        seals: Where it is written; `manifest.json` in the folder itself when None.

    Raises:
        WorkspaceError: If the disk is full.
    """
    hashes = {
        str(path.relative_to(folder)): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    written = json.dumps(hashes, sort_keys=True) + "\n"
    write_durably(seals or folder / _NAME, written.encode("utf-8"))


def damage(folder: Path, seals: Path | None = None) -> str | None:
    """What is wrong with a sealed folder, or None if every file is as it was sealed.

    Args:
        folder: As given to `seal`.
        seals: The same.
    """
    try:
        manifest = json.loads((seals or folder / _NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"its manifest cannot be read: {error}"
    if not isinstance(manifest, dict):
        return "its manifest is not a mapping of files"
    for name, expected in cast("dict[str, Any]", manifest).items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_sha256(path) != expected:
            return f"{name} does not have the SHA-256 of its manifest"
    return None
