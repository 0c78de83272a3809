"""A folder that knows its own contents: manifest.json holds the SHA-256 of every other file."""

import json
from pathlib import Path

from sartor.core.hashing import file_sha256

_NAME = "manifest.json"


def seal(folder: Path) -> None:
    """Write the manifest over all files of the folder, which must be complete."""
    hashes = {
        str(path.relative_to(folder)): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / _NAME).write_text(json.dumps(hashes, sort_keys=True) + "\n", encoding="utf-8")


def damage(folder: Path) -> str | None:
    """What is wrong with a sealed folder, or None if every file is as it was sealed."""
    try:
        manifest = json.loads((folder / _NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"its manifest cannot be read: {error}"
    if not isinstance(manifest, dict):
        return "its manifest is not a mapping of files"
    for name, expected in manifest.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_sha256(path) != expected:
            return f"{name} does not have the SHA-256 of its manifest"
    return None
