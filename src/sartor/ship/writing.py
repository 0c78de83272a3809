"""Write a target's folder: staged, listed, renamed into place; never over somebody's edits.

`sartor-ship.json` holds the SHA-256 of every other file. A folder that still fits its list is one
that only `sartor ship` has written, and may be replaced; any other is left alone.
"""

import json
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

from sartor.bundle import Bundle, key_asked, open_bundle
from sartor.bundle.plain import alone
from sartor.core.durable import disk_space, make_readable, staged_folder, sweep_beside
from sartor.core.errors import BundleError, SettingError
from sartor.core.hashing import file_sha256
from sartor.llm.access import check_access
from sartor.ship.api import Handed, Parcel
from sartor.ship.readme import readme
from sartor.ship.settings import read_target

LIST = "sartor-ship.json"
README = "README.md"
_FORMAT = 1
_MOST_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Shipped:
    """What was written.

    Args:
        folder: Where.
        target: Its name.
        handed: Steps and notes.
        files: Path inside the folder to SHA-256.
    """

    folder: Path
    target: str
    handed: Handed
    files: Mapping[str, str]


def ship(
    bundle: Path,
    target: str,
    out: Path | None = None,
    settings: Mapping[str, str] | None = None,
    *,
    unreleased: bool = False,
    allow_llm: Collection[str] = (),
) -> Shipped:
    """Write the folder that brings a bundle to a target.

    Args:
        bundle: Its folder.
        target: Name in the registry.
        out: The folder to write; NAME-TARGET in the current one when None.
        settings: Of the target, as they were typed.
        unreleased: Ship a bundle whose need was not shown to be met.
        allow_llm: Servers that the bundle may ask where it runs; see `llm.access`.

    Raises:
        BundleError: If the bundle is damaged, unreleased and that is not allowed, or asks a server
            that is not.
        UnknownName: If there is no such target.
        SettingError: If a setting cannot work, or `out` holds what `ship` did not write.
        WorkspaceError: If the disk is full.
    """
    chosen = read_target(target, settings or {})
    opened = open_bundle(bundle, verify_key=key_asked(None))
    parcel = Parcel.of(opened, unreleased=unreleased)
    _check_use(opened, parcel, allow_llm)
    place = out or Path(f"{parcel.name}-{target}")
    # Absolute, so that `.` and `..` have a parent; links are not followed, but refused.
    final = Path(os.path.abspath(place))
    if final.resolve().is_relative_to(bundle.resolve()):
        raise SettingError(
            f"{place} lies inside the bundle, which would be damaged by it.",
            fix="name another folder with --out.",
        )
    with disk_space(final):
        final.parent.mkdir(parents=True, exist_ok=True)
    with alone(final.parent):
        _check_place(final)
        sweep_beside(final)
    with ExitStack() as changing:
        aside: Path | None = None
        try:
            with staged_folder(final) as staging:
                handed = chosen.write(staging, parcel)
                if not (staging / README).exists():
                    (staging / README).write_text(readme(target, parcel, handed), "utf-8")
                files = _hashes(staging)
                head = {
                    "format": _FORMAT,
                    "target": target,
                    "settings": asdict(cast("Any", chosen)),
                }
                head |= {"bundle": opened.manifest.id, "sartor": version("sartor"), "files": files}
                listed = json.dumps(head, indent=1) + "\n"
                (staging / LIST).write_text(listed, "utf-8")
                make_readable(staging)
                # Others may be writing here too: from now on until it has its name they wait.
                changing.enter_context(alone(final.parent))
                aside = _set_aside(final)
        except BaseException:
            if aside is not None and not final.exists():
                aside.rename(final)
            raise
        if aside is not None:
            shutil.rmtree(aside)
        if (final / LIST).read_text("utf-8") != listed:
            raise SettingError(
                f"{final} was written by another process meanwhile.", fix="name another --out."
            )
    return Shipped(place, target, handed, files)


def _check_use(bundle: Bundle, parcel: Parcel, allowed: Collection[str]) -> None:
    if not bundle.manifest.released and not parcel.unreleased:
        raise BundleError(
            f"{bundle.folder} is not released: its need is unmet or unproven.",
            fix="add --unreleased to ship it all the same.",
        )
    if parcel.asks is not None:
        check_access(parcel.asks, bundle.folder, allowed)


def _set_aside(final: Path) -> Path | None:
    """Move what was written before out of the way; None where nothing was.

    Raises:
        SettingError: If it has been edited: looked at again, since writing took a while.
    """
    _check_place(final)
    if not final.exists():
        return None
    aside = Path(mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    final.rename(aside)
    return aside


def _check_place(final: Path) -> None:
    """
    Raises:
        SettingError: Naming what `ship` did not write, or not so.
    """
    if final.is_symlink() or (final.exists() and not final.is_dir()):
        raise SettingError(f"{final} is no folder.", fix="name another with --out.")
    if not final.exists() or not any(final.iterdir()):
        return
    if (odd := _edited(final)) is not None:
        raise SettingError(
            f"{final} cannot be replaced: {odd}.",
            fix="keep your changes elsewhere and remove the folder, or name another with --out.",
        )


def _edited(folder: Path) -> str | None:
    """What tells that somebody else had a hand in a folder; None where nothing does."""
    listed = _listed(folder / LIST)
    if listed is None:
        return f"it holds no {LIST}, so it was not written by `sartor ship`"
    found = _hashes(folder)
    for name in sorted(found.keys() | listed.keys()):
        if name not in listed:
            return f"{name!r} was added to it"
        if name not in found:
            return f"{name!r} was removed from it"
        if found[name] != listed[name]:
            return f"{name!r} was edited"
    return None


def _listed(place: Path) -> dict[str, str] | None:
    if place.is_symlink() or not place.is_file() or place.stat().st_size > _MOST_BYTES:
        return None
    try:
        found: Any = json.loads(place.read_bytes())
    except (ValueError, RecursionError):
        return None
    files: Any = found.get("files") if isinstance(found, dict) else None
    return files if isinstance(files, dict) else None


def _hashes(folder: Path) -> dict[str, str]:
    """Path inside the folder to SHA-256, of everything but the list itself; sorted.

    What Python leaves behind when a folder's code is tried out is passed over.
    """
    found = {
        path.relative_to(folder).as_posix(): "a link" if path.is_symlink() else file_sha256(path)
        for path in folder.rglob("*")
        if (path.is_symlink() or path.is_file()) and "__pycache__" not in path.parts
    }
    found.pop(LIST, None)
    return dict(sorted(found.items()))
