"""Where a run's bundle ends: in the workspace's folder of bundles, under its name and id."""

import errno
from pathlib import Path

from sartor.bundle import Bundle, Manifest, open_bundle
from sartor.core.durable import fsync_folder
from sartor.core.errors import BundleError
from sartor.core.hashing import digest


def publish(bundle: Bundle, bundles: Path, need_text: str) -> Bundle:
    """Move a bundle to its place; the same one that is there already stays.

    The id says how a bundle answers. One that answers alike but was asked for by another need,
    or was edited by hand, is another bundle: it keeps its place and this one goes beside it.

    Args:
        bundle: Unreleased.
        bundles: Folder of the workspace's bundles.
        need_text: As the user wrote it.
    """
    manifest = bundle.manifest
    name = f"{manifest.name}-{manifest.id[:8]}"
    origin = digest(need_text, manifest.need, manifest.lineage)
    bundles.mkdir(parents=True, exist_ok=True)
    for final in (bundles / name, bundles / f"{name}-{origin[:6]}"):
        try:
            bundle.folder.rename(final)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:
            fsync_folder(bundles)
            return Bundle(final, manifest)
        if (there := _same(final, manifest, need_text)) is not None:
            return there
    return open_bundle(final)


def _same(place: Path, manifest: Manifest, need_text: str) -> Bundle | None:
    try:
        there = open_bundle(place)
    except BundleError:
        return None
    found = there.manifest
    alike = (found.id, found.need, found.lineage) == (
        manifest.id,
        manifest.need,
        manifest.lineage,
    )
    asked = there.path("need.yaml").read_bytes()
    wanted = need_text.encode("utf-8", "surrogatepass")
    return there if alike and asked == wanted else None
