"""Forgetting a user: their answers, what they said, and every model of their own."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sartor.bundle.adapter import delete_adapter, stored_adapters
from sartor.core.store import Store
from sartor.core.workspace import Workspace
from sartor.listen.by_user import Who, tenants_of
from sartor.listen.export import Deleted, delete_user
from sartor.search.personal_record import Records
from sartor.search.turns import turn


def forget_user(
    place: Workspace, user: str, tenant: str | None = None, roots: Sequence[Path] = ()
) -> Deleted:
    """Delete everything of a user. Killed midway, the same call deletes the rest.

    A server that follows the adapters' folder stops using one with its next request. Backups, and
    bundles that were trained on the user's corrections (`data.feedback`), are not reached.

    Args:
        place: Its store, and the adapters that lie in it.
        user: As requests named them.
        tenant: Only under this tenant; under every one when None.
        roots: Folders of adapters elsewhere.

    Raises:
        BundleError: If a folder of adapters is damaged; name the tenant to delete without looking
            through it.
        WorkspaceError: If the store cannot be written.
    """
    records = Records(place)
    with turn(records.lock, lambda: None), Store.open(place.store) as store:
        known = {tenant} if tenant is not None else {None, *tenants_of(store, user)}
        folders = [*adapter_roots(place), *roots]
        had: list[str | None] = []
        for root in folders:
            for each in sorted(known | _tenants(root, user, tenant), key=lambda name: name or ""):
                if delete_adapter(root, each, user):
                    had.append(each)
        for each in {*known, *had}:
            records.forget(Who(each, user))
        return delete_user(store, user, tenant, had)


def adapter_roots(place: Workspace) -> Iterator[Path]:
    """The folders of adapters that lie in a workspace."""
    folder = place.folder / "adapters"
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.is_dir())


def _tenants(root: Path, user: str, tenant: str | None) -> set[str | None]:
    """Under which tenants a root holds an adapter of theirs: it may outlive every answer."""
    if tenant is not None or not root.is_dir():
        return set()
    return {found.tenant for found in stored_adapters(root) if found.user == user}
