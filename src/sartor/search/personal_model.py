"""The model that all users share, with what the heads of users' own stand on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sartor.bundle import Bundle, open_bundle
from sartor.bundle.adapter import (
    Adapter,
    adapter_version,
    delete_adapter,
    read_adapter,
    write_adapter,
)
from sartor.bundle.base import BIAS, GRAPH, WEIGHT, base_head, refuse_other, verified_base
from sartor.core.errors import BundleError, UnknownName
from sartor.core.protocols import Floats
from sartor.core.workspace import Workspace
from sartor.listen.by_user import Who
from sartor.serve.runtime import Runtime, load
from sartor.tasks import TASKS
from sartor.tune.personal import Shared

_ID = 12
_CACHE_MB = 64.0
"""Texts are read for what the head reads and for the logits; the second time costs nothing."""


def open_model(folder: Path, place: Workspace, root: Path | None = None) -> "Model":
    """A bundle that users can have heads of their own for; its base is made the first time.

    Args:
        folder: The bundle.
        place: Workspace, where the adapters lie by default.
        root: Folder of the adapters elsewhere.

    Raises:
        BundleError: If it is damaged, has no linear head, does another task than one label a text,
            or `root` is another bundle's.
        MissingExtra: If the base must be made and onnx is not installed.
    """
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    roles = TASKS.get(manifest.task)().roles
    if roles.columns or len(roles.inputs) != 1 or roles.target_kind != "label":
        raise BundleError(
            f"{folder} does the task {manifest.task}: users can have heads of their own where one"
            " text gets one label.",
            fix="give a bundle of text_classification.",
        )
    if root is None:
        root = place.folder / "adapters" / f"{manifest.name}-{manifest.id[:_ID]}"
    bundle.path(GRAPH)  # where it holds none, that is what is wrong
    refuse_other(root, manifest.id)
    try:
        verified_base(root, manifest.id, manifest.files[GRAPH].sha256)
    except BundleError:
        # There is none, or a call was killed while it made one. Users without onnx can go on where
        # it was made.
        from sartor.shrink.adaptable import make_base

        make_base(bundle, root)
    runtime = load(folder, unreleased="allow", adapters=root, cache_mb=_CACHE_MB)
    head = base_head(root)
    temperature = float(manifest.decision.get("temperature", 1.0))
    return Model(bundle, root, Shared(head[WEIGHT], head[BIAS], temperature), runtime)


@dataclass(frozen=True, slots=True)
class Model:
    """A `SharedModel`, and the heads of users' own beside it.

    Args:
        bundle: What all share.
        root: Folder of the adapters.
        head: The bundle's.
        runtime: Answers by it.
    """

    bundle: Bundle
    root: Path
    head: Shared
    runtime: Runtime

    @property
    def outputs(self) -> Sequence[str]:
        return self.bundle.manifest.outputs

    def read(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """(texts, features), what the head reads, and (texts, outputs), the logits as served."""
        if self.runtime.adapted is None:
            raise BundleError(f"{self.root} holds no adapters.", fix="name another folder.")
        return self.runtime.adapted.features(texts), self.runtime.logits(texts)

    def best(self, logits: Floats) -> list[str]:
        """The forced answer of each row, by the bundle's decision rule."""
        manifest = self.bundle.manifest
        task = TASKS.get(manifest.task)()
        return [str(one["best"]) for one in task.decode(logits, self.outputs, manifest.decision)]

    def own(self, who: Who) -> Adapter | None:
        """The head that the user has, if any.

        Raises:
            BundleError: If it is damaged, or the user has low-rank updates instead: those were not
                made by this command, so it does not put a head in their place.
        """
        try:
            found = read_adapter(self.root, who.tenant, who.user)
        except UnknownName:
            return None
        if found.kind != "head":
            raise BundleError(
                f"The user {who.user!r:.100} has an adapter of the kind {found.kind!r}.",
                fix="delete its folder, or tune for others: a head would take its place.",
            )
        return found

    def version(self, who: Who) -> tuple[int, int, int] | None:
        """Changes whenever the user's head does."""
        return adapter_version(self.root, who.tenant, who.user)

    def release(self, who: Who, adapter: Adapter) -> None:
        """Answer the user by this head from their next request on."""
        write_adapter(self.root, who.tenant, who.user, adapter)

    def withdraw(self, who: Who) -> None:
        """Answer the user by the shared model again."""
        delete_adapter(self.root, who.tenant, who.user)
