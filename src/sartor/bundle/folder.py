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
    PARTS,
    SIGNATURE,
    FileEntry,
    Manifest,
    in_a_part,
    is_plain,
    parse_manifest,
)
from sartor.core.durable import staged_folder, write_durably
from sartor.core.errors import BundleError, MissingExtra
from sartor.core.hashing import file_sha256
from sartor.need.verdict import Verdict

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
CARD = "README.md"
NEED = "need.yaml"
LEARNT = "learnt.bin"
CHOSE = "chose.bin"
KEY_VARIABLE = "SARTOR_VERIFY_KEY"
"""Environment variable with the path of a public key: only what it signed is used."""


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

    @property
    def names(self) -> tuple[str, ...]:
        """Every file of the folder: those that the manifest lists, itself, and any signature."""
        signed = (SIGNATURE,) if is_signed(self.folder) else ()
        return (*self.manifest.files, MANIFEST, *signed)

    @property
    def parts(self) -> list[str]:
        """Names of a product's bundles; empty of any other bundle."""
        inside = (name.split("/") for name in self.manifest.files if in_a_part(name))
        return list(dict.fromkeys(place[1] for place in inside))

    def part(self, name: str) -> "Bundle":
        """One of a product's bundles, whose files were verified with the others.

        Raises:
            BundleError: If there is no such part.
        """
        self.path(f"{PARTS}/{name}/{MANIFEST}")
        return Bundle(self.folder / PARTS / name, read_manifest(self.folder / PARTS / name))

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
        """All files and the manifest, in MB of 1,000,000 bytes; not a signature, which is put
        there when the size was judged already."""
        total = sum(entry.bytes for entry in self.manifest.files.values())
        return (total + (self.folder / MANIFEST).stat().st_size) / 1e6


def write_bundle(
    folder: Path,
    manifest: Manifest,
    content: Mapping[str, Path],
    need_text: str,
    learnt: Learnt | None = None,
    parts: Mapping[str, Bundle] | None = None,
) -> Bundle:
    """Write a bundle under a staging name, flush it, then rename it into place.

    Args:
        folder: Must not exist, unless it holds a bundle with the same id, which is kept.
        manifest: `files`, `id` and `seal` are filled in here.
        content: File name to source path, e.g. {"model.onnx": …}.
        need_text: The need as the user wrote it.
        learnt: The rows it learnt from; None where that is not known.
        parts: Of a product, name to bundle: each is copied whole, as it is. What of them decides an
            answer says `manifest.decision`, which names their ids.

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
        for name, part in (parts or {}).items():
            (staging / PARTS / name).mkdir(parents=True)
            for file in part.names:
                shutil.copyfile(part.folder / file, staging / PARTS / name / file)
        (staging / NEED).write_bytes(need_text.encode("utf-8", "surrogatepass"))
        (staging / CARD).write_bytes(_card(manifest))
        if learnt is not None:
            (staging / LEARNT).write_bytes(pack(learnt.marks))
            (staging / CHOSE).write_bytes(pack(learnt.chose))
        names = sorted(p.relative_to(staging).as_posix() for p in staging.rglob("*") if p.is_file())
        files = {name: _entry(staging / name, content=name in content) for name in names}
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


def open_bundle(path: Path | str, *, verify_key: str | Path = "") -> Bundle:
    """Verify every file against the manifest, then hand the bundle out.

    Args:
        path: Its folder.
        verify_key: PEM file of the public key that must have signed it (see `key_asked`); empty:
            a signature is not looked at.

    Raises:
        BundleError: Names the file that is missing, extra, a link, or differs; or says that it is
            not signed, or not by that key.
        SettingError: If the key cannot be used.
        MissingExtra: If a key is given and `sartor[sign]` is not installed.
    """
    folder = Path(path)
    data = _manifest_bytes(folder)
    manifest = _manifest(data, folder)
    _verify_listing(folder, manifest)
    found = {name: _verify_file(folder / name, entry) for name, entry in manifest.files.items()}
    if verify_key:
        # The very bytes that were read: whatever replaces the file meanwhile is not what is used.
        found[MANIFEST] = hashlib.sha256(data).hexdigest()
        _check_signature(folder, found, Path(verify_key))
    return Bundle(folder, manifest)


def key_asked(given: str | Path | None) -> str:
    """The public key that bundles must be signed with; empty for none.

    Args:
        given: By the caller, "" where it wants none; SARTOR_VERIFY_KEY decides when None.
    """
    return os.environ.get(KEY_VARIABLE, "") if given is None else str(given)


def sign_bundle(path: Path | str, key: Path | str, password: bytes | None = None) -> str:
    """Put a signature over every file into the folder, in the place of any that is there.

    Whatever is recorded later, verdicts too, is not what was signed: sign last.

    Args:
        path: The bundle's folder.
        key: PEM file of the private key.
        password: Of an encrypted key.

    Returns:
        SHA-256 of the public key, 64 hex digits.

    Raises:
        BundleError: If the bundle is damaged.
        SettingError: If the key cannot be used.
        ModuleNotFoundError: Without `sartor[sign]`.
    """
    from sartor.bundle import signing

    folder = Path(path)
    bundle = open_bundle(folder)
    # Hashed once more: of a card, the manifest may name two states.
    files = {name: file_sha256(folder / name) for name in (*bundle.manifest.files, MANIFEST)}
    data, by = signing.sign(files, folder.resolve().name, Path(key), password)
    write_durably(folder / SIGNATURE, data, beside=folder.absolute().parent)
    return by


def is_signed(path: Path | str) -> bool:
    """Whether a bundle has a signature, whoever made it."""
    return (Path(path) / SIGNATURE).exists()


def read_manifest(folder: Path) -> Manifest:
    """What a bundle says of itself, with nothing but its seal verified: to look before opening it.

    Raises:
        BundleError: If there is no manifest, or it is not of its form, newer, or edited.
    """
    return _manifest(_manifest_bytes(folder), folder)


def _manifest_bytes(folder: Path) -> bytes:
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
    return place.read_bytes()


def _manifest(data: bytes, folder: Path) -> Manifest:
    place = folder / MANIFEST
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BundleError(f"{place} is not UTF-8.", fix="copy the whole folder again.") from None
    return parse_manifest(text, str(place))


def _signature(folder: Path) -> bytes | None:
    place = folder / SIGNATURE
    if not place.exists():
        return None
    if place.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{place} is larger than {MAX_MANIFEST_BYTES / 1e6:.0f} MB.",
            fix="sign the bundle again with `sartor bundle sign`.",
        )
    return place.read_bytes()


def _check_signature(folder: Path, files: Mapping[str, str], key: Path) -> None:
    if (data := _signature(folder)) is None:
        raise BundleError(
            f"{folder} is not signed, and only what {key} signed is to be used.",
            fix=f"sign it with `sartor bundle sign`; to use it unsigned, unset {KEY_VARIABLE} and"
            " leave --verify-key out.",
        )
    try:
        from sartor.bundle import signing
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"A signature is checked with {error.name}, which is not installed.",
            fix="pip install 'sartor[sign]'.",
        ) from error
    signing.check(data, files, folder, key)


def _card(manifest: Manifest) -> bytes:
    # A lone surrogate, which UTF-8 cannot hold, is refused with the manifest; the card need not.
    return card(manifest).encode("utf-8", "replace")


def _entry(path: Path, *, content: bool) -> FileEntry:
    return FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size, content=content)


def _verify_listing(folder: Path, manifest: Manifest) -> None:
    present = _files_in(folder, manifest) - {MANIFEST}
    if SIGNATURE in present:
        _verify_plain(folder / SIGNATURE)
    present -= {SIGNATURE}
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


def _files_in(folder: Path, manifest: Manifest) -> set[str]:
    """Names of what lies there; of a product's parts with the folders that they lie in."""
    found = {entry.name for entry in os.scandir(folder)}
    place = folder / PARTS
    if not any(map(in_a_part, manifest.files)) or place.is_symlink() or not place.is_dir():
        return found
    found.remove(PARTS)
    for part in os.scandir(place):
        name = f"{PARTS}/{part.name}"
        inside = (
            [one.name for one in os.scandir(part)] if part.is_dir(follow_symlinks=False) else []
        )
        found |= {f"{name}/{one}" for one in inside} or {name}
    return found


def _verify_plain(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path} is not a plain file.", fix="copy the whole folder again.")


def _verify_file(path: Path, entry: FileEntry) -> str:
    """Its SHA-256, which is one that the manifest names."""
    _verify_plain(path)
    if entry.before and file_sha256(path) == entry.before:
        return entry.before
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
    return entry.sha256
