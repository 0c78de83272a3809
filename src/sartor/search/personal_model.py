"""The model that all users share, with what users' own heads and LoRAs stand on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sartor.bundle import Bundle, open_bundle
from sartor.bundle.adapter import (
    Adapter,
    Kind,
    adapter_version,
    delete_adapter,
    read_adapter,
    write_adapter,
)
from sartor.bundle.base import (
    BIAS,
    GRAPH,
    WEIGHT,
    Base,
    base_head,
    read_base,
    refuse_other,
    verified_base,
)
from sartor.bundle.tensors import Tensors
from sartor.core.errors import BundleError, UnknownName
from sartor.core.events import Emit, Note, silent
from sartor.core.protocols import Floats
from sartor.core.workspace import Workspace
from sartor.listen.by_user import Who
from sartor.serve.adapters.store import prepare
from sartor.serve.runtime import Runtime, load
from sartor.tasks import TASKS
from sartor.tune.personal import Shared

# Imported where it is used: forgetting and listing need no graph.
if TYPE_CHECKING:
    from sartor.serve.adapters.graph import AdaptedGraph

_ID = 12
_CACHE_MB = 64.0
"""Texts are read for what the head reads and for the logits; the second time costs nothing."""


def open_shared(folder: Path) -> Bundle:
    """A bundle whose users can have models of their own.

    Raises:
        BundleError: If it is damaged, holds no graph, or does another task than label a text.
    """
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    roles = TASKS.get(manifest.task)().roles
    if roles.columns or len(roles.inputs) != 1 or roles.target_kind != "label":
        raise BundleError(
            f"{folder} does the task {manifest.task}: users can have heads and LoRAs of their own"
            " where one text gets one label.",
            fix="give a bundle of text_classification.",
        )
    bundle.path(GRAPH)  # where it holds none, that is what is wrong
    return bundle


def open_model(
    bundle: Bundle, place: Workspace, root: Path | None = None, rank: int = 0, emit: Emit = silent
) -> "Model":
    """The shared model as it is served, with its base, which is made the first time.

    Args:
        bundle: From `open_shared`.
        place: Workspace, where the adapters lie by default.
        root: Folder of the adapters elsewhere.
        rank: Of the LoRAs that users are to get; 0 for heads alone.
        emit: Told where servers must open the base again.

    Raises:
        BundleError: If `root` is another bundle's.
        NothingToTune: If its graph takes no head or no LoRAs.
        MissingExtra: If the base must be made and onnx is not installed.
    """
    manifest = bundle.manifest
    if root is None:
        root = place.folder / "adapters" / f"{manifest.name}-{manifest.id[:_ID]}"
    refuse_other(root, manifest.id)
    _stand(bundle, root, rank, emit)
    runtime = load(bundle.folder, unreleased="allow", adapters=root, cache_mb=_CACHE_MB)
    return Model(bundle, root, runtime)


def _stand(bundle: Bundle, root: Path, rank: int, emit: Emit) -> None:
    """Put a base under a root that takes all that the root holds, and LoRAs of this rank."""
    told = _told(root)
    try:
        found, _ = verified_base(root, bundle.manifest.id, bundle.manifest.files[GRAPH].sha256)
        if found.rank >= rank:
            return
    except BundleError:
        # There is none, or a call was killed while it made one. Users without onnx can go on where
        # it was made.
        pass
    from sartor.shrink.adaptable import make_base

    if told is None:
        make_base(bundle, root, rank)
        return
    make_base(bundle, root, max(rank, told.rank), told.where)
    if told.rank < rank:
        text = (
            f"{root} takes LoRAs of rank {rank} from now on. Restart servers that have it open:"
            " until then they refuse users who get such a LoRA."
        )
        emit(Note(text, "warning"))


def _told(root: Path) -> Base | None:
    """What a base says of itself; None where there is none, or it is not to be read."""
    try:
        return read_base(root)
    except BundleError:
        return None


@dataclass(frozen=True, slots=True)
class Model:
    """A `SharedModel`, and what of users' own lies beside it.

    Args:
        bundle: What all share.
        root: Folder of the adapters.
        runtime: Answers by it.
    """

    bundle: Bundle
    root: Path
    runtime: Runtime

    @property
    def adapted(self) -> "AdaptedGraph":
        """The graph that answers, with its base."""
        if self.runtime.adapted is None:
            raise BundleError(f"{self.root} holds no adapters.", fix="name another folder.")
        return self.runtime.adapted

    def head(self) -> Shared:
        """The head that all share.

        Raises:
            BundleError: If it is none that can be replaced.
        """
        head = base_head(self.root)
        temperature = float(self.bundle.manifest.decision.get("temperature", 1.0))
        return Shared(head[WEIGHT], head[BIAS], temperature)

    @property
    def outputs(self) -> Sequence[str]:
        return self.bundle.manifest.outputs

    def read(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """(texts, features), what the head reads, and (texts, outputs), the logits as served."""
        return self.adapted.features(texts), self.runtime.logits(texts)

    def under(self, kind: Kind, tensors: Tensors, texts: Sequence[str]) -> Floats:
        """(texts, outputs), the logits as served to a user who has this adapter."""
        own = prepare(Adapter(self.bundle.manifest.id, kind, tensors), self.adapted.base)
        return self.runtime.logits(texts, [own] * len(texts))

    def best(self, logits: Floats) -> list[str]:
        """The forced answer of each row, by the bundle's decision rule."""
        manifest = self.bundle.manifest
        task = TASKS.get(manifest.task)()
        return [str(one["best"]) for one in task.decode(logits, self.outputs, manifest.decision)]

    def own(self, who: Who) -> Adapter | None:
        """What the user has, if anything.

        Raises:
            BundleError: If it is damaged.
        """
        try:
            return read_adapter(self.root, who.tenant, who.user)
        except UnknownName:
            return None

    def version(self, who: Who) -> tuple[int, int, int] | None:
        """Changes whenever what the user has does."""
        return adapter_version(self.root, who.tenant, who.user)

    def release(self, who: Who, adapter: Adapter) -> None:
        """Answer the user by this adapter from their next request on."""
        write_adapter(self.root, who.tenant, who.user, adapter)

    def withdraw(self, who: Who) -> None:
        """Answer the user by the shared model again."""
        delete_adapter(self.root, who.tenant, who.user)
