"""Bundles sent to where others get them, and got from there.

Both ends go by content: what is there is not sent again, and what arrives is the file that was
listed or nothing. A bundle that arrives is verified whole, its signature too where a key is
wanted, before it has its name.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sartor.bundle import Bundle, key_asked, open_bundle
from sartor.bundle.manifest import MANIFEST, SIGNATURE, may_hold
from sartor.core.durable import is_free, named_folder
from sartor.core.errors import MissingExtra, SettingError, TransferError
from sartor.core.events import Emit, StageDone, StageProgress, StageStarted, silent
from sartor.core.hashing import file_sha256
from sartor.ship.stores import STORES, Item, Store

MOST_GB = 20.0
"""Of a bundle that is pulled, GB of 1,000,000,000 bytes."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did.

    Args:
        address: Of exactly this bundle where the store has such addresses; otherwise as given.
        sent: Files that were sent.
        there: Files that were there already.
        bytes: That were sent.
    """

    address: str
    sent: int
    there: int
    bytes: int


def push(folder: Path, address: str, emit: Emit = silent) -> Pushed:
    """Send a bundle, its signature too, to where others can pull it.

    Args:
        folder: The bundle.
        address: `s3://bucket/prefix`, `oci://host/name:tag`, or the path of a shared folder.
        emit: Progress.

    Raises:
        BundleError: If it is damaged, or not signed by the key that SARTOR_VERIFY_KEY names.
        SettingError: If the address cannot be one.
        TransferError: If the other side does not take it; what was sent is kept there.
        MissingExtra: If the library for such addresses is not installed.
    """
    items = _items(open_bundle(folder, verify_key=key_asked(None)))
    sent: list[Item] = []
    with closing(store_of(address)) as store:
        emit(StageStarted("push", len(items), "files"))
        for done, item in enumerate(items, 1):
            if store.send(item, folder / item.name):
                sent.append(item)
            emit(StageProgress("push", done, len(items), item.name))
        if _items(open_bundle(folder)) != items:
            raise TransferError(
                f"{folder} changed while it was sent, and was not published.",
                fix="push it again once it stays as it is.",
            )
        found = store.publish(items)
    size = sum(item.bytes for item in sent)
    emit(StageDone("push", f"{len(sent)} of {len(items)} files sent, {size / 1e6:.1f} MB"))
    return Pushed(found, len(sent), len(items) - len(sent), size)


def pull(
    address: str,
    to: Path,
    *,
    verify_key: str | None = None,
    most_gb: float = MOST_GB,
    emit: Emit = silent,
) -> Bundle:
    """Get a bundle, verify it, and put it in place whole.

    Args:
        address: See `push`; `oci://host/name@sha256:…` too.
        to: New folder, or an empty one.
        verify_key: Public key that must have signed it; SARTOR_VERIFY_KEY decides when None.
        most_gb: Refuse more than this before anything is fetched.
        emit: Progress.

    Raises:
        SettingError: If the address cannot be one, or `to` holds something, be it since this began.
        TransferError: If there is none, it is too large, it names what no bundle holds, or a file
            is not what was listed.
        BundleError: If what arrived is no bundle, or not signed by the key.
        MissingExtra: If the library for such addresses is not installed.
    """
    if not is_free(to):
        raise SettingError(f"{to} holds something already.", fix="name a new folder.")
    key = key_asked(verify_key)
    with closing(store_of(address)) as store, named_folder(to) as staging:
        items = _checked(store.listed(), address, most_gb)
        emit(StageStarted("pull", len(items), "files"))
        _room(items, staging)
        for done, item in enumerate(items, 1):
            (staging / item.name).parent.mkdir(parents=True, exist_ok=True)
            _receive(store, item, staging / item.name, address)
            emit(StageProgress("pull", done, len(items), item.name))
        arrived = open_bundle(staging, verify_key=key)
    found = open_bundle(to, verify_key=key)
    if found.manifest != arrived.manifest:
        raise SettingError(
            f"{to} was written by another process meanwhile.", fix="name another folder."
        )
    size = sum(item.bytes for item in items)
    emit(StageDone("pull", f"{len(items)} files, {size / 1e6:.1f} MB, verified"))
    return found


def store_of(address: str) -> Store:
    """The store that an address names by its scheme; a path without one is a shared folder.

    Raises:
        UnknownName: If there is no such scheme.
        SettingError: If the address is not of its scheme's form.
        MissingExtra: If the library for it is not installed.
    """
    scheme, mark, rest = address.partition("://")
    scheme = scheme if mark else "file"
    if "@" in rest.partition("/")[0]:
        raise SettingError(
            "The address holds a name or a password before the host.",
            fix="leave it out: who asks is taken from the environment.",
        )
    try:
        return STORES.get(scheme)(address)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"Addresses that begin with {scheme}:// need {error.name}, which is not installed.",
            fix=f"pip install 'sartor[{scheme}]'.",
        ) from error


def _items(bundle: Bundle) -> list[Item]:
    """Every file, as it lies there now."""
    places = {name: bundle.folder / name for name in bundle.names}
    return [Item(name, file_sha256(p), p.stat().st_size) for name, p in places.items()]


def _checked(items: Sequence[Item], address: str, most_gb: float) -> list[Item]:
    """What a stranger lists, if a bundle can hold that."""
    names = [item.name for item in items]
    wrong = "push the bundle again, or ask who did."
    for name in names:
        if not (may_hold(name) or name in (MANIFEST, SIGNATURE)):
            raise TransferError(f"{address} lists {name!r}, which is no plain name.", fix=wrong)
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise TransferError(f"{address} lists {twice[0]!r} twice.", fix=wrong)
    if MANIFEST not in names:
        raise TransferError(f"{address} lists no {MANIFEST}: it holds no bundle.", fix=wrong)
    if (size := sum(item.bytes for item in items)) > most_gb * 1e9:
        raise TransferError(
            f"{address} holds {size / 1e9:,.1f} GB, and {most_gb:g} GB are allowed.",
            fix="raise --most-gb, if it should be that large.",
        )
    return list(items)


def _room(items: Sequence[Item], where: Path) -> None:
    size, free = sum(item.bytes for item in items), shutil.disk_usage(where).free
    if size > free:
        raise TransferError(
            f"The bundle has {size / 1e9:.1f} GB, and {where.parent} has {free / 1e9:.1f} GB left.",
            fix="free some space, or name a folder on another disk.",
        )


def _receive(store: Store, item: Item, target: Path, address: str) -> None:
    sha, size = hashlib.sha256(), 0
    with target.open("xb") as file:
        for piece in store.fetch(item):
            size += len(piece)
            if size > item.bytes:
                break
            sha.update(piece)
            file.write(piece)
    if size != item.bytes or sha.hexdigest() != item.sha256:
        what = "more" if size > item.bytes else f"{size:,}"
        raise TransferError(
            f"{item.name} from {address} is not what was listed: {what} of {item.bytes:,} bytes"
            " arrived, or their SHA-256 differs.",
            fix="pull it again; if that does not help, have the bundle pushed again.",
        )
