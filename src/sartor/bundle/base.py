"""What adapters stand on: a bundle's graph, made adaptable, under the root that holds them.

    ROOT/base/base.json     which bundle it is of, and what fits it
    ROOT/base/model.onnx    the same answers; beside them what the head reads, and inputs for LoRA
    ROOT/base/head.safetensors    the head that all users share: where a user's own may start

The bundle itself stays what was judged: nothing of this lies in it.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from sartor.bundle.manifest import FileEntry, entry_of
from sartor.bundle.plain import alone, read_bytes, read_form
from sartor.bundle.tensors import Tensors, unpack_tensors
from sartor.core.durable import disk_space, fsync_folder, write_durably
from sartor.core.errors import BundleError
from sartor.core.hashing import file_sha256

FOLDER, BASE, GRAPH, HEAD = "base", "base.json", "model.onnx", "head.safetensors"
WEIGHT, BIAS = "head.weight", "head.bias"
ROWS = "adapter_rows"
"""Input that says which text each row is about, where the graph's lower part runs once a text."""
MAX_HEAD_BYTES = 100_000_000
FORMAT = 1
MAX_RANK = 256
HEX = r"^[0-9a-f]{64}$"


class Base(BaseModel):
    """The contents of `base.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int = FORMAT
    bundle: str = Field(pattern=HEX)
    """Content id of the bundle whose graph it is."""
    source: str = Field(pattern=HEX)
    """SHA-256 of the bundle's own graph."""
    graph: FileEntry
    outputs: int = Field(ge=1, le=100_000)
    features: int = Field(default=0, ge=0, le=1_000_000)
    """Width of what the head reads; 0 where the head is none that can be replaced."""
    head: FileEntry | None = None
    """The head itself; None where it cannot be replaced."""
    rank: int = Field(default=0, ge=0, le=MAX_RANK)
    """Highest rank of a LoRA; 0 where no layer takes one."""
    where: str = Field(default="*", max_length=1_000)
    """Glob that chose the layers."""
    shared: bool = False
    """Whether the graph reads each different text once, and takes the input `ROWS`."""
    linears: dict[str, tuple[int, int]] = Field(
        default_factory=dict[str, tuple[int, int]], max_length=10_000
    )
    """Layer that takes a LoRA to its (in, out)."""


def read_base(root: Path | str) -> Base:
    """What a root's adapters stand on; the graph itself is not read.

    Raises:
        BundleError: If there is none, or it is damaged or too new.
    """
    try:
        return read_form(Base, Path(root) / FOLDER / BASE, FORMAT)
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"{root} holds no adapters: it has no base.",
            fix="give the folder that `sartor personalize` writes to.",
        ) from None


def verified_base(root: Path | str, bundle: str, source: str) -> tuple[Base, Path]:
    """The base and its graph, whose hash was checked.

    Args:
        root: Of the adapters.
        bundle: Content id of the bundle that is to answer.
        source: SHA-256 of its graph.

    Raises:
        BundleError: If the base is of another bundle, or its graph is not the one that was made.
    """
    base, graph = read_base(root), Path(root) / FOLDER / GRAPH
    if (base.bundle, base.source) != (bundle, source):
        raise BundleError(
            f"The adapters in {root} belong to the bundle {base.bundle[:12]}, not {bundle[:12]}.",
            fix="serve that bundle, or make adapters for this one with `sartor personalize`.",
        )
    whole = not graph.is_symlink() and graph.is_file()
    if not whole or file_sha256(graph) != base.graph.sha256:
        raise BundleError(
            f"{graph} is not the graph that {BASE} describes.",
            fix="copy the whole folder again, or make the base anew with `sartor personalize`.",
        )
    return base, graph


def refuse_other(root: Path | str, bundle: str) -> None:
    """See to it that a root holds no adapters of another bundle.

    Args:
        root: Of the adapters; need not exist.
        bundle: Content id of the bundle that they are to be of.

    Raises:
        BundleError: If they are of another one. A base that cannot be read is nobody's.
    """
    try:
        other = read_base(root).bundle
    except BundleError:
        return
    if other != bundle:
        raise BundleError(
            f"{root} holds adapters of the bundle {other[:12]}, not of {bundle[:12]}.",
            fix="name another folder, or leave it out: each bundle then gets one of its own.",
        )


def base_head(root: Path | str) -> Tensors:
    """The head that all users share: `head.weight` (outputs, features), `head.bias` (outputs,).

    Raises:
        BundleError: If the base has none that can be replaced, or its file is damaged.
    """
    base, place = read_base(root), Path(root) / FOLDER / HEAD
    if base.head is None:
        raise BundleError(
            f"The base in {root} has no head that can be replaced.",
            fix="tune LoRAs (`sartor personalize --method lora`), or take a bundle whose last layer"
            " is linear.",
        )
    try:
        data = read_bytes(place, MAX_HEAD_BYTES)
    except FileNotFoundError:
        data = b""
    if entry_of(data).sha256 != base.head.sha256:
        raise BundleError(
            f"{place} is not the head that {BASE} describes.",
            fix="copy the whole folder again, or make the base anew with `sartor personalize`.",
        )
    return unpack_tensors(data, str(place))


def write_base(root: Path | str, base: Base, graph: bytes, head: bytes = b"") -> None:
    """Put a base under a root's adapters, in the place of an earlier one of the same bundle.

    Args:
        root: Made where it does not exist.
        base: Describes the files.
        graph: The adaptable graph's.
        head: The shared head's, where `base.head` describes one.

    Raises:
        BundleError: If the root holds the base of another bundle.
        WorkspaceError: If the disk is full.
    """
    folder = Path(root) / FOLDER
    with disk_space(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with alone(Path(root)):
            refuse_other(root, base.bundle)
            for left in folder.glob(".*"):  # what a kill left unfinished
                left.unlink()
            # A kill on the way leaves files that the description refuses, not wrong ones.
            write_durably(folder / GRAPH, graph)
            if base.head is not None:
                write_durably(folder / HEAD, head)
            write_durably(folder / BASE, base.model_dump_json(indent=1).encode())
            fsync_folder(Path(root))
