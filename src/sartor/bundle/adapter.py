"""Adapters on disk: what one user's answers differ by, beside a base that all users share.

    ROOT/base/base.json, model.onnx        the bundle's graph, made adaptable, and what fits it
    ROOT/<tenant>/<user>/adapter.json      whose it is, of which bundle, how good, its file's hash
    ROOT/<tenant>/<user>/<sha256>.safetensors

A folder is called by the hash of a name, so no name, whatever is in it, leads out of the root, and
two that a file system takes for one stay two. `adapter.json` is replaced in one step and names the
file that belongs to it, so a reader has the old adapter or the new one, never half of each.

head:  logits = W_u f + b_u,   f the base's features
lora:  y = W x + B_u A_u x     for each adapted linear layer (Hu et al. 2021, arXiv:2106.09685)
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sartor.bundle.base import BIAS, HEX, WEIGHT, Base, read_base
from sartor.bundle.manifest import FileEntry, entry_of
from sartor.bundle.plain import alone, read_bytes, read_form
from sartor.bundle.tensors import Tensors, pack_tensors, unpack_tensors
from sartor.core.durable import disk_space, fsync_folder, write_durably
from sartor.core.errors import BundleError, UnknownName
from sartor.core.forms import first_fault
from sartor.core.hashing import digest

ADAPTER = "adapter.json"
FORMAT = 1
MAX_ADAPTER_BYTES = 100_000_000
Kind = Literal["head", "lora"]
Number = bool | int | float | str
_AGAIN = 5
"""Times that a file is looked for anew which a writer replaced meanwhile."""


class AdapterManifest(BaseModel):
    """The contents of `adapter.json`."""

    # Without "constants" a value that is not a number would come back as null.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, ser_json_inf_nan="constants"
    )

    format: int = FORMAT
    base: str = Field(pattern=HEX)
    """Content id of the bundle that it belongs to."""
    kind: Kind
    tenant: str | None = Field(max_length=200)
    user: str = Field(min_length=1, max_length=200)
    created: str = Field(max_length=40)
    """ISO 8601, UTC."""
    verdict: dict[str, Number] = Field(max_length=100)
    """How it did beside the base on rows that neither learnt from."""
    tensors: FileEntry

    @property
    def file(self) -> str:
        """Name of the file that holds its numbers."""
        return f"{self.tensors.sha256}.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """What one user's answers differ by.

    Args:
        base: Content id of the bundle that it belongs to.
        kind: "head": `head.weight` (outputs, features) and `head.bias` (outputs,) take the place of
            the bundle's head. "lora": for each adapted layer `NAME.A` (rank, in) and `NAME.B`
            (out, rank), the scale folded into B.
        tensors: Name to array, float32.
        verdict: How it did beside the base on rows that neither learnt from.
        created: ISO 8601, UTC.
    """

    base: str
    kind: Kind
    tensors: Tensors
    verdict: Mapping[str, Number] = field(default_factory=dict[str, Number])
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def bytes(self) -> int:
        """Of its numbers in memory."""
        return sum(array.nbytes for array in self.tensors.values())


def adapter_folder(root: Path | str, tenant: str | None, user: str) -> Path:
    """Where a user's adapter lies, whether or not there is one."""
    return Path(root) / _hashed("tenant", tenant) / _hashed("user", user)


def adapter_version(root: Path | str, tenant: str | None, user: str) -> tuple[int, int, int] | None:
    """Changes whenever the adapter does; None where there is none. Reads no file."""
    try:
        found = os.stat(adapter_folder(root, tenant, user) / ADAPTER, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def write_adapter(root: Path | str, tenant: str | None, user: str, adapter: Adapter) -> Path:
    """Write an adapter, in the place of the user's earlier one if there is one; its folder.

    Args:
        root: Holds the base that it belongs to.
        tenant: As of the key that the user's requests come with; None is the tenant without a name.
        user: As requests name them.
        adapter: Of the base's bundle.

    Raises:
        BundleError: If there is no base, or the adapter does not fit it or is too large.
        WorkspaceError: If the disk is full.
    """
    _check(adapter, read_base(root), f"The adapter of {user!r:.100}")
    data = pack_tensors(adapter.tensors)
    if len(data) > MAX_ADAPTER_BYTES:
        raise BundleError(
            f"The adapter of {user!r:.100} takes {len(data):,} bytes, more than"
            f" {MAX_ADAPTER_BYTES:,}: it would not be read again.",
            fix="make it of a lower rank, or of fewer layers.",
        )
    try:
        manifest = AdapterManifest(
            base=adapter.base,
            kind=adapter.kind,
            tenant=tenant,
            user=user,
            created=adapter.created,
            verdict=dict(adapter.verdict),
            tensors=entry_of(data),
        )
        text = manifest.model_dump_json(indent=1).encode()
    except ValueError as error:  # pydantic's errors, and half of a surrogate pair
        raise BundleError(
            f"An adapter of {user!r:.100} cannot be written: {first_fault(error)}.",
            fix="take a name of 1 to 200 characters, and numbers or short texts for the verdict.",
        ) from None
    folder = adapter_folder(root, tenant, user)
    with alone(Path(root)), disk_space(folder):
        folder.mkdir(parents=True, exist_ok=True)
        fsync_folder(folder.parent)
        fsync_folder(Path(root))
        write_durably(folder / manifest.file, data)
        write_durably(folder / ADAPTER, text)
        for left in folder.iterdir():  # the earlier one, and what a kill left unfinished
            if left.name not in (ADAPTER, manifest.file):
                left.unlink()
    return folder


def read_adapter(
    root: Path | str, tenant: str | None, user: str, base: Base | None = None
) -> Adapter:
    """A user's adapter, verified against its manifest and the base.

    Args:
        root: Holds the adapters.
        tenant: Of the user.
        user: As `write_adapter` was told.
        base: What it must fit; the root's own where None.

    Raises:
        UnknownName: If the user has none.
        BundleError: If it is damaged, another's, or of another base.
    """
    base = base or read_base(root)
    folder = adapter_folder(root, tenant, user)
    for _ in range(_AGAIN):
        manifest = _manifest(folder, tenant, user)
        place = folder / manifest.file
        try:
            data = read_bytes(place, MAX_ADAPTER_BYTES)
        except FileNotFoundError:
            continue
        if entry_of(data).sha256 != manifest.tensors.sha256:
            raise BundleError(
                f"{place} differs from what was written for {user!r:.100}: its SHA-256 does not"
                f" match {ADAPTER}.",
                fix="make the adapter anew, or copy its whole folder again.",
            )
        tensors = unpack_tensors(data, str(place))
        found = Adapter(manifest.base, manifest.kind, tensors, manifest.verdict, manifest.created)
        _check(found, base, str(folder))
        return found
    raise BundleError(f"{folder} lacks its file of numbers.", fix="make the adapter anew.")


def delete_adapter(root: Path | str, tenant: str | None, user: str) -> bool:
    """Remove all that a root holds of a user; whether there was anything."""
    folder = adapter_folder(root, tenant, user)
    if not Path(root).is_dir():
        return False
    with alone(Path(root)):
        if not folder.is_dir():
            return False
        # First what makes it one, so that no reader finds the half of it.
        (folder / ADAPTER).unlink(missing_ok=True)
        fsync_folder(folder)
        shutil.rmtree(folder)
        fsync_folder(folder.parent)
        with suppress(OSError):  # other users' are in it
            folder.parent.rmdir()
            fsync_folder(Path(root))
    return True


def stored_adapters(root: Path | str) -> Iterator[AdapterManifest]:
    """Whose adapters a root holds, in no particular order; their numbers are not read.

    Raises:
        BundleError: If one's manifest is damaged.
    """
    for place in Path(root).glob(f"*/*/{ADAPTER}"):
        yield read_form(AdapterManifest, place, FORMAT)


def no_adapter(user: str) -> UnknownName:
    """The error for a user without one, in the same words for one of another tenant."""
    return UnknownName(
        f"There is no adapter for the user {user!r:.200}.",
        fix="leave the user out for the answer that all get; `sartor personalize` makes adapters.",
    )


def _hashed(kind: str, name: str | None) -> str:
    return digest(kind, name)[:32]


def _manifest(folder: Path, tenant: str | None, user: str) -> AdapterManifest:
    try:
        found = read_form(AdapterManifest, folder / ADAPTER, FORMAT)
    except (FileNotFoundError, NotADirectoryError):
        raise no_adapter(user) from None
    if (found.tenant, found.user) != (tenant, user):
        raise BundleError(
            f"{folder / ADAPTER} is the adapter of {found.user!r:.100}, not of {user!r:.100}.",
            fix="put each folder back where it was written, or make the adapter anew.",
        )
    return found


def _check(adapter: Adapter, base: Base, place: str) -> None:
    """
    Raises:
        BundleError: If the adapter is of another bundle, or its arrays do not fit the base.
    """
    if adapter.base != base.bundle:
        raise BundleError(
            f"{place} belongs to the bundle {adapter.base[:12]}, not {base.bundle[:12]}.",
            fix="make it anew for this bundle with `sartor personalize`.",
        )
    faults = _head_faults if adapter.kind == "head" else _lora_faults
    if fault := next(faults(adapter.tensors, base), None):
        raise BundleError(
            f"{place} does not fit its base: {fault}.",
            fix="make it anew for this base with `sartor personalize`.",
        )
    for name, array in adapter.tensors.items():
        if not np.isfinite(array).all():
            raise BundleError(
                f"{place} holds numbers in {name!r:.100} that are none (NaN or infinite).",
                fix="make it anew; the training that it came from diverged.",
            )


def _head_faults(tensors: Tensors, base: Base) -> Iterator[str]:
    if not base.features:
        yield "the base has no head that can be replaced"
    wanted = {WEIGHT: (base.outputs, base.features), BIAS: (base.outputs,)}
    shapes = {name: array.shape for name, array in tensors.items()}
    if shapes != wanted:
        yield f"a head has {wanted}, this one {shapes!s:.200}"


def _lora_faults(tensors: Tensors, base: Base) -> Iterator[str]:
    layers = sorted({name.rpartition(".")[0] for name in tensors})
    if not layers:
        yield "it adapts no layer"
    if {f"{layer}.{side}" for layer in layers for side in "AB"} != set(tensors):
        yield "its arrays are not pairs NAME.A and NAME.B"
        return
    for layer in layers:
        if layer not in base.linears:
            yield f"the base has no layer {layer!r:.100} that takes a LoRA"
            return
        width, height = base.linears[layer]
        down, up = tensors[f"{layer}.A"].shape, tensors[f"{layer}.B"].shape
        rank = down[0] if down else 0
        if not 1 <= rank <= base.rank or down != (rank, width) or up != (height, rank):
            yield (
                f"{layer} takes A (rank, {width}) and B ({height}, rank) of a rank up to"
                f" {base.rank}, not {down} and {up}"
            )
