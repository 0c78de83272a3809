"""A bundle and its folders for platforms, and the platforms that run on this machine."""

import sys
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

from sartor.ship.api import TARGETS, Handed, Parcel


def write(target: str, folder: Path, parcel: Parcel, **settings: object) -> Handed:
    """What `sartor ship --to target` writes, without the list and the page."""
    folder.mkdir()
    return TARGETS.get(target)(**settings).write(folder, parcel)


def lean_package(shipped: Path, folder: Path) -> Path:
    """What build.sh makes of a folder for Lambda, with links in place of what pip fetches."""
    folder.mkdir()
    for line in (shipped / "requirements.txt").read_text("utf-8").split():
        name, pinned, _ = line.partition("==")
        for top in _tops(name) if pinned else ():
            (folder / top.name).symlink_to(top)
    (wheel,) = shipped.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    for name in ("handler.py", "bundle"):
        (folder / name).symlink_to(shipped / name)
    return folder


def _tops(name: str) -> set[Path]:
    """What a distribution put directly into site-packages."""
    found = distribution(name)
    names = {file.parts[0] for file in found.files or () if file.parts[0] != ".."}
    return {Path(str(found.locate_file(top))).resolve() for top in names}


ALONE = (sys.executable, "-I", "-S")
"""A Python without anything that is installed for it."""
