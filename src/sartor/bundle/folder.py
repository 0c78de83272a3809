"""A bundle on disk: written once, verified whole before anything of it is used."""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sartor.bundle.card import card
from sartor.bundle.learnt import Learnt, pack, unpack
from sartor.bundle.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    FileEntry,
    Manifest,
    is_plain,
    parse_manifest,
)
from sartor.core.durable import staged_folder, write_durably
from sartor.core.errors import BundleError
from sartor.core.hashing import file_sha256
from sartor.need.verdict import Verdict

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
CARD = "README.md"
NEED = "need.yaml"
LEARNT = "learnt.bin"
CHOSE = "chose.bin"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        """A file of the bundle.

        Raises:
            BundleError: If the bundle has no such file.
        """
        if name not in self.manifest.files:
            raise BundleError(
                f"{self.folder} has no {name}.", fix="build the bundle again with `sartor run`."
            )
        return self.folder / name

    def learnt(self) -> Learnt | None:
        """Which rows it learnt from; None for a bundle that does not say.

        Raises:
            BundleError: If the file is not of its form.
        """
        if LEARNT not in self.manifest.files:
            return None
        chose = self._rows(CHOSE) if CHOSE in self.manifest.files else b""
        return unpack(self._rows(LEARNT), chose, str(self.folder / LEARNT))

    def _rows(self, name: str) -> bytes:
        if self.manifest.files[name].bytes > MAX_MANIFEST_BYTES:
            raise BundleError(
                f"{self.folder / name} is larger than {MAX_MANIFEST_BYTES / 1e6:.0f} MB.",
                fix="build the bundle again with `sartor run`.",
            )
        return (self.folder / name).read_bytes()

    @property
    def size_mb(self) -> float:
        """All files and the manifest, in MB of 1,000,000 bytes."""
        total = sum(entry.bytes for entry in self.manifest.files.values())
        return (total + (self.folder / MANIFEST).stat().st_size) / 1e6


def write_bundle(
    folder: Path,
    manifest: Manifest,
    content: Mapping[str, Path],
    need_text: str,
    learnt: Learnt | None = None,
) -> Bundle:
    """Write a bundle under a staging name, flush it, then rename it into place.

    Args:
        folder: Must not exist, unless it holds a bundle with the same id, which is kept.
        manifest: `files`, `id` and `seal` are filled in here.
        content: File name to source path, e.g. {"model.onnx": …}.
        need_text: The need as the user wrote it.
        learnt: The rows it learnt from; None where that is not known.

    Raises:
        BundleError: If `folder` holds something else, or a file name is not plain.
        WorkspaceError: If the disk is full.
    """
    if odd := sorted(n for n in content if not is_plain(n) or n in (CARD, NEED, LEARNT, CHOSE)):
        raise BundleError(
            f"{odd[0]!r} cannot be the name of a content file.", fix="give it a plain other name."
        )
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder} is a file.", fix="remove it or choose another place.")
    with staged_folder(folder) as staging:
        for name, source in content.items():
            shutil.copyfile(source, staging / name)
        (staging / NEED).write_bytes(need_text.encode("utf-8", "surrogatepass"))
        (staging / CARD).write_bytes(_card(manifest))
        if learnt is not None:
            (staging / LEARNT).write_bytes(pack(learnt.marks))
            (staging / CHOSE).write_bytes(pack(learnt.chose))
        files = {p.name: _entry(p, content=p.name in content) for p in sorted(staging.iterdir())}
        sealed = manifest.model_copy(update={"files": files}).sealed()
        (staging / MANIFEST).write_bytes(sealed.to_json().encode())
    # Where something else lay under that name, the staged folder was dropped.
    found = open_bundle(folder)
    if found.manifest.id == sealed.id:
        return found
    raise BundleError(
        f"{folder} already holds another bundle.", fix="remove it or choose another place."
    )


def record_verdicts(bundle: Bundle, verdicts: Sequence[Verdict], *, released: bool) -> Bundle:
    """Put the verdicts and the release into the manifest and the card; the id stays.

    Only these two files change, each in one step, so a kill leaves a bundle that opens. Recording
    the same again gives the same bytes.

    Raises:
        WorkspaceError: If the disk is full.
    """
    update = {"verdicts": [v.as_json() for v in verdicts], "released": released}
    manifest = bundle.manifest.model_copy(update=update)
    text, place = _card(manifest), bundle.folder / CARD
    listed, wanted = manifest.files.get(CARD), hashlib.sha256(text).hexdigest()
    if listed is None or listed.sha256 != wanted:
        before = file_sha256(place) if listed else ""
        listed = FileEntry(sha256=wanted, bytes=len(text), content=False, before=before)
    sealed = manifest.model_copy(update={"files": {**manifest.files, CARD: listed}}).sealed()
    # Unfinished files lie beside the folder: one inside it would make the bundle unreadable.
    beside = bundle.folder.absolute().parent
    write_durably(bundle.folder / MANIFEST, sealed.to_json().encode(), beside=beside)
    write_durably(place, text, beside=beside)
    return Bundle(bundle.folder, sealed)


def open_bundle(path: Path | str) -> Bundle:
    """Verify every file against the manifest, then hand the bundle out.

    Raises:
        BundleError: Names the file that is missing, extra, a link, or differs.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    _verify_listing(folder, manifest)
    for name, entry in manifest.files.items():
        _verify_file(folder / name, entry)
    return Bundle(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """What a bundle says of itself, with nothing but its seal verified: to look before opening it.

    Raises:
        BundleError: If there is no manifest, or it is not of its form, newer, or edited.
    """
    place = folder / MANIFEST
    if place.is_symlink() or not place.is_file():
        raise BundleError(
            f"{folder} is not a bundle: it has no plain {MANIFEST}.",
            fix="give the folder that `sartor run` printed, e.g. .sartor/bundles/NAME-1a2b.",
        )
    if place.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{place} is larger than {MAX_MANIFEST_BYTES / 1e6:.0f} MB.",
            fix="build the bundle again with `sartor run`.",
        )
    return parse_manifest(_utf8(place), str(place))


def _card(manifest: Manifest) -> bytes:
    # A lone surrogate, which UTF-8 cannot hold, is refused with the manifest; the card need not.
    return card(manifest).encode("utf-8", "replace")


def _entry(path: Path, *, content: bool) -> FileEntry:
    return FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size, content=content)


def _verify_listing(folder: Path, manifest: Manifest) -> None:
    present = {entry.name for entry in os.scandir(folder)} - {MANIFEST}
    listed = set(manifest.files)
    if odd := sorted(present - listed):
        raise BundleError(
            f"{folder} holds {odd[0]!r}, which its manifest does not list.",
            fix=f"remove {odd[0]!r}, or build the bundle again.",
        )
    if missing := sorted(listed - present):
        raise BundleError(
            f"{folder} lacks {missing[0]!r}.", fix="copy the whole folder again, or rebuild it."
        )


def _verify_file(path: Path, entry: FileEntry) -> None:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path} is not a plain file.", fix="copy the whole folder again.")
    if entry.before and file_sha256(path) == entry.before:
        return
    size = path.stat().st_size
    if size != entry.bytes:
        raise BundleError(
            f"{path} has {size:,} bytes; the manifest says {entry.bytes:,}.",
            fix="copy the whole folder again, or rebuild it with `sartor run`.",
        )
    if file_sha256(path) != entry.sha256:
        raise BundleError(
            f"{path} differs from what was judged: its SHA-256 does not match the manifest.",
            fix="copy the whole folder again, or rebuild it with `sartor run`.",
        )


def _utf8(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise BundleError(f"{path} is not UTF-8.", fix="copy the whole folder again.") from None
